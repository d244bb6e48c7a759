"""Reads the models of one domain: its products and their versions.

Belongs here: turning an entry of `models` into products. Not here: columns (columns.py), the
columns of a version (versions.py), or the meaning of the keys of `config.meta` (keys.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from meshhouse.repository import keys, names
from meshhouse.repository import versions as versioned
from meshhouse.repository.columns import is_number, prose, read_columns, text
from meshhouse.repository.folders import settings_of_folders
from meshhouse.repository.misfits import NUMBER
from meshhouse.repository.model import Column, Product
from meshhouse.repository.problems import Problems
from meshhouse.repository.shapes import mapping, mappings
from meshhouse.repository.sinks import read_sinks
from meshhouse.repository.yaml import Located

_ACCESS = ("public", "protected", "private")
_LARGEST_WEIGHT = 1_000
_EARLIEST_VERSION, _LAST_VERSION = 1, 9_999


class ProductsReader:
    """Reads models from YAML files."""

    def __init__(self, problems: Problems, domain: str, folder: Path, project: Located) -> None:
        """Takes a domain.

        Args:
            problems: problems of its models are added.
            domain: its name.
            folder: its dbt project.
            project: its dbt_project.yml, which may set `access`, `group`, `contract` and `meta`
                for folders.
        """
        self._problems = problems
        self._name = domain
        self._models = folder / "models"
        self._project = project

    def read(self, declared: Sequence[tuple[Path, Located]]) -> tuple[list[Product], list[str]]:
        """The products, and the names of the models that are not public."""
        products: list[Product] = []
        private: list[str] = []
        for path, content in declared:
            for model in mappings(content.get("models")):
                name, before = str(model.get("name")), len(products)
                products += self._products(path, model)
                if len(products) > before:
                    if problem := names.bad_name("product", name):
                        self._problems.add(path, model.line_of("name"), problem)
                        del products[before:]
                    continue
                private.append(name)
                if problem := names.bad_model(name):
                    self._problems.add(path, model.line_of("name"), problem)
        return products, private

    def _products(self, path: Path, model: Located) -> list[Product]:
        config, name = mapping(model.get("config")), str(model.get("name"))
        folder = settings_of_folders(self._project, self._name, self._models, path.parent / name)
        self._access(path, name, model)
        self._access(path, name, config)
        versions = self._versions(path, model)
        latest = self._latest(path, model, list(versions))
        is_versioned = "versions" in model
        products = []
        for number, version in (versions if is_versioned else {1: Located()}).items():
            self._access(path, name, version)
            settings = versioned.merged(config, mapping(version.get("config")))
            access = settings.get(
                "access", version.get("access", model.get("access", folder.get("access")))
            )
            if access != "public":
                continue
            own_meta = mapping(settings.get("meta", model.get("meta")))
            inherited = Located(mapping(folder.get("meta")))
            inherited.line = own_meta.line if own_meta else model.line
            meta = versioned.merged(inherited, own_meta)
            columns = read_columns(
                self._problems, path, versioned.columns_of(model, version), f"{self._name}.{name}"
            )
            contract = mapping(settings.get("contract", folder.get("contract")))
            threshold, weights = self._score(path, meta)
            products.append(
                Product(
                    domain=self._name,
                    model=name,
                    version=number,
                    is_latest=number == latest,
                    versioned=is_versioned,
                    latest_version=latest,
                    columns=columns,
                    description=prose(version) or prose(model),
                    group=text(settings.get("group", model.get("group", folder.get("group")))),
                    contract=contract.get("enforced") is True,
                    grain=self._grain(meta),
                    promises=self._promises(path, meta, columns),
                    threshold=threshold,
                    weights=weights,
                    shared=keys.SHARED.of(meta) is True,
                    renamed_from=self._renamed(path, meta, name),
                    path=path,
                    line=version.line if version else model.line,
                    sql_path=self._sql_path(path, name, number, version, number == latest)
                    if is_versioned
                    else path.parent / f"{name.replace('/', '_')}.sql",
                    deprecation_date=self._deprecated(path, model, version),
                    sinks=read_sinks(self._problems, path, meta),
                    may_be_empty=keys.MAY_BE_EMPTY.of(meta) is True,
                    meta_lines={**meta.lines, **mapping(keys.PROMISES.of(meta)).lines},
                )
            )
        return products

    def _access(self, path: Path, name: str, entry: Located) -> None:
        access = entry.get("access")
        if isinstance(access, str) and access not in _ACCESS:
            problem = f"`access` of `{name}` is `{access}`. Use {', '.join(_ACCESS)}."
            self._problems.add(path, entry.line_of("access"), problem)

    def _sql_path(
        self, path: Path, name: str, number: int, version: Located, is_latest: bool
    ) -> Path:
        stem = str(version.get("defined_in") or name)
        if names.bad_model(stem):
            problem = f"`defined_in` is `{stem}`; give the name of a model's file, without .sql."
            self._problems.add(path, version.line_of("defined_in"), problem)
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
            self._problems.add(path, model.line_of("versions"), problem)
        for entry in mappings(written):
            number = entry.get("v")
            if not _is_version(number):
                problem = (
                    f"version `{number}` of model `{model.get('name')}` cannot be used: give `v` a "
                    "whole number from 1, without quotation marks."
                )
                self._problems.add(path, entry.line_of("v"), problem)
            elif number in found:
                problem = (
                    f"model `{model.get('name')}` declares version {number} twice; remove one."
                )
                self._problems.add(path, entry.line_of("v"), problem)
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
            self._problems.add(path, model.line_of("latest_version"), problem)
            return max(numbers)
        return int(latest)

    def _grain(self, meta: Located) -> tuple[str, ...]:
        declared = keys.GRAIN.of(meta)
        return tuple(map(str, declared)) if isinstance(declared, list) else ()

    def _promises(self, path: Path, meta: Located, columns: Sequence[Column]) -> Mapping[str, Any]:
        """The promises that can be used; `mesh status` reads those of a broken domain as well."""
        promises, usable = mapping(keys.PROMISES.of(meta)), {}
        names = {each.name for each in columns}
        for key in keys.IN_PROMISES:
            value = key.of(promises)
            if value is None:
                continue
            if key.shape == NUMBER:
                most = keys.LARGEST_PROMISE.get(key.name, 1_000_000)
                if is_number(value) and 0 <= value <= most:
                    usable[key.name] = value
                elif is_number(value):
                    problem = f"`{key.name}` is `{value}`; give a number from 0 to {most:,}."
                    self._problems.add(path, promises.line_of(key.name), problem)
            elif str(value) in names:
                usable[key.name] = str(value)
            else:
                problem = f"`{key.name}` is `{value}`, which is not a column. Name a column."
                self._problems.add(path, promises.line_of(key.name), problem)
        return usable

    def _renamed(self, path: Path, meta: Located, name: str) -> str | None:
        before = keys.RENAMED_FROM.of(meta)
        if before is None:
            return None
        domain, _, model = str(before).partition(".")
        is_own = str(before) == f"{self._name}.{name}"
        if names.bad_domain(domain) or names.bad_name("product", model) or is_own:
            problem = (
                f"`{keys.RENAMED_FROM.name}` is `{before}`; write the name that the model had "
                "before, as `domain.model`, without a version."
            )
            self._problems.add(path, meta.line_of(keys.RENAMED_FROM.name), problem)
            return None
        return str(before)

    def _score(self, path: Path, meta: Located) -> tuple[float, Mapping[str, float]]:
        """Threshold and weights of the score."""
        score = mapping(keys.SCORE.of(meta))
        threshold, weights = score.get("threshold", 0.0), mapping(score.get("weights"))
        if not is_number(threshold) or not 0 <= threshold <= 100:
            threshold = 0.0  # of another type: the shape of the file says so
            if is_number(score.get("threshold")):
                problem = f"`threshold` is `{score['threshold']}`; give a number from 0 to 100."
                self._problems.add(path, score.line_of("threshold"), problem)
        usable = {}
        for name, weight in weights.items():
            if is_number(weight) and 0 <= weight <= _LARGEST_WEIGHT:
                usable[name] = float(weight)
            else:
                problem = (
                    f"the weight of `{name}` is `{weight}`; give a number from 0 to "
                    f"{_LARGEST_WEIGHT:,}."
                )
                self._problems.add(path, weights.line_of(name), problem)
        return float(threshold), usable

    def _deprecated(self, path: Path, model: Located, version: Located) -> str | None:
        declared = version.get("deprecation_date", model.get("deprecation_date"))
        if declared is None:
            return None
        if not isinstance(declared, date):
            try:
                datetime.fromisoformat(str(declared))
            except ValueError:
                problem = f"`deprecation_date` is `{declared}`. Write it as 2027-01-31."
                self._problems.add(path, model.line_of("deprecation_date"), problem)
                return None
        return str(declared)


def _is_version(value: Any) -> bool:
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and _EARLIEST_VERSION <= value <= _LAST_VERSION
    )
