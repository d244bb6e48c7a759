"""Reads the declarations of one domain.

Belongs here: the files of a domain's dbt project, its dependencies, and problems across files.
Not here: topics and products (topics.py, products.py), other domains (read.py), or advice on
usable declarations (lint/).

Nothing here raises for the content of a file. A broken domain is read as far as possible, so
that `mesh check` can list all its problems and other domains keep working.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from meshhouse.repository import names
from meshhouse.repository.columns import prose
from meshhouse.repository.model import ROOT_DOMAIN, Domain, Product, RawTable
from meshhouse.repository.problems import Problems
from meshhouse.repository.products import ProductsReader
from meshhouse.repository.shapes import mapping, mappings
from meshhouse.repository.sql import SqlFile, read_sql
from meshhouse.repository.topics import TopicsReader
from meshhouse.repository.yaml import (
    ENDLESS,
    DeclarationError,
    Located,
    is_endless,
    read_yaml,
)

CHECKS_SUFFIX = ".checks.yml"
_FOLDERS = ("models", "macros", "tests", "seeds", "snapshots", "analyses")

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
        self._problems = Problems()

    def read(self) -> Domain:
        project = self._project()
        upstream = self._upstream()
        paths = [path for folder in self._folders() for path in self._files(folder)]
        every = [
            (path, self._problems.yaml(path))
            for path in paths
            if path.suffix in (".yml", ".yaml") and not path.name.endswith(CHECKS_SUFFIX)
        ]
        models = self._folder / "models"
        declared = [(path, content) for path, content in every if models in path.parents]
        sql = [read_sql(path) for path in paths if path.suffix == ".sql"]
        topics = TopicsReader(self._problems, self._name, self._folder)
        raw_tables = tuple(topics.read(declared))
        products, private = self._products(project).read(declared)
        for product in products:
            if product.checks_path.exists():
                self._problems.yaml(product.checks_path)
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
            description=prose(project),
            yaml_files=tuple(path for path, _ in declared),
            problems=tuple(dict.fromkeys(self._problems.found)),
            unknown_keys=tuple(self._problems.unknown_keys),
        )

    def _products(self, project: Located) -> ProductsReader:
        return ProductsReader(self._problems, self._name, self._folder, project)

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
                    self._problems.add(path, 1, "this link points to a folder that contains it.")
                    below.remove(name)
                elif path.suffix in (".yml", ".yaml", ".sql"):
                    self._problems.add(path, 1, "this is a folder, not a file; rename it.")
            below.sort()
            for path in (Path(place, name) for name in sorted(files)):
                if is_endless(path):  # dbt reads other files too, such as seeds and descriptions
                    self._problems.add(path, 1, ENDLESS)
                else:
                    found.append(path)
        return found

    # dbt_project.yml and dependencies.yml

    def _project(self) -> Located:
        path = self._folder / "dbt_project.yml"
        if not path.exists() and not path.is_symlink():
            problem = (
                f"there is no such file, so `{self._name}` cannot be read. Write it, or remove the "
                "folder."
            )
            self._problems.add(path, 1, problem)
            return Located()
        project = self._problems.yaml(path)
        if self._problems.found:
            return project
        line = project.line_of("name")
        if self._folder != self._root and self._folder.name == ROOT_DOMAIN:
            problem = (
                f"`{ROOT_DOMAIN}` is the domain of the root project. Rename this one and its "
                "folder."
            )
            self._problems.add(path, line, problem)
        elif problem := names.bad_domain(self._name):
            self._problems.add(path, line, problem)
        elif project.get("name") != self._name:
            expected = f"the dbt project must be named `{self._name}`, like its folder"
            if self._folder == self._root:
                expected = f"the root dbt project must be named `{ROOT_DOMAIN}`"
            self._problems.add(path, line, f"{expected}; it says `{project.get('name')}`.")
        self._paths(path, project)
        return project

    def _paths(self, path: Path, project: Located) -> None:
        declared = project.get("model-paths", ["models"])
        if declared != ["models"]:
            self._problems.add(
                path,
                project.line_of("model-paths"),
                "`model-paths` must be [models]: declarations are read from that folder.",
            )

    def _upstream(self) -> tuple[str, ...]:
        path = self._folder / "dependencies.yml"
        if not path.exists() and not path.is_symlink():
            return ()
        upstream: list[str] = []
        for entry in mappings(self._problems.yaml(path).get("projects")):
            other, line = str(entry.get("name")), entry.line_of("name")
            if other == self._name:
                problem = f"domain `{other}` names itself as a dependency; remove the line."
                self._problems.add(path, line, problem)
            elif other not in self._domain_names:
                known = ", ".join(each for each in self._domain_names if each != self._name)
                problem = f"there is no domain `{other}`. Domains: {known}."
                self._problems.add(path, line, problem)
            elif other in upstream:
                self._problems.add(path, line, f"`{other}` is listed twice; remove one line.")
            else:
                upstream.append(other)
        return tuple(upstream)

    def _groups(self, declared: _Files) -> None:
        for path, content in declared:
            for group in mappings(content.get("groups")):
                owner = mapping(group.get("owner"))
                email = owner.get("email")
                if isinstance(email, str) and not names.EMAIL.fullmatch(email):
                    problem = f"`{email}` is not an e-mail address, such as sales@example.com."
                    self._problems.add(path, owner.line_of("email"), problem)

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
            self._problems.add(each.path, each.line, f"{problem} Rename one.")

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
            self._problems.add(path, line, problem)

    def _sql(
        self,
        files: Sequence[SqlFile],
        models: Sequence[SqlFile],
        declared: _Files,
        project: Located,
    ) -> None:
        for file in files:
            self._problems.found.extend(file.problems)
        for file in models:
            if problem := names.bad_model(file.path.stem):
                self._problems.add(file.path, 1, problem)
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
                    self._problems.add(
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
