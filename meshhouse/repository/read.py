"""Reads the repository: the only reader of declarations.

Belongs here: finding domains and turning their YAML into `model.py`'s facts, without
dbt. Does not: judging them (`mesh check`), or dbt manifests (manifest.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

from meshhouse.errors import UsageError
from meshhouse.repository.environment import (
    collides,
    current_environment,
    stored_schema,
    workspace,
)
from meshhouse.repository.model import (
    ROOT_DOMAIN,
    Column,
    CrossReference,
    Domain,
    Product,
    RawTable,
)
from meshhouse.repository.yaml import DeclarationError, Located, read_yaml

_REFERENCE = re.compile(
    r"""\bref\(\s*(['"])(?P<domain>\w+)\1\s*,\s*(['"])(?P<product>\w+)\3"""
    r"""(?:\s*,\s*(?:v|version)\s*=\s*(?P<version>\d+))?\s*\)"""
)
_JINJA_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
CHECKS_SUFFIX = ".checks.yml"

OnError = Callable[[DeclarationError], None]


def _raise(error: DeclarationError) -> None:
    raise error


class Repository:
    """A checkout: the root domain and one domain a folder under `domains/`."""

    def __init__(self, root: Path, on_error: OnError = _raise) -> None:
        """`on_error` receives each unusable declaration; by default it is raised."""
        self.root = root.resolve()
        self._on_error = on_error

    @classmethod
    def find(cls, start: Path | None = None) -> Repository:
        """The repository around `start` (by default `MESH_ROOT` or the working directory).

        Raises:
            UsageError: no repository there.
        """
        here = (start or Path(os.environ.get("MESH_ROOT") or Path.cwd())).resolve()
        for folder in (here, *here.parents):
            if (folder / "dbt_project.yml").is_file() and (folder / "domains").is_dir():
                return cls(folder)
        raise UsageError(
            f"{here} is not inside a Meshhouse repository (a folder with dbt_project.yml and "
            "domains/). Change into one, or set MESH_ROOT."
        )

    @cached_property
    def home(self) -> Path:
        """Where the local lake, the event log and build files live: `MESH_HOME` or `.mesh`.

        Raises:
            UsageError: it is not a folder.
        """
        home = Path(os.environ.get("MESH_HOME") or self.root / ".mesh").resolve()
        if home.exists() and not home.is_dir():
            raise UsageError(f"{home} is not a folder. Set MESH_HOME to one, or unset it.")
        return home

    @cached_property
    def environment(self) -> str:
        """The environment in use, from `MESH_ENV`; empty for production."""
        return current_environment()

    @property
    def workspace(self) -> Path:
        """Where builds, locks and logs of the environment in use are: `home` in production."""
        return workspace(self.home, self.environment)

    def build_schema(self, domain: str) -> str:
        """Where dbt builds a domain in the environment in use, as the database calls it."""
        return stored_schema(self.environment, f"{domain}_build")

    @cached_property
    def domain_names(self) -> tuple[str, ...]:
        """Every domain, the root domain last."""
        folders = sorted(path.parent.name for path in self.root.glob("domains/*/dbt_project.yml"))
        return (*folders, ROOT_DOMAIN)

    @cached_property
    def domains(self) -> tuple[Domain, ...]:
        """Every domain, upstream domains first; the root domain last among equals.

        Raises:
            DeclarationError: domains depend on each other in a circle.
        """
        domains = {name: self._read_domain(name) for name in self.domain_names}
        return tuple(domains[name] for name in _upstream_first(domains))

    def domain(self, name: str) -> Domain:
        """One domain by name.

        Raises:
            UsageError: there is none of that name.
        """
        if name not in self.domain_names:
            known = ", ".join(self.domain_names)
            raise UsageError(f"There is no domain `{name}`. Domains: {known}.")
        return next(domain for domain in self.domains if domain.name == name)

    def product(self, relation: str) -> Product:
        """A product by `<domain>.<product>`.

        Raises:
            UsageError: no such domain or product; the message lists what there is.
        """
        domain_name, dot, name = relation.partition(".")
        domain = self.domain(domain_name)
        if not dot:
            names = ", ".join(product.relation for product in domain.products) or "none"
            raise UsageError(f"`{relation}` is a domain, not a product. Its products: {names}.")
        product = domain.product(name)
        if product is None:
            raise UsageError(unknown_product(domain, name))
        return product

    def folder(self, name: str) -> Path:
        """The dbt project of a domain."""
        return self.root if name == ROOT_DOMAIN else self.root / "domains" / name

    def _read_domain(self, name: str) -> Domain:
        folder = self.folder(name)
        project = self._read(folder / "dbt_project.yml")
        if project.get("name") != name:
            expected = f"the dbt project must be named `{name}`, like its folder"
            if name == ROOT_DOMAIN:
                expected = f"the root dbt project must be named `{ROOT_DOMAIN}`"
            self._on_error(
                DeclarationError(
                    folder / "dbt_project.yml",
                    project.line_of("name"),
                    f"{expected}; it says `{project.get('name')}`.",
                )
            )
        if collides(name):
            problem = (
                f"`{name}` cannot name a domain: two underscores divide the name of an "
                "environment from that of a domain. Rename the domain and its folder."
            )
            self._on_error(
                DeclarationError(folder / "dbt_project.yml", project.line_of("name"), problem)
            )
        models = folder / "models"
        files = tuple(
            path
            for pattern in ("*.yml", "*.yaml")
            for path in sorted(models.rglob(pattern))
            if not path.name.endswith(CHECKS_SUFFIX)
        )
        declared = [(path, self._read(path)) for path in files]
        products, private = self._models(name, declared)
        return Domain(
            name=name,
            path=folder,
            upstream=self._upstream(folder, name),
            owners={
                str(group.get("name")): _mapping(group.get("owner"))
                for _, content in declared
                for group in _mappings(content.get("groups"))
            },
            raw_tables=tuple(self._raw_tables(name, declared)),
            products=tuple(products),
            private_models=tuple(private),
            references=tuple(_references(models)),
            description=str(project.get("description", "")),
            yaml_files=files,
        )

    def _read(self, path: Path) -> Located:
        try:
            return read_yaml(path)
        except DeclarationError as error:
            self._on_error(error)
            empty = Located()
            empty.lines = {}
            return empty

    def _upstream(self, folder: Path, name: str) -> tuple[str, ...]:
        path = folder / "dependencies.yml"
        if not path.exists():
            return ()
        upstream = []
        for entry in _mappings(self._read(path).get("projects")):
            other = str(entry.get("name"))
            line = entry.line_of("name")
            if other == name:
                problem = f"domain `{name}` names itself as a dependency; remove the line."
                self._on_error(DeclarationError(path, line, problem))
            elif other not in self.domain_names:
                known = ", ".join(each for each in self.domain_names if each != name)
                problem = f"there is no domain `{other}`. Domains: {known}."
                self._on_error(DeclarationError(path, line, problem))
            else:
                upstream.append(other)
        return tuple(upstream)

    def _raw_tables(
        self, domain: str, declared: Iterable[tuple[Path, Located]]
    ) -> Iterable[RawTable]:
        for path, content in declared:
            for source in _mappings(content.get("sources")):
                schema = str(source.get("schema", source.get("name")))
                if collides(schema):
                    problem = (
                        f"raw tables cannot be in the schema `{schema}`: two underscores divide "
                        "the name of an environment from that of a schema. Rename the source."
                    )
                    self._on_error(DeclarationError(path, source.line, problem))
                for table in _mappings(source.get("tables")):
                    meta = _meta(table)
                    if "topic" not in meta:
                        problem = (
                            f"source table `{table.get('name')}` names no topic; "
                            "add config.meta.topic."
                        )
                        self._on_error(DeclarationError(path, table.line, problem))
                        continue
                    yield RawTable(
                        domain=domain,
                        schema=schema,
                        name=str(table.get("name")),
                        topic=str(meta["topic"]),
                        columns=_columns(table),
                        description=str(table.get("description", "")).strip(),
                        changelog=bool(meta.get("changelog", False)),
                        path=path,
                        line=table.line,
                        format=str(meta.get("format", "json")),
                        pattern=_text(meta.get("pattern")),
                        schema_path=self.folder(domain) / str(meta["schema"])
                        if meta.get("schema") is not None
                        else None,
                        max_rejected_percent=self._percent(path, table, meta),
                    )

    def _percent(self, path: Path, table: Located, meta: Located) -> float:
        declared = meta.get("max_rejected_percent", 1.0)
        if isinstance(declared, int | float) and 0 <= declared <= 100:
            return float(declared)
        problem = (
            f"`max_rejected_percent` of `{table.get('name')}` is `{declared}`; give a number "
            "from 0 to 100."
        )
        self._on_error(DeclarationError(path, meta.line_of("max_rejected_percent"), problem))
        return 1.0

    def _models(
        self, domain: str, declared: Iterable[tuple[Path, Located]]
    ) -> tuple[list[Product], list[str]]:
        products: list[Product] = []
        private: list[str] = []
        for path, content in declared:
            for model in _mappings(content.get("models")):
                config = _mapping(model.get("config"))
                found = _products(domain, path, model, config, self._on_error)
                products += found
                if not found:
                    private.append(str(model.get("name")))
        return products, private


def unknown_product(domain: Domain, name: str) -> str:
    """What to tell somebody who asked a domain for a product that it does not publish."""
    import difflib

    names = sorted(product.name for product in domain.products)
    published = f"{domain.name} publishes: {', '.join(names) or 'nothing'}."
    if name in domain.private_models:
        owner = domain.owner()
        contact = f"{owner.get('name', domain.name)} <{owner.get('email', 'no address')}>"
        return (
            f"`{name}` is a private model of {domain.name}, not a product; ask its owner "
            f"({contact}) to publish it. {published}"
        )
    message = f"{domain.name} publishes no product `{name}`. {published}"
    close = difflib.get_close_matches(name, names, n=1)
    return f"{message} Did you mean ref('{domain.name}', '{close[0]}')?" if close else message


def _products(
    domain: str, path: Path, model: Located, config: Located, on_error: OnError
) -> list[Product]:
    name = str(model.get("name"))
    versions = _versions(path, model, on_error)
    latest = _latest(path, model, versions, on_error)
    products = []
    is_versioned = "versions" in model
    for number, version in (versions if is_versioned else {1: _mapping(None)}).items():
        settings = _merged(config, _mapping(version.get("config")))
        if settings.get("access", version.get("access", model.get("access"))) != "public":
            continue
        meta = _mapping(settings.get("meta", model.get("meta")))
        group = settings.get("group", model.get("group"))
        date = version.get("deprecation_date", model.get("deprecation_date"))
        products.append(
            Product(
                domain=domain,
                model=name,
                version=number,
                is_latest=number == latest,
                versioned=is_versioned,
                latest_version=latest,
                columns=_columns_of_version(model, version),
                description=str(version.get("description") or model.get("description", "")).strip(),
                group=str(group) if group else None,
                contract=bool(_mapping(settings.get("contract")).get("enforced", False)),
                grain=tuple(str(column) for column in meta.get("grain") or ()),
                promises=_mapping(meta.get("promises")),
                shared=bool(meta.get("shared", False)),
                path=path,
                line=version.line if version else model.line,
                sql_path=_sql_path(path, name, number, version, number == latest)
                if is_versioned
                else path.with_name(f"{name}.sql"),
                deprecation_date=str(date) if date else None,
            )
        )
    return products


def _sql_path(path: Path, name: str, number: int, version: Located, is_latest: bool) -> Path:
    """The SQL of a version; that of the latest one may be in a file without a number, as in dbt."""
    stem = str(version.get("defined_in") or f"{name}_v{number}")
    numbered, plain = path.with_name(f"{stem}.sql"), path.with_name(f"{name}.sql")
    return plain if is_latest and not numbered.exists() and plain.exists() else numbered


def _versions(path: Path, model: Located, on_error: OnError) -> dict[int, Located]:
    """Number -> declaration of each version of a model."""
    found: dict[int, Located] = {}
    written = model.get("versions")
    if "versions" in model and len(_mappings(written)) != (
        len(written) if isinstance(written, list) and written else -1
    ):
        problem = (
            f"`versions` of model `{model.get('name')}` must be a list of entries such as `v: 1`; "
            "without versions, remove the key."
        )
        on_error(DeclarationError(path, model.line_of("versions"), problem))
    for entry in _mappings(model.get("versions")):
        number = entry.get("v")
        if not _is_version(number):
            problem = (
                f"version `{number}` of model `{model.get('name')}` cannot be used: give `v` a "
                "whole number from 1, without quotation marks."
            )
            on_error(DeclarationError(path, entry.line_of("v"), problem))
        elif number in found:
            problem = f"model `{model.get('name')}` declares version {number} twice; remove one."
            on_error(DeclarationError(path, entry.line_of("v"), problem))
        else:
            found[int(number)] = entry
    return found


def _latest(path: Path, model: Located, versions: Mapping[int, Located], on_error: OnError) -> int:
    latest = model.get("latest_version")
    if "versions" not in model or not versions:
        return 1
    if latest is None:
        return max(versions)
    if not _is_version(latest) or latest not in versions:
        numbers = ", ".join(str(number) for number in versions)
        problem = (
            f"`latest_version` of model `{model.get('name')}` is `{latest}`, which is none of its "
            f"versions ({numbers})."
        )
        on_error(DeclarationError(path, model.line_of("latest_version"), problem))
        return max(versions)
    return int(latest)


def _is_version(value: Any) -> bool:
    # `true` is an integer to Python.
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _merged(below: Located, above: Located) -> Located:
    """A model's settings with those of one of its versions over them, key by key, as dbt does."""
    merged = Located(below)
    merged.line, merged.lines = below.line, {**below.lines, **above.lines}
    for key, value in above.items():
        old = below.get(key)
        is_deep = isinstance(value, Located) and isinstance(old, Located)
        merged[key] = _merged(old, value) if is_deep else value
    return merged


def _columns_of_version(model: Located, version: Located) -> tuple[Column, ...]:
    """The model's columns that a version takes over, and those that it declares itself.

    A version takes over all of them unless it says otherwise with `include` and `exclude`.
    """
    entries = _mappings(version.get("columns"))
    is_choice = [bool({"include", "exclude"} & set(each)) for each in entries]
    own = [_column(each) for each, choice in zip(entries, is_choice, strict=True) if not choice]
    chosen = next(compress(entries, is_choice), _mapping(None))
    included, excluded = chosen.get("include", "all"), chosen.get("exclude") or ()
    columns = {
        column.name: column
        for column in _columns(model)
        if (included in ("all", "*") or column.name in included) and column.name not in excluded
    }
    return tuple({**columns, **{column.name: column for column in own}}.values())


def _columns(entry: Located) -> tuple[Column, ...]:
    return tuple(_column(each) for each in _mappings(entry.get("columns")))


def _column(column: Located) -> Column:
    return Column(
        name=str(column.get("name")),
        data_type=str(column.get("data_type", "")),
        description=str(column.get("description", "")).strip(),
        required=bool(_meta(column).get("required", False))
        or any(each.get("type") == "not_null" for each in _mappings(column.get("constraints"))),
        line=column.line,
        classification=_text(_meta(column).get("classification")),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _meta(entry: Located) -> Located:
    return _mapping(_mapping(entry.get("config")).get("meta", entry.get("meta")))


def _mapping(value: Any) -> Located:
    if isinstance(value, Located):
        return value
    empty = Located()
    empty.lines = {}
    return empty


def _mappings(value: Any) -> list[Located]:
    return [each for each in value if isinstance(each, Located)] if isinstance(value, list) else []


def _references(models: Path) -> Iterable[CrossReference]:
    for path in sorted(models.rglob("*.sql")):
        text = without_comments(path)
        for match in _REFERENCE.finditer(text):
            version = match["version"]
            yield CrossReference(
                domain=match["domain"],
                product=match["product"],
                path=path,
                line=text.count("\n", 0, match.start()) + 1,
                version=int(version) if version else None,
            )


def without_comments(path: Path) -> str:
    """The text of a model without Jinja's comments, every line where it was."""
    return _JINJA_COMMENT.sub(
        lambda match: "\n" * match.group().count("\n"), path.read_text(errors="replace")
    )


def _upstream_first(domains: dict[str, Domain]) -> list[str]:
    ordered: list[str] = []
    path: list[str] = []

    def visit(name: str) -> None:
        if name in ordered:
            return
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            raise DeclarationError(
                domains[name].path / "dependencies.yml",
                1,
                f"domains depend on each other in a circle: {circle}. Remove one dependency.",
            )
        path.append(name)
        for other in domains[name].upstream:
            visit(other)
        path.pop()
        ordered.append(name)

    for name in domains:
        visit(name)
    return ordered
