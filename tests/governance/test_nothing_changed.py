"""What means the same is never a change, whatever the contract and however it is written.

Belongs here: properties of the judgement over generated contracts. Not here: changes that must be
found (test_changes.py).
"""

from __future__ import annotations

import random
from datetime import date
from typing import Any

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshhouse.governance.comparison import Comparison, Past
from meshhouse.governance.contract import Contract
from meshhouse.governance.judgement import judge
from meshhouse.governance.lineage import bare_names_of, reads_of
from meshhouse.governance.readers import Readers
from meshhouse.governance.statistics import statistics_of
from meshhouse.governance.type_changes import type_changes
from meshhouse.governance.types import type_of
from tests.support.changes import BASE, edited

NAMES = ("order_id", "customer_id", "amount", "status", "ordered_at", "_offset", "valid_from", "é")
FIELDS = st.lists(st.sampled_from(["city", "zip", "lines"]), min_size=1, unique=True)
ONE_TYPE = st.sampled_from([
    # Two spellings of each.
    ("bigint", "INT8"),
    ("integer", "int4"),
    ("decimal(12,2)", "numeric( 12 , 2 )"),
    ("string", "varchar"),
    ("varchar(10)", "CHARACTER VARYING(10)"),
    ("timestamptz", "timestamp(6) with time zone"),
    ("timestamp", "timestamp_us"),
    ("double", "double precision"),
    ("boolean", "bool"),
    ("date", "DATE"),
    ("binary", "blob"),
    ("geometry(point, 4326)", "GEOMETRY(Point,4326)"),
])  # fmt: skip


def nested(inner: st.SearchStrategy) -> st.SearchStrategy:
    """Arrays, maps and structs of types, each in two spellings."""

    def struct(fields: list[str], types: list[tuple[str, str]], null: str) -> tuple[str, str]:
        pairs = list(zip(fields, types, strict=False))
        one = ", ".join(f"{name} {kind}{null}" for name, (kind, _) in pairs)
        other = ",".join(f"{name.upper()}: {kind}{null}" for name, (_, kind) in pairs)
        return f"struct<{one}>", f"ROW({other})"

    return st.one_of(
        inner.map(lambda pair: (f"array<{pair[0]}>", f"{pair[1]}[]")),
        inner.map(lambda pair: (f"map<string, {pair[0]}>", f"MAP(VARCHAR,{pair[1]})")),
        st.builds(
            struct,
            FIELDS,
            st.lists(inner, min_size=3, max_size=3),
            st.sampled_from(["", " not null"]),
        ),
    )


TYPES = st.recursive(ONE_TYPE, nested, max_leaves=6)
FLAG = st.booleans()


@st.composite
def columns(draw: st.DrawFn) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Columns, each with its type in two spellings."""
    found = []
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)):
        one, other = draw(TYPES)
        column: dict[str, Any] = {
            "name": name,
            "required": draw(FLAG),
            "unique": draw(FLAG),
            "description": draw(st.sampled_from(["", "Net value in USD.", "Not for 30 days."])),
            "classification": draw(st.sampled_from(["", "public", "personal"])),
            "unit": draw(st.sampled_from(["", "USD"])),
            "deprecated": draw(st.sampled_from(["", "use `other`"])),
            "renamed_from": draw(st.sampled_from(["", "former", *NAMES])),
            "mask": draw(st.sampled_from([{}, {"method": "hash", "key_version": 2}])),
        }
        kept = {key: value for key, value in column.items() if value not in ("", {})}
        found.append(({**kept, "type": one}, {**kept, "type": other}))
    return found


@st.composite
def contracts(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document of a contract twice: with types in two spellings."""
    pairs = draw(columns())
    names = [column["name"] for column, _ in pairs]
    grain = draw(st.lists(st.sampled_from(names), unique=True))
    checks = [
        {
            "id": f"check_{at}",
            "kind": draw(st.sampled_from(
                ["missing", "unique", "invalid", "row_count", "relationships", "failed_rows"]
            )),
            "column": draw(st.sampled_from(names)),
            "must": draw(st.sampled_from([{}, {"must_be": 0}, {"must_be_less_than": 5}])),
            "severity": draw(st.sampled_from(["error", "warn"])),
            "enabled": draw(FLAG),
            "values": draw(st.sampled_from([None, ["a", "b"]])),
        }
        for at in range(draw(st.integers(0, 4)))
    ]  # fmt: skip
    sql = draw(st.sampled_from([
        BASE["models"]["orders"]["sql"],
        "select * from sales_raw.transactions limit 5",
        "select distinct on (id) id as order_id, coalesce(net, 0) as amount from sales_raw.t",
        "not sql at all (",
        "",
    ]))  # fmt: skip
    edits = {
        "grain": {"columns": grain, "text": draw(st.sampled_from(["", "One row per order."]))},
        "checks": checks,
        "access": draw(st.sampled_from(["public", "protected"])),
        "version": draw(st.integers(1, 3)),
        "deprecation_date": draw(st.sampled_from([None, "2026-12-01", "2020-01-01"])),
        "owner": draw(st.sampled_from([{}, BASE["owner"]])),
        "models.orders.sql": sql,
        "promises": draw(st.sampled_from([{}, BASE["promises"], {"retention_days": 30}])),
    }
    one, other = (
        edited(BASE, {**edits, "columns": [pair[side] for pair in pairs]}) for side in (0, 1)
    )
    return one, other


def shuffled(value: Any, order: random.Random) -> Any:
    """The same value with the keys of all mappings in another order."""
    if isinstance(value, list):
        return [shuffled(each, order) for each in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    order.shuffle(keys)
    return {key: shuffled(value[key], order) for key in keys}


def readers(names: list[str]) -> Readers:
    """Readers of every kind: named columns, a star, a star by place, and unknown lineage."""
    schemas = {"sales.orders": names, "sales.orders_v1": names}
    queries = {
        "crm.named": f'select "{names[0]}" from sales.orders',
        "crm.star": "select * from sales.orders",
        "crm.by_place": "select * from sales.orders union all select * from crm_raw.orders",
        "crm.joined": "select region from sales.orders as o join crm_raw.regions as r on true",
        "crm.unknown": "select from sales.orders (",
    }
    return Readers(
        tuple(
            read
            for reader, sql in queries.items()
            for find in (reads_of, bare_names_of)
            for read in find(reader, sql, schemas)
        )
    )


def judged(before: dict[str, Any], after: dict[str, Any], statistics: Any = None) -> Any:
    return judge(
        Comparison(
            before=Contract(before),
            after=Contract(after),
            readers=readers([column["name"] for column in before["columns"]]),
            before_statistics=statistics,
            after_statistics=statistics,
            past=Past(names=frozenset({*NAMES, "former"})),
            today=date(2026, 11, 30),
        )
    )


@pytest.fixture(scope="module")
def statistics() -> Any:
    """Statistics of columns of every kind: constants, nulls, sentinels, codes, identifiers."""
    rows = """
        select i as order_id, md5(cast(i as varchar)) as customer_id,
        if(i % 3 = 0, null, cast(i - 5 as decimal(12,2))) as amount,
        if(i % 2 = 0, 'N/A', 'P') as status,
        timestamptz '2026-01-01 00:00:00+00' + to_hours(i) as ordered_at,
        7 as _offset, null as valid_from, 'é' as "é"
        from range(300) as t(i)
    """
    with duckdb.connect() as connection:
        return statistics_of(connection, f"({rows})", Contract(dict(BASE)))


@given(contracts())
def test_no_contract_differs_from_itself(statistics, pair):
    document, _ = pair
    assert judged(document, document) == ()
    assert judged(document, document, statistics) == ()


@given(contracts(), st.randoms(use_true_random=False))
def test_order_of_keys_and_spelling_of_types_are_not_changes(pair, order):
    one, other = pair
    assert judged(one, shuffled(other, order)) == ()
    assert judged(shuffled(other, order), one) == ()


@given(TYPES, TYPES)
def test_types_differ_if_and_only_if_they_mean_something_else(one, other):
    kinds = [type_of(text) for text in (one[0], other[0])]
    assert bool(type_changes(*kinds)) == (kinds[0] != kinds[1])
    assert type_of(one[0]) == type_of(one[1])
    assert type_of(str(kinds[0])) == kinds[0]


@given(st.text(alphabet=st.sampled_from("abc<>()[],:'\"` 12\n$"), max_size=30))
@example("array<" * 5000)
@example("struct<a decimal(, b int>")
@example("varchar(99999999999999999999)")
def test_a_text_that_is_not_a_type_is_compared_as_text(text):
    assert type_changes(type_of(text), type_of(text)) == ()
    if text.strip():
        assert type_changes(type_of(text), type_of(f"{text} extra"))
