"""Makes the contract of a product: what its declarations, code and tables promise.

Belongs here: the keys of the document, and their canonical values. Not here: reading declarations
(repository/), rendering SQL (lint/sql/rendering.py), or comparing contracts (rules/).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from meshhouse.governance.contract import FORMAT, KEYS, Contract, accepted_by
from meshhouse.governance.lineage import roots_of
from meshhouse.governance.reading import Execution, Query, reads_in
from meshhouse.governance.soda_queries import soda_queries
from meshhouse.governance.sql_text import canonical
from meshhouse.repository import Column, Domain, Product
from meshhouse.repository.columns import LANDING_COLUMNS
from meshhouse.repository.keys import KEEPS_ROWS_PERCENT
from meshhouse.repository.types import parse_type

_LEVEL, _CHECK_TEXTS = "level", ("name", "qualifier")
_BOUNDS = {
    "valid_min": "min",
    "valid_max": "max",
    "valid_min_length": "min_length",
    "valid_max_length": "max_length",
    "valid_length": "length",
}


@dataclass(frozen=True)
class Model:
    """One private or public model that a product is made of."""

    name: str
    relation: str
    """`schema.table` as its readers name it, in lower case."""
    sql: str
    """As DuckDB would run it, whatever target is in use."""
    materialized: str
    unpinned: frozenset[str] = frozenset()
    """`domain.model` of the products that it refers to without a version."""
    later_sql: str | None = None
    """As later builds run it; None if the model is not incremental."""
    published: tuple[str, ...] = ()
    """The names under which consumers find it; empty if it is private."""


@dataclass(frozen=True)
class Sources:
    """What a contract is made from, beside the product's declaration."""

    domain: Domain
    target: str
    dialect: str
    """sqlglot's name of the SQL in which the models are rendered."""
    models: Sequence[Model]
    """The product's model and what it is made of in its domain."""
    upstream: Sequence[Product] = ()
    """Products of other domains that the domain may read."""
    seeds: Mapping[str, str] = field(default_factory=dict)
    """Seed that the product is made of -> a digest of its content."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Relation as rendered -> its name in production; for schemas of environments."""
    soda: Mapping[str, Any] = field(default_factory=dict)
    """The product's Soda contract; see audit/contract.py."""
    implied: frozenset[str] = frozenset()
    """Qualifiers of checks that a promise implies: a changed promise is one change, not two."""
    tests: Iterable[Mapping[str, Any]] = ()
    unit_tests: Sequence[str] = ()
    column_meta: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Column -> its `config.meta`."""
    unique: frozenset[str] = frozenset()
    """Columns with a constraint `unique` or `primary_key`."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """dbt's configuration of the model."""
    storage: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    """A digest of what decides the rows beside the rendered SQL; see `Manifest.code_of_rows`."""
    hooks: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """See `Manifest.hooks_of`."""
    executed: Sequence[Model] = ()
    """What a run of the product builds beside `models`: what only tests read, and snapshots."""
    around: Sequence[Model] = ()
    """Other models of the domain whose SQL the lineage of checks needs."""
    test_queries: Sequence[Query] = ()
    """What dbt's tests run, in the dialect of the models."""


def describe(product: Product, sources: Sources) -> Contract:
    """The contract of a product.

    Args:
        product: as `Manifest.described` returns it, with owner and rendered descriptions.
        sources: everything else that a contract is made from.
    """
    models = {
        each.name: {
            "sql": canonical(each.sql, sources.dialect, sources.names),
            "materialized": each.materialized,
        }
        for each in sources.models
    }
    later = {
        each.name: canonical(each.later_sql, sources.dialect, sources.names)
        for each in sources.models
        if each.later_sql is not None
    }
    execution = _execution(product, sources)
    checks = [*_soda_checks(sources), *sources.tests, *_units(sources.unit_tests)]
    document: dict[str, Any] = {
        "format": FORMAT,
        "product": f"{product.domain}.{product.model}",
        "domain": product.domain,
        "model": product.model,
        "version": product.version,
        "versioned": product.versioned,
        "latest_version": product.latest_version,
        "relation": product.relation,
        "aliases": list(product.aliases),
        "renamed_from": product.renamed_from,
        "target": sources.target,
        "access": "public",
        "enforced": product.contract,
        "kind": "table",
        "description": product.description,
        "owner": {"group": product.group, **product.owner},
        "grain": {"columns": list(product.grain), "text": _grain_text(product.description)},
        "columns": _columns(product, sources, execution, checks),
        "checks": sorted(checks, key=lambda each: str(each["id"])),
        "promises": _promises(product),
        "score": _score(product),
        "models": models,
        "later_builds": later,
        "hooks": dict(sources.hooks),
        "code": sources.code or None,
        "seeds": dict(sources.seeds),
        "reads": reads_in(execution),
        "topics": _topics(sources),
        "shared": product.shared,
        "tags": sorted(map(str, sources.config.get("tags") or ())),
        "grants": dict(sources.config.get("grants") or {}),
        "deprecation_date": product.deprecation_date,
        "storage": dict(sources.storage),
    }
    return Contract({key: document[key] for key in KEYS if document[key] not in (None, {}, [])})


def _score(product: Product) -> dict[str, Any]:
    declared = {"threshold": product.threshold, "weights": dict(product.weights)}
    return {key: each for key, each in declared.items() if each}


def _columns(
    product: Product,
    sources: Sources,
    execution: Execution,
    checks: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    built = next((each.relation for each in sources.models if each.name == product.model), "")
    roots = roots_of(execution.models, built, execution.schemas) if built else {}
    found = []
    for column in product.columns:
        name = column.name.lower()
        values = accepted_by(each for each in checks if str(each.get("column")).lower() == name)
        traced = roots.get(name)
        entry = {
            "name": column.name,
            "type": _type(column),
            "required": column.required,
            "unique": name in sources.unique or tuple(map(str.lower, product.grain)) == (name,),
            "description": column.description,
            "classification": column.classification,
            **sources.column_meta.get(name, {}),
            "accepted_values": values,
            "roots": sorted(traced) if traced is not None else None,
            "lineage": "known" if traced is not None else "unknown",
        }
        found.append({key: each for key, each in entry.items() if each not in (None, "", False)})
    return found


def _promises(product: Product) -> dict[str, Any]:
    kept = KEEPS_ROWS_PERCENT
    return {kept.name: kept.of(product.promises), **product.promises}


def _type(column: Column) -> str:
    try:
        return str(parse_type(column.data_type))
    except ValueError:
        return column.data_type


def _grain_text(description: str) -> str:
    """The sentence of a description that says what a row is: `One row per order`."""
    sentences = (each.strip() for each in description.replace("\n", " ").split(". "))
    return next((each for each in sentences if each.lower().startswith("one row")), "")


def _execution(product: Product, sources: Sources) -> Execution:
    """Everything that a run of the product executes, in canonical form."""
    executed = [*sources.models, *sources.executed]

    def text(sql: str) -> str:
        return canonical(sql, sources.dialect, sources.names)

    models: dict[str, tuple[str, ...]] = {}
    queries = []
    for each in (*executed, *sources.around):
        builds = [text(sql) for sql in (each.sql, each.later_sql) if sql is not None]
        models[each.relation] = tuple(dict.fromkeys(builds))
        # Checks of Soda use the published names.
        models |= dict.fromkeys(each.published, (f"select * from {each.relation}",))
    for each in executed:
        query = Query(f"{sources.domain.name}.{each.name}", "", unpinned=each.unpinned)
        first, *later = models[each.relation]
        queries.append(replace(query, sql=first))
        queries += [replace(query, sql=sql, is_later=True) for sql in later]
    queries += [replace(each, sql=text(each.sql)) for each in sources.test_queries]
    queries += soda_queries(product, sources.soda, sources.dialect)
    return Execution(queries, models, _schemas(sources), sources.upstream)


def _schemas(sources: Sources) -> dict[str, list[str]]:
    """Relation -> columns of everything at which the lineage of a domain ends."""
    raw = {
        each.relation.lower(): [*(column.name for column in each.columns), *sorted(LANDING_COLUMNS)]
        for each in sources.domain.raw_tables
    }
    products = {
        name.lower(): [column.name for column in each.columns]
        for each in sources.upstream
        for name in each.relations
    }
    return {**raw, **products}


def _topics(sources: Sources) -> dict[str, Any]:
    """The topics whose raw tables the models read."""
    text = " ".join(each.sql for each in sources.models).lower().replace('"', "").replace("`", "")
    return {
        raw.topic: {
            "raw_table": raw.relation,
            "format": raw.format,
            "changelog": raw.changelog,
            "max_rejected_percent": raw.max_rejected_percent,
            "fields": {
                column.name: {
                    "type": _type(column),
                    "required": column.required,
                    **({"classification": column.classification} if column.classification else {}),
                }
                for column in raw.columns
            },
        }
        for raw in sources.domain.raw_tables
        # `raw.events` is also the start of `raw.events_v2`.
        if re.search(rf"(?<!\w){re.escape(raw.relation.lower())}(?!\w)", text)
    }


def _soda_checks(sources: Sources) -> Iterable[dict[str, Any]]:
    contract = sources.soda
    for column, checks in [
        (None, contract.get("checks", ())),
        *((each["name"], each.get("checks") or []) for each in contract.get("columns", ())),
    ]:
        for check in checks:
            for kind, body in check.items():
                if (body or {}).get("qualifier") not in sources.implied:
                    yield _soda_check(kind, column, body or {}, sources)


def _soda_check(
    kind: str, column: str | None, body: Mapping[str, Any], sources: Sources
) -> dict[str, Any]:
    threshold = dict(body.get("threshold") or {})
    severity = str(threshold.pop(_LEVEL, "fail"))
    identity = [column, kind, body.get("qualifier")]
    entry: dict[str, Any] = {
        "id": "__".join(str(each) for each in identity if each),
        "kind": kind,
        "column": column,
        "name": body.get("name"),
        "must": threshold,
        "severity": "warn" if severity == "warn" else "error",
        "stage": "gate",
        "enabled": body.get("enabled", True),
        "source": "soda",
        "values": body.get("valid_values"),
        "bounds": {new: body[old] for old, new in _BOUNDS.items() if old in body},
        "columns": body.get("columns"),
    }
    for key in ("filter", "query", "expression"):
        if body.get(key):
            entry[key] = canonical(str(body[key]), sources.dialect, {}, is_query=key == "query")
    known = {*entry, *_CHECK_TEXTS, *_BOUNDS, "threshold", "valid_values"}
    entry["other"] = {key: each for key, each in body.items() if key not in known}
    return {key: each for key, each in entry.items() if each not in (None, {}, [])}


def _units(names: Iterable[str]) -> Iterable[dict[str, Any]]:
    for name in names:
        yield {"id": f"unit__{name}", "kind": "unit_test", "name": name, "severity": "error",
               "stage": "gate", "enabled": True, "source": "unit"}  # fmt: skip
