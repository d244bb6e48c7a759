"""Collects the facts of a domain that rules judge.

Belongs here: checks files, tests, SQL and materializations, as declared. Not here: any rule, or
what dbt would compute: rules judge in seconds, without dbt and without data.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from meshhouse.governance.policies.rule import Check, DomainFacts, ProductFacts
from meshhouse.repository import DeclarationError, Domain, Product
from meshhouse.repository.shapes import mapping, mappings
from meshhouse.repository.sql import read_sql, without_comments
from meshhouse.repository.waivers import read_waivers
from meshhouse.repository.yaml import Located, read_yaml

_MATERIALIZED = re.compile(r"""\bmaterialized\s*=\s*(?:(['"])(\w+)\1)?""")
_DEFAULT = "table"
"""What the mesh makes of a product without a materialization; see repository/project.py."""


def facts_of(domain: Domain) -> DomainFacts:
    """The facts of a domain. Products in files that cannot be used are left out."""
    unusable = {each.path for each in domain.problems}
    declared = [_yaml(path) for path in domain.yaml_files]
    entries = {
        str(entry.get("name")): entry
        for content in declared
        for entry in mappings(content.get("models"))
    }
    tests = _tests(declared)
    made_of = _references(domain)
    project = _yaml(domain.path / "dbt_project.yml")
    products = tuple(
        ProductFacts(
            product=each,
            checks=_checks(each.checks_path, unusable),
            checks_path=each.checks_path,
            sql=(sql := _sql(each.sql_path)),
            materialized=_materialized(sql, entries.get(each.model, Located()), project, each),
            tests=sum(tests.get(name, 0) for name in _all_of(each, made_of)),
        )
        for each in domain.products
        if each.path not in unusable
    )
    readme = any((domain.path / name).is_file() for name in ("README.md", "models/README.md"))
    return DomainFacts(domain, products, read_waivers(domain.path), readme)


def _yaml(path: Path) -> Located:
    try:
        return read_yaml(path)
    except DeclarationError:  # one of the domain's problems
        return Located()


def _sql(path: Path) -> str:
    try:
        return without_comments(path) if path.is_file() else ""
    except DeclarationError:
        return ""


def _checks(path: Path, unusable: Collection[Path]) -> tuple[Check, ...] | None:
    if path in unusable:
        return None
    if not path.exists():
        return ()
    content = _yaml(path)
    found = list(_each_check(None, content.get("checks")))
    for column in mappings(content.get("columns")):
        found += _each_check(str(column.get("name")), column.get("checks"))
    return tuple(found)


def _each_check(column: str | None, checks: Any) -> Iterator[Check]:
    for each in mappings(checks):
        yield from (Check(kind, column, mapping(body)) for kind, body in each.items())


def _tests(declared: Sequence[Located]) -> Mapping[str, int]:
    """Model -> the number of its dbt tests."""
    found: dict[str, int] = {}
    for content in declared:
        for entry in mappings(content.get("models")):
            name = str(entry.get("name"))
            found[name] = found.get(name, 0) + _data_tests(entry)
        for test in mappings(content.get("unit_tests")):
            name = str(test.get("model"))
            found[name] = found.get(name, 0) + 1
    return found


def _data_tests(entry: Located) -> int:
    places = [entry, *mappings(entry.get("columns"))]
    lists = [place.get(key) for place in places for key in ("data_tests", "tests")]
    return sum(len(each) for each in lists if isinstance(each, list))


def _references(domain: Domain) -> Mapping[str, frozenset[str]]:
    """Model -> models of the domain that its SQL names."""
    models = domain.path / "models"
    return {
        path.stem: frozenset(each.name for each in read_sql(path).own if each.kind == "ref")
        for path in sorted(models.rglob("*.sql"))
    }


def _all_of(product: Product, made_of: Mapping[str, frozenset[str]]) -> set[str]:
    """The models that a product is made of, its own included."""
    found: set[str] = {product.model}
    waiting = [product.sql_path.stem]
    while waiting:
        name = waiting.pop()
        new = made_of.get(name, frozenset()) - found
        found |= new
        waiting += new
    return found


def _materialized(sql: str, entry: Located, project: Located, product: Product) -> str | None:
    """How dbt makes a model: its SQL decides before its YAML, and that before the project."""
    if written := _MATERIALIZED.search(sql):
        return written[2]
    config = mapping(entry.get("config"))
    if "materialized" in config:
        return str(config["materialized"])
    place = mapping(mapping(project.get("models")).get(project.get("name")))
    found = place.get("+materialized", _DEFAULT)
    folders = product.sql_path.parts
    below = folders[folders.index("models") + 1 : -1] if "models" in folders else ()
    for folder in below:
        place = mapping(place.get(folder))
        found = place.get("+materialized", found)
    return found if isinstance(found, str) and "{{" not in found else None
