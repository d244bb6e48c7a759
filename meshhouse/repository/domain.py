"""Reads the declarations of one domain.

Belongs here: turning the files of a domain's dbt project into facts (model.py), and every
problem that makes the declarations unusable. Not here: other domains (read.py), or advice on
usable declarations (lint/).

Nothing here raises for the content of a file. A broken domain is read as far as possible, so
that `mesh check` can list all its problems and other domains keep working.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from meshhouse.repository import keys, names
from meshhouse.repository import versions as versioned
from meshhouse.repository.misfits import misfits
from meshhouse.repository.model import (
    ROOT_DOMAIN,
    Column,
    Domain,
    Product,
    RawTable,
    UnknownKey,
)
from meshhouse.repository.shapes import mapping, mappings, meta_of, shape_of
from meshhouse.repository.sql import SqlFile, read_sql
from meshhouse.repository.types import parse_type
from meshhouse.repository.yaml import DeclarationError, Located, read_yaml

CHECKS_SUFFIX = ".checks.yml"
REJECTED_SUFFIX = "__rejected"
_CONSTRAINTS = ("not_null", "unique", "primary_key", "foreign_key", "check", "custom")
_ACCESS = ("public", "protected", "private")
_FOLDERS = ("models", "macros", "tests", "seeds", "snapshots", "analyses")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z0-9-]{2,}")
_EARLIEST_VERSION, _LAST_VERSION = 1, 9_999

_Files = Sequence[tuple[Path, Located]]


def read_domain(root: Path, name: str, folder: Path, domain_names: Sequence[str]) -> Domain:
    """One domain, with all its problems.

    Args:
        root: the repository.
        name: of the domain: the name of its folder, or `mesh` for the root project.
        folder: the domain's dbt project.
        domain_names: every domain of the mesh.
    """
    return _Reader(root, name, folder, domain_names).read()


def has_packages(folder: Path) -> bool:
    """Whether a dbt project uses dbt packages; two files can name them."""
    if (folder / "packages.yml").exists():
        return True
    try:
        return bool(read_yaml(folder / "dependencies.yml").get("packages"))
    except DeclarationError:  # the file is missing, or its problem is reported elsewhere
        return False


class _Reader:
    """Reads one domain once."""

    def __init__(self, root: Path, name: str, folder: Path, domain_names: Sequence[str]) -> None:
        self._root = root
        self._name = name
        self._folder = folder
        self._domain_names = domain_names
        self._problems: list[DeclarationError] = []
        self._unknown_keys: list[UnknownKey] = []

    def read(self) -> Domain:
        project = self._project()
        upstream = self._upstream()
        paths = [path for folder in self._folders() for path in self._files(folder)]
        every = [
            (path, self._yaml(path))
            for path in paths
            if path.suffix in (".yml", ".yaml") and not path.name.endswith(CHECKS_SUFFIX)
        ]
        models = self._folder / "models"
        declared = [(path, content) for path, content in every if models in path.parents]
        sql = [read_sql(path) for path in paths if path.suffix == ".sql"]
        raw_tables = tuple(self._raw_tables(declared))
        products, private = self._models(declared)
        for product in products:
            if product.checks_path.exists():
                self._yaml(product.checks_path)
        self._groups(declared)
        self._duplicates(declared, products, raw_tables)
        in_models = [file for file in sql if models in file.path.parents]
        self._sql(sql, in_models, declared, project)
        return Domain(
            name=self._name,
            path=self._folder,
            upstream=upstream,
            owners={
                str(group.get("name")): mapping(group.get("owner"))
                for _, content in declared
                for group in mappings(content.get("groups"))
            },
            raw_tables=raw_tables,
            products=tuple(products),
            private_models=tuple(private),
            references=tuple(each for file in in_models for each in file.references),
            description=_prose(project),
            yaml_files=tuple(path for path, _ in declared),
            problems=tuple(dict.fromkeys(self._problems)),
            unknown_keys=tuple(self._unknown_keys),
        )

    # Files

    def _folders(self) -> Iterator[Path]:
        for name in _FOLDERS:
            # The root's macros belong to all domains (read.py); its tests belong to pytest.
            if self._folder == self._root and name in ("macros", "tests"):
                continue
            yield self._folder / name

    def _files(self, folder: Path) -> list[Path]:
        found = []
        for place, below, files in os.walk(folder):
            for name in sorted(below):
                path = Path(place, name)
                if path.is_symlink() and path.resolve() in (path, *path.parents):
                    self._problem(path, 1, "this link points to a folder that contains it.")
                    below.remove(name)
                elif path.suffix in (".yml", ".yaml", ".sql"):
                    self._problem(path, 1, "this is a folder, not a file; rename it.")
            below.sort()
            found += [Path(place, name) for name in sorted(files)]
        return found

    def _yaml(self, path: Path) -> Located:
        try:
            content = read_yaml(path)
        except DeclarationError as error:
            self._problems.append(error)
            return Located()
        for each in misfits(content, shape_of(path)):
            if each.is_unknown_key:
                key = UnknownKey(path, each.line, each.problem, each.remedy, each.is_style)
                self._unknown_keys.append(key)
            else:
                self._problem(path, each.line, f"{each.problem} {each.remedy}".rstrip())
        return content

    def _problem(self, path: Path, line: int, problem: str) -> None:
        self._problems.append(DeclarationError(path, line, problem))

    # dbt_project.yml and dependencies.yml

    def _project(self) -> Located:
        path = self._folder / "dbt_project.yml"
        if not path.exists() and not path.is_symlink():
            problem = (
                f"there is no such file, so `{self._name}` cannot be read. Write it, or remove the "
                "folder."
            )
            self._problem(path, 1, problem)
            return Located()
        project = self._yaml(path)
        if self._problems:
            return project
        line = project.line_of("name")
        if self._folder != self._root and self._folder.name == ROOT_DOMAIN:
            problem = (
                f"`{ROOT_DOMAIN}` is the domain of the root project. Rename this one and its "
                "folder."
            )
            self._problem(path, line, problem)
        elif problem := names.bad_domain(self._name):
            self._problem(path, line, problem)
        elif project.get("name") != self._name:
            expected = f"the dbt project must be named `{self._name}`, like its folder"
            if self._folder == self._root:
                expected = f"the root dbt project must be named `{ROOT_DOMAIN}`"
            self._problem(path, line, f"{expected}; it says `{project.get('name')}`.")
        self._paths(path, project)
        return project

    def _paths(self, path: Path, project: Located) -> None:
        declared = project.get("model-paths", ["models"])
        if declared != ["models"]:
            self._problem(
                path,
                project.line_of("model-paths"),
                "`model-paths` must be [models]: declarations are read from that folder.",
            )
        macros = project.get("macro-paths", ["macros"])
        shared = (self._root / "macros").resolve()
        if shared.is_dir() and isinstance(macros, list):
            known = [(self._folder / str(each)).resolve() for each in macros]
            if shared not in known:
                relative = os.path.relpath(shared, self._folder)
                self._problem(
                    path,
                    project.line_of("macro-paths"),
                    f"`macro-paths` must list {relative}, the macros of the mesh.",
                )

    def _upstream(self) -> tuple[str, ...]:
        path = self._folder / "dependencies.yml"
        if not path.exists() and not path.is_symlink():
            return ()
        upstream: list[str] = []
        for entry in mappings(self._yaml(path).get("projects")):
            other, line = str(entry.get("name")), entry.line_of("name")
            if other == self._name:
                problem = f"domain `{other}` names itself as a dependency; remove the line."
                self._problem(path, line, problem)
            elif other not in self._domain_names:
                known = ", ".join(each for each in self._domain_names if each != self._name)
                problem = f"there is no domain `{other}`. Domains: {known}."
                self._problem(path, line, problem)
            elif other in upstream:
                self._problem(path, line, f"`{other}` is listed twice; remove one line.")
            else:
                upstream.append(other)
        return tuple(upstream)

    # Raw tables

    def _raw_tables(self, declared: _Files) -> Iterator[RawTable]:
        for path, content in declared:
            for source in mappings(content.get("sources")):
                if not self._has_own_schema(path, source):
                    continue
                for table in mappings(source.get("tables")):
                    raw = self._raw_table(path, f"{self._name}_raw", table)
                    if raw is not None:
                        yield raw

    def _has_own_schema(self, path: Path, source: Located) -> bool:
        schema, own = source.get("schema", source.get("name")), f"{self._name}_raw"
        if schema == own:
            return True
        problem = (
            f"raw tables of `{self._name}` must be in the schema `{own}`, not in `{schema}`: a "
            f"domain lands in its own schema only. Write `schema: {own}`."
        )
        key = "schema" if "schema" in source else "name"
        self._problem(path, source.line_of(key), problem)
        return False

    def _raw_table(self, path: Path, schema: str, table: Located) -> RawTable | None:
        name, meta = str(table.get("name")), meta_of(table)
        before = len(self._problems)
        if problem := names.bad_name("raw table", name):
            self._problem(path, table.line_of("name"), problem)
        elif name.endswith(REJECTED_SUFFIX):
            problem = (
                f"`{name}` cannot name a raw table: `{REJECTED_SUFFIX}` is for the table of "
                "rejected events."
            )
            self._problem(path, table.line_of("name"), problem)
        if table.get("identifier", name) != name:
            problem = f"`identifier` must be `{name}`, the table that events land in; remove it."
            self._problem(path, table.line_of("identifier"), problem)
        if not keys.TOPIC.of(meta):
            problem = f"source table `{name}` names no topic; add config.meta.{keys.TOPIC.name}."
            self._problem(path, table.line, problem)
        elif problem := names.bad_topic(str(keys.TOPIC.of(meta))):
            self._problem(path, meta.line_of(keys.TOPIC.name), problem)
        percent = self._percent(path, table, meta)
        events_schema = self._events_schema(path, meta)
        entries = mappings(table.get("columns"))
        columns = self._columns(path, entries, f"{schema}.{name}", is_raw=True)
        if not columns:
            problem = f"{schema}.{name} has no columns; list those that its events have."
            self._problem(path, table.line, problem)
        if len(self._problems) > before:
            return None  # landing must not use a declaration that was only partly understood
        return RawTable(
            domain=self._name,
            schema=schema,
            name=name,
            topic=str(keys.TOPIC.of(meta)),
            columns=columns,
            description=_prose(table),
            changelog=keys.CHANGELOG.of(meta) is True,
            path=path,
            line=table.line,
            format=str(keys.FORMAT.of(meta)),
            pattern=_text(keys.PATTERN.of(meta)),
            schema_path=events_schema,
            max_rejected_percent=percent,
        )

    def _events_schema(self, path: Path, meta: Located) -> Path | None:
        declared = keys.SCHEMA.of(meta)
        if declared is None:
            return None
        place = self._folder / str(declared)
        if self._folder.resolve() not in place.resolve().parents:
            problem = (
                f"`{keys.SCHEMA.name}` is `{declared}`, which is outside the folder of the domain."
            )
            self._problem(path, meta.line_of(keys.SCHEMA.name), problem)
        return place

    def _percent(self, path: Path, table: Located, meta: Located) -> float:
        key = keys.MAX_REJECTED_PERCENT
        declared = key.of(meta)
        if _is_number(declared) and 0 <= declared <= 100:
            return float(declared)
        problem = (
            f"`{key.name}` of `{table.get('name')}` is `{declared}`; give a number from 0 to 100."
        )
        self._problem(path, meta.line_of(key.name), problem)
        return float(key.default)

    # Models and products

    def _models(self, declared: _Files) -> tuple[list[Product], list[str]]:
        products: list[Product] = []
        private: list[str] = []
        for path, content in declared:
            for model in mappings(content.get("models")):
                name, before = str(model.get("name")), len(products)
                products += self._products(path, model)
                if len(products) > before:
                    if problem := names.bad_name("product", name):
                        self._problem(path, model.line_of("name"), problem)
                        del products[before:]
                    continue
                private.append(name)
                if problem := names.bad_model(name):
                    self._problem(path, model.line_of("name"), problem)
        return products, private

    def _products(self, path: Path, model: Located) -> list[Product]:
        config, name = mapping(model.get("config")), str(model.get("name"))
        self._access(path, name, model)
        self._access(path, name, config)
        versions = self._versions(path, model)
        latest = self._latest(path, model, list(versions))
        is_versioned = "versions" in model
        products = []
        for number, version in (versions if is_versioned else {1: Located()}).items():
            self._access(path, name, version)
            settings = versioned.merged(config, mapping(version.get("config")))
            access = settings.get("access", version.get("access", model.get("access")))
            if access != "public":
                continue
            meta = mapping(settings.get("meta", model.get("meta")))
            columns = versioned.columns_of(model, version)
            products.append(
                Product(
                    domain=self._name,
                    model=name,
                    version=number,
                    is_latest=number == latest,
                    versioned=is_versioned,
                    latest_version=latest,
                    columns=self._columns(path, columns, f"{self._name}.{name}"),
                    description=_prose(version) or _prose(model),
                    group=_text(settings.get("group", model.get("group"))),
                    contract=mapping(settings.get("contract")).get("enforced") is True,
                    grain=self._grain(meta),
                    promises=self._promises(path, meta),
                    shared=keys.SHARED.of(meta) is True,
                    path=path,
                    line=version.line if version else model.line,
                    sql_path=self._sql_path(path, name, number, version, number == latest)
                    if is_versioned
                    else path.parent / f"{name.replace('/', '_')}.sql",
                    deprecation_date=self._deprecated(path, model, version),
                )
            )
        return products

    def _access(self, path: Path, name: str, entry: Located) -> None:
        access = entry.get("access")
        if isinstance(access, str) and access not in _ACCESS:
            problem = f"`access` of `{name}` is `{access}`. Use {', '.join(_ACCESS)}."
            self._problem(path, entry.line_of("access"), problem)

    def _sql_path(
        self, path: Path, name: str, number: int, version: Located, is_latest: bool
    ) -> Path:
        stem = str(version.get("defined_in") or name)
        if names.bad_model(stem):
            problem = f"`defined_in` is `{stem}`; give the name of a model's file, without .sql."
            self._problem(path, version.line_of("defined_in"), problem)
            return path.with_suffix(".sql")
        return versioned.sql_path(path, name, number, version, is_latest)

    def _versions(self, path: Path, model: Located) -> dict[int, Located]:
        """Number -> declaration of each version of a model."""
        found: dict[int, Located] = {}
        written = model.get("versions")
        if "versions" in model and len(mappings(written)) != (
            len(written) if isinstance(written, list) and written else -1
        ):
            problem = (
                f"`versions` of model `{model.get('name')}` must be a list of entries such as "
                "`v: 1`; without versions, remove the key."
            )
            self._problem(path, model.line_of("versions"), problem)
        for entry in mappings(written):
            number = entry.get("v")
            if not _is_version(number):
                problem = (
                    f"version `{number}` of model `{model.get('name')}` cannot be used: give `v` a "
                    "whole number from 1, without quotation marks."
                )
                self._problem(path, entry.line_of("v"), problem)
            elif number in found:
                problem = (
                    f"model `{model.get('name')}` declares version {number} twice; remove one."
                )
                self._problem(path, entry.line_of("v"), problem)
            else:
                found[int(number)] = entry
        return found

    def _latest(self, path: Path, model: Located, numbers: list[int]) -> int:
        latest = model.get("latest_version")
        if not numbers or latest is None:
            return max(numbers, default=1)
        if not _is_version(latest) or latest not in numbers:
            known = ", ".join(str(number) for number in numbers)
            problem = (
                f"`latest_version` of model `{model.get('name')}` is `{latest}`, but the versions "
                f"are {known}."
            )
            self._problem(path, model.line_of("latest_version"), problem)
            return max(numbers)
        return int(latest)

    def _grain(self, meta: Located) -> tuple[str, ...]:
        declared = keys.GRAIN.of(meta)
        return tuple(map(str, declared)) if isinstance(declared, list) else ()

    def _promises(self, path: Path, meta: Located) -> Mapping[str, Any]:
        promises = mapping(keys.PROMISES.of(meta))
        for key, most in ((keys.REFRESHED_WITHIN_HOURS, 1_000_000), (keys.KEEPS_ROWS_PERCENT, 100)):
            value = key.of(promises)
            if _is_number(value) and not 0 <= value <= most:
                problem = f"`{key.name}` is `{value}`; give a number from 0 to {most:,}."
                self._problem(path, promises.line_of(key.name), problem)
        return {key: value for key, value in promises.items() if _is_number(value)}

    def _deprecated(self, path: Path, model: Located, version: Located) -> str | None:
        declared = version.get("deprecation_date", model.get("deprecation_date"))
        if declared is None:
            return None
        if not isinstance(declared, date):
            try:
                datetime.fromisoformat(str(declared))
            except ValueError:
                problem = f"`deprecation_date` is `{declared}`. Write it as 2027-01-31."
                self._problem(path, model.line_of("deprecation_date"), problem)
                return None
        return str(declared)

    def _columns(
        self, path: Path, entries: Iterable[Located], relation: str, is_raw: bool = False
    ) -> tuple[Column, ...]:
        columns = []
        first: dict[str, Column] = {}
        for column in entries:
            read = _column(column)
            columns.append(read)
            if problem := _bad_column(read, is_raw):
                self._problem(path, read.line, f"column `{read.name}` of {relation}: {problem}")
            for constraint in mappings(column.get("constraints")):
                kind = constraint.get("type")
                if kind not in _CONSTRAINTS:
                    problem = f"`{kind}` is not a constraint. Use {', '.join(_CONSTRAINTS)}."
                    self._problem(path, constraint.line_of("type"), problem)
            twin = first.setdefault(read.name.lower(), read)
            if twin is not read:
                how = "twice" if twin.name == read.name else "twice, in other case"
                problem = (
                    f"column `{read.name}` of {relation} is here {how} (first in line "
                    f"{twin.line}); remove or rename one."
                )
                self._problem(path, read.line, problem)
        return tuple(columns)

    def _groups(self, declared: _Files) -> None:
        for path, content in declared:
            for group in mappings(content.get("groups")):
                owner = mapping(group.get("owner"))
                email = owner.get("email")
                if isinstance(email, str) and not _EMAIL.fullmatch(email):
                    problem = f"`{email}` is not an e-mail address, such as sales@example.com."
                    self._problem(path, owner.line_of("email"), problem)

    # Problems across files

    def _duplicates(
        self, declared: _Files, products: Sequence[Product], raw_tables: Sequence[RawTable]
    ) -> None:
        for key, what in (("models", "model"), ("groups", "group"), ("unit_tests", "unit test")):
            places = [
                (_identity(key, each), path, each.line)
                for path, content in declared
                for each in mappings(content.get(key))
            ]
            self._twice(what, places)
        self._twice("raw table", [(raw.relation, raw.path, raw.line) for raw in raw_tables])
        models = {product.model for product in products}
        clashes = [each for each in products if each.name != each.model and each.name in models]
        for each in clashes:
            problem = f"version {each.version} of `{each.model}` has the name of another product."
            self._problem(each.path, each.line, f"{problem} Rename one.")

    def _twice(self, what: str, places: Iterable[tuple[str, Path, int]]) -> None:
        first: dict[str, tuple[str, Path, int]] = {}
        for name, path, line in places:
            known, where, at = first.setdefault(name.lower(), (name, path, line))
            if (where, at) == (path, line):
                continue
            other = f"{where.name}:{at}"
            how = "is declared twice" if known == name else f"differs from `{known}` in case only"
            problem = (
                f"{what} `{names.shortened(name)}` {how} (first in {other}); rename or remove one."
            )
            self._problem(path, line, problem)

    def _sql(
        self,
        files: Sequence[SqlFile],
        models: Sequence[SqlFile],
        declared: _Files,
        project: Located,
    ) -> None:
        for file in files:
            self._problems.extend(file.problems)
        for file in models:
            if problem := names.bad_model(file.path.stem):
                self._problem(file.path, 1, problem)
        self._twice("model", [(file.path.stem, file.path, 1) for file in models])
        if "enabled" in str(project) or self._takes_models_from_elsewhere(project):
            return  # only dbt knows which models exist
        self._own_references(models, declared, project)

    def _takes_models_from_elsewhere(self, project: Located) -> bool:
        """Whether packages or snapshot files add models; a snapshot file names them inside."""
        has_snapshots = (self._folder / "snapshots").is_dir() or "snapshot-paths" in project
        return has_snapshots or has_packages(self._folder)

    def _own_references(
        self, models: Sequence[SqlFile], declared: _Files, project: Located
    ) -> None:
        entries = [each for _, content in declared for each in mappings(content.get("models"))]
        disabled = {
            str(each.get("name")) for each in entries if "enabled" in mapping(each.get("config"))
        }
        known = {str(each.get("name")) for each in entries} | {file.path.stem for file in models}
        seeds = project.get("seed-paths")
        for folder in ("models", *(seeds if isinstance(seeds, list) else ["seeds"])):
            known.update(path.stem for path in (self._folder / str(folder)).rglob("*"))
        known.update(_snapshots(models, declared))
        sources = {
            f"{source.get('name')}.{table.get('name')}"
            for _, content in declared
            for source in mappings(content.get("sources"))
            for table in mappings(source.get("tables"))
        }
        for file in models:
            for reference in file.own if file.path.stem not in disabled else ():
                there = sources if reference.kind == "source" else known
                if reference.name not in there:
                    what = "source" if reference.kind == "source" else "model"
                    problem = (
                        f"{reference.kind}({_quoted(reference.name)}): domain `{self._name}` has "
                        f"no {what} of that name."
                    )
                    self._problem(
                        file.path, reference.line, problem + _closest(reference.name, there)
                    )


_SNAPSHOT = re.compile(r"\{%-?\s*snapshot\s+(\w+)")


def _snapshots(models: Sequence[SqlFile], declared: _Files) -> Iterator[str]:
    """Names of the snapshots in a folder of models: from YAML entries and from SQL blocks."""
    for _, content in declared:
        yield from (str(each.get("name")) for each in mappings(content.get("snapshots")))
    for file in models:
        if not file.problems:
            yield from _SNAPSHOT.findall(file.path.read_text(errors="replace"))


def _identity(section: str, entry: Located) -> str:
    """How dbt identifies an entry: two models may have unit tests of the same name."""
    name = str(entry.get("name"))
    return f"{entry.get('model')}.{name}" if section == "unit_tests" else name


def _quoted(name: str) -> str:
    return ", ".join(f"'{part}'" for part in name.split("."))


def _closest(name: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f" Did you mean `{close[0]}`?" if close else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_version(value: Any) -> bool:
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and _EARLIEST_VERSION <= value <= _LAST_VERSION
    )


LANDING_COLUMNS = {
    "_rescued", "_topic_partition", "_offset", "_timestamp", "_key", "_tombstone", "_landed_at",
}  # fmt: skip
"""Columns that landing adds to each raw table."""


def _bad_column(column: Column, is_raw: bool) -> str | None:
    if problem := names.bad_column(column.name):
        return problem
    if is_raw and column.name.lower() in LANDING_COLUMNS:
        return "landing adds a column of this name; rename yours."
    if not column.data_type:
        return "no data_type is given."
    try:
        parse_type(column.data_type)
    except ValueError as error:
        return str(error)
    return None


def _column(column: Located) -> Column:
    meta = meta_of(column)
    constraints = mappings(column.get("constraints"))
    return Column(
        name=str(column.get("name")),
        data_type=_text(column.get("data_type")) or "",
        description=_prose(column),
        required=keys.REQUIRED.of(meta) is True
        or any(each.get("type") == "not_null" for each in constraints),
        line=column.line,
        classification=_text(keys.CLASSIFICATION.of(meta)),
    )


def _prose(entry: Located) -> str:
    return (_text(entry.get("description")) or "").strip()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
