"""Values of a database land as the declared type, or are rejected with a reason; none changes."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from meshhouse.events.batches import from_rows, with_offsets
from meshhouse.extraction.new_rows import OPENED
from meshhouse.extraction.table import wanted
from meshhouse.landing.decode import Decoder
from meshhouse.repository import Column
from meshhouse.repository.model import SourceTable
from tests.landing.test_decode import raw_table
from tests.support import tabled
from tests.support.tabled import VARIABLE, Database

# Without shrinking: each try creates tables, and a failure names its value.
SOME = settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
REJECTED = object()
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - of the column
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def postgres():
    with tabled.running("postgres") as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, found.url)
        yield found


@pytest.fixture(scope="module")
def mysql():
    with tabled.running("mysql") as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, found.url)
        found.do("create schema public")
        yield found


def landed(database: Database, stored: str, declared: str, values: Sequence[Any]) -> list[Any]:
    """What lands of values in a column of a type; `REJECTED` for a rejected one."""
    server = database.server
    if database.kind == "postgres":
        opened = server.open()
    else:
        import pymysql

        opened = pymysql.connect(
            host="127.0.0.1", port=server.port, user="mesh", password=server.password,
            charset="utf8mb4", init_command="set sql_mode='NO_ZERO_IN_DATE'",
        )  # fmt: skip
    with closing(opened) as connection, connection.cursor() as cursor:
        cursor.execute("drop table if exists public.t")
        cursor.execute(f"create table public.t (n int, a {stored})")
        cursor.executemany("insert into public.t values (%s, %s)", list(enumerate(values)))
        connection.commit()
    raw = raw_table(Column("n", "bigint"), Column("a", declared))
    source = SourceTable(database.kind, VARIABLE, "public.t", "n", 0)
    with OPENED[database.kind](source) as table:
        what = wanted(raw, source, None, table)
        with closing(table.rows(what, 0, len(values))) as rows:
            events = [row.event for row in rows]
    assert len(events) == len(values)
    batch = from_rows([(None, event, 0, None) for event in events])
    done = Decoder(raw).decode(
        0, pa.Table.from_batches([with_offsets(batch, 0)]), datetime(2026, 1, 1, tzinfo=UTC)
    )
    found: list[Any] = [REJECTED] * len(values)
    for row in done.rows.select(["n", "a"]).to_pylist():
        found[row["n"]] = row["a"]
    assert len(done.rows) + len(done.rejected) == len(values)
    assert all(done.rejected["reason"].to_pylist())
    return found


def same(value: Any, got: Any) -> bool:
    if isinstance(value, float) and value == 0:
        return got == 0
    return type(value) is type(got) and value == got


def check(
    database: Database, stored: str, declared: str, values: Sequence[Any],
    expected: Callable[[Any], Any] = lambda value: value,
) -> None:  # fmt: skip
    for value, got in zip(values, landed(database, stored, declared, values), strict=True):
        want = None if value is None else expected(value)
        assert got is want or same(want, got), (stored, declared, value, got, want)


def decimal_of(value: Decimal) -> Any:
    """What a decimal(20,4) can hold."""
    if not value.is_finite():
        return REJECTED
    with localcontext(prec=200):
        scaled = value.scaleb(4)
        fits = scaled == scaled.to_integral_value() and abs(scaled) < 10**20
        return value if fits else REJECTED


def instant_of(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC)


DECIMALS = st.decimals(-(10**18), 10**18, places=4) | st.decimals(-(10**12), 10**12, places=9)
WIDE = st.sampled_from(list(map(Decimal, ["NaN", "Infinity", "-Infinity", "1E+40", "1e-30"])))


@SOME
@given(
    st.lists(DECIMALS | WIDE | st.none(), min_size=1), st.lists(st.integers(-(2**63), 2**63 - 1)),
    st.lists(st.floats() | st.just(math.inf)), st.lists(st.floats(width=32)),
)  # fmt: skip
def test_numbers_of_postgres(postgres, decimals, integers, doubles, singles):
    def finite(value: float) -> Any:
        return value if math.isfinite(value) else REJECTED

    check(postgres, "numeric", "decimal(20,4)", decimals, decimal_of)
    check(postgres, "bigint", "bigint", integers)
    check(postgres, "numeric", "bigint", [Decimal(each) for each in integers], int)
    check(postgres, "double precision", "double", doubles, finite)
    # The shortest text of 32 bits, such as 0.1, stands for the same 32 bits.
    for single, got in zip(singles, landed(postgres, "real", "double", singles), strict=True):
        if math.isfinite(single):
            assert struct.pack("f", got) == struct.pack("f", single) or got == single == 0
        else:
            assert got is REJECTED


@SOME
@given(
    st.lists(TIMES), st.lists(st.dates()), st.lists(st.timedeltas(timedelta(-800), timedelta(800)))
)
def test_times_of_postgres(postgres, times, days, spans):
    check(postgres, "timestamp", "timestamp", times)
    check(postgres, "timestamptz", "timestamptz", [instant_of(each) for each in times])
    check(postgres, "date", "date", days)
    odd = ["infinity", "-infinity", "0044-03-15 BC", "10000-01-01"]
    for kind in "timestamp", "timestamptz", "date":
        assert landed(postgres, kind, kind, odd) == [REJECTED] * 4
    assert all(type(each) is str for each in landed(postgres, "interval", "string", spans))


@SOME
@given(st.lists(TEXTS), st.lists(st.binary(max_size=9)), st.lists(st.uuids()), st.lists(DOCUMENTS),
       st.lists(st.lists(st.integers(-5, 5) | st.none())), st.lists(st.booleans()))  # fmt: skip
def test_texts_and_documents_of_postgres(postgres, texts, blobs, uuids, documents, arrays, flags):
    check(postgres, "text", "string", texts)
    check(postgres, "bytea", "string", blobs, bytes.hex)
    check(postgres, "uuid", "string", list(map(str, uuids)))
    check(postgres, "boolean", "boolean", flags)
    # JSON in a column of text keeps its text: "a" with its quotes, and null stays a text.
    written = [json.dumps(each) for each in documents]
    check(postgres, "json", "string", written)
    objects = [json.dumps({"x": each}) for each in arrays]
    got = landed(postgres, "jsonb", "struct<x array<bigint>>", objects)
    assert got == [{"x": each} for each in arrays]
    assert landed(postgres, "bigint[]", "array<bigint>", arrays) == arrays


def test_a_wrong_declaration_of_a_type_rejects(postgres):
    assert landed(postgres, "text", "bigint", ["1", "x"]) == [1, REJECTED]
    assert landed(postgres, "numeric", "integer", ["1.5", "2.0"]) == [REJECTED, 2]
    assert landed(postgres, "money", "decimal(12,2)", ["1"]) == [REJECTED]
    assert landed(postgres, "json", "struct<a bigint>", ['{"a": 1, "a": 2}', "[1]"]) == [
        REJECTED, REJECTED
    ]  # fmt: skip


MARIA_DECIMALS = st.decimals(-(10**18), 10**18, places=4) | st.decimals(-(10**9), 10**9, places=9)


@SOME
@given(
    st.lists(MARIA_DECIMALS | st.none(), min_size=1), st.lists(st.integers(0, 2**64 - 1)),
    st.lists(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)),
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)),
    st.lists(st.integers(-128, 127)),
)  # fmt: skip
def test_numbers_of_mysql(mysql, decimals, integers, doubles, singles, flags):
    check(mysql, "decimal(38,9)", "decimal(20,4)", decimals, decimal_of)
    check(mysql, "bigint unsigned", "decimal(20,0)", integers, Decimal)
    check(mysql, "bigint unsigned", "bigint", integers, lambda n: n if n < 2**63 else REJECTED)
    check(mysql, "bigint unsigned zerofill", "decimal(20,0)", integers, Decimal)
    check(mysql, "double", "double", doubles)
    for single, got in zip(singles, landed(mysql, "float", "double", singles), strict=True):
        assert struct.pack("f", got) == struct.pack("f", single) or got == single == 0
    check(mysql, "boolean", "boolean", flags, lambda n: bool(n) if n in (0, 1) else REJECTED)


@SOME
@given(
    st.lists(TIMES),
    st.lists(st.datetimes(datetime(1970, 1, 2), datetime(2038, 1, 1))),  # noqa: DTZ001
    st.lists(st.dates()),
    st.lists(TEXTS),
    st.lists(st.binary(max_size=9)),
    st.lists(DOCUMENTS),
)
def test_times_and_texts_of_mysql(mysql, times, instants, days, texts, blobs, documents):
    check(mysql, "datetime(6)", "timestamp", times)
    mysql.do("set global time_zone = '+00:00'")
    check(mysql, "timestamp(6) null", "timestamptz", instants, instant_of)
    check(mysql, "date", "date", days)
    for kind, zero in (("date", "0000-00-00"), ("datetime", "0000-00-00 00:00:00")):
        declared = "date" if kind == "date" else "timestamp"
        assert landed(mysql, kind, declared, [zero]) == [REJECTED]
    check(mysql, "longtext character set utf8mb4", "string", texts)
    check(mysql, "varbinary(20)", "string", blobs, bytes.hex)
    check(mysql, "json", "string", [json.dumps(each) for each in documents])
    got = landed(mysql, "json", "struct<x array<bigint>>", ['{"x": [1, null]}', "[1]", '"a"'])
    assert got == [{"x": [1, None]}, REJECTED, REJECTED]
    assert landed(mysql, "bit(10)", "bigint", [5]) == [5]
    assert landed(mysql, "time(2)", "string", ["-838:59:58.50"]) == ["-838:59:58.50"]
