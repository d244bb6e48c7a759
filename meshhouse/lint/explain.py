"""Every check of a product, and where it comes from: `mesh check --explain`.

Belongs here: collecting what verifies one product, from declarations alone. Not here: which checks
are derived (audit/derived.py), or printing (cli/check.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshhouse.audit import check_key, derived_checks, read_checks
from meshhouse.governance.policies.catalogue import RULES
from meshhouse.lint.settings import entries, properties
from meshhouse.repository import Domain, Product, Repository, keys
from meshhouse.repository.policies import OFF, read_policies
from meshhouse.repository.shapes import mapping, mappings
from meshhouse.repository.sql import read_sql
from meshhouse.repository.yaml import Located

CHECKS_FILE, DBT_TEST, UNIT_TEST = "checks file", "dbt test", "dbt unit test"
PROMISE, POLICY, DEFAULT = "promise", "policy", "platform default"
ORIGINS = ("constraint", "grain", CHECKS_FILE, DBT_TEST, UNIT_TEST, PROMISE, POLICY, DEFAULT)
"""In the order in which they are shown."""


@dataclass(frozen=True)
class Explained:
    """One check of a product."""

    origin: str
    """One of `ORIGINS`."""
    check: str
    """The key of a check of data, or the name of a test, promise or rule."""
    says: str
    path: Path | None = None
    """The file that asks for it; None for a default."""
    line: int | None = None


def explain(repository: Repository, product: Product) -> list[Explained]:
    """What verifies a product, sorted by origin and place. Needs neither dbt nor data.

    Args:
        repository: the mesh.
        product: one of its products.

    Raises:
        DeclarationError: the file of the product or of its checks cannot be used.
    """
    domain = repository.reading(product.domain)
    for problem in domain.problems:
        if problem.path in (product.path, product.checks_path):
            raise problem
    found = [
        *_audit(product),
        *_dbt_tests(domain, product),
        *_promises(product),
        *_policies(repository),
        Explained(DEFAULT, "contract_changes", "No change breaks readers of what is published"),
    ]
    return sorted(
        found,
        key=lambda each: (ORIGINS.index(each.origin), str(each.path or ""), each.line or 0),
    )


def _audit(product: Product) -> Iterator[Explained]:
    written = read_checks(product)
    implied = {
        (each.kind, each.column or frozenset(each.body.get("columns") or ()))
        for each in derived_checks(product, Located())
    }
    for each in derived_checks(product, written):
        key = check_key(each.kind, each.column, each.body.get("qualifier"))
        path = product.path if each.line else None
        yield Explained(each.origin.value, key, _says(each.kind, each.body), path, each.line)
    for column, place in [
        (None, written),
        *((str(each.get("name")), each) for each in mappings(written.get("columns"))),
    ]:
        for check in mappings(place.get("checks")):
            for kind, value in check.items():
                body = mapping(value)
                says = _says(kind, body)
                if not set(body) - {"name", "columns"} and (
                    (kind, column or frozenset(body.get("columns") or ())) in implied
                ):
                    says += " (needless: the contract implies it)"
                key = check_key(kind, column, body.get("qualifier"))
                line = check.line_of(kind)
                yield Explained(CHECKS_FILE, key, says, product.checks_path, line)


def _says(kind: str, body: Mapping[str, Any]) -> str:
    """The name of a check and its limit."""
    name = str(body.get("name") or kind)
    limits = [
        f"{key.replace('_', ' ')} {value}"
        for key, value in _mapping(body.get("threshold")).items()
        if key.startswith("must")
    ]
    if not limits and kind in ("missing", "duplicate"):
        limits = ["must be 0"]
    return f"{name}: {' and '.join(limits)}" if limits else name


def _mapping(value: Any) -> Mapping[str, Any]:
    """A value if it is a mapping of any kind, otherwise an empty mapping."""
    return value if isinstance(value, Mapping) else {}


def _dbt_tests(domain: Domain, product: Product) -> Iterator[Explained]:
    """Tests of dbt that name the product's model; tests of packages are not among them."""
    for path, content in properties(domain.path / "models"):
        for model in entries(content, "models"):
            if model.get("name") == product.model:
                yield from _generic_tests(path, model)
        for test in entries(content, "unit_tests"):
            if test.get("model") == product.model:
                name = str(test.get("name"))
                says = " ".join(str(test.get("description") or name.replace("_", " ")).split())
                yield Explained(UNIT_TEST, name, says, path, test.line)
    for path in sorted((domain.path / "tests").glob("**/*.sql")):
        if any(each.name == product.model for each in read_sql(path).own):
            yield Explained(DBT_TEST, path.stem, "A query that must find no rows", path, 1)


def _generic_tests(path: Path, model: Located) -> Iterator[Explained]:
    for place in (model, *mappings(model.get("columns"))):
        column = "" if place is model else f"{place.get('name')}__"
        for key in ("data_tests", "tests"):
            tests = place.get(key)
            for test in tests if isinstance(tests, list) else ():
                named = test if isinstance(test, Located) else None
                name = str(next(iter(named), "?")) if named is not None else str(test)
                line = named.line if named is not None else place.line_of(key)
                yield Explained(DBT_TEST, f"{column}{name}", "Finds no rows", path, line)


def _promises(product: Product) -> Iterator[Explained]:
    """Promises that runs measure; `keeps_rows_percent` is a check of the audit."""
    for name, value in product.promises.items():
        if name != keys.KEEPS_ROWS_PERCENT.name:
            says = f"{value}; runs measure it, and it stops no publication"
            yield Explained(PROMISE, name, says, product.path, product.meta_lines.get(name))


def _policies(repository: Repository) -> Iterator[Explained]:
    policies = read_policies(repository.root)
    for name, setting in policies.rules.items():
        if setting.severity != OFF and name in RULES:
            says = f"{RULES[name].demands} ({setting.severity})"
            yield Explained(POLICY, name, says, policies.path, setting.line)
    for rule in RULES.values():
        if rule.is_core and rule.name not in policies.rules:
            yield Explained(DEFAULT, rule.name, rule.demands)
    for own in policies.own:
        if own.severity != OFF:
            says = f"{own.file} ({own.severity})"
            yield Explained(POLICY, Path(own.file).stem, says, policies.path, own.line)
