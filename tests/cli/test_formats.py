"""Every value of every SQL type is written exactly as DuckDB has it."""

from __future__ import annotations

import base64
import contextlib
import csv
import io
import json
from datetime import date

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshhouse.cli import boxes
from meshhouse.cli.formats import write


def _scaled(number: int, scale: int) -> str:
    whole, part = divmod(abs(number), 10**scale)
    return f"{'-' if number < 0 else ''}{whole}.{part:0{scale}d}"


QUICK = settings(max_examples=15, deadline=None, derandomize=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
CLOCK = st.times().map(lambda each: f"{each:%H:%M:%S}")
MICROS = st.builds("{}.{:06d}".format, CLOCK, st.integers(0, 999_999))
NANOS = st.builds("{}.{:09d}".format, CLOCK, st.integers(0, 999_999_999))
NEAR = st.dates(date(1700, 1, 1), date(2200, 1, 1)).map(str)
FAR = st.sampled_from(["infinity", "-infinity"])
MOMENTS = st.builds("{} {}".format, st.dates().map(str), MICROS) | FAR
VALUES: dict[str, st.SearchStrategy[str]] = {
    "tinyint": st.integers(-(2**7), 2**7 - 1).map(str),
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "ubigint": st.integers(0, 2**64 - 1).map(str),
    "hugeint": st.integers(1 - 10**38, 10**38 - 1).map(str),
    "uhugeint": st.integers(0, 10**38 - 1).map(str),
    "decimal(38,10)": st.integers(1 - 10**38, 10**38 - 1).map(lambda n: _scaled(n, 10)),
    "decimal(4,4)": st.integers(-9999, 9999).map(lambda n: _scaled(n, 4)),
    "boolean": st.sampled_from(["true", "false"]),
    "double": st.floats(width=64).map(repr),
    "float": st.floats(width=32).map(repr),
    "varchar": TEXT,
    "json": st.sampled_from(['{"a": 1.10}', "1234567890123456.78", "NaN", '"x"', "[1,  2]"]),
    "date": st.dates().map(str) | FAR | st.just("0044-03-15 (BC)"),
    "time": MICROS,
    "time_ns": NANOS,
    "timetz": st.builds("{}{}".format, MICROS, st.sampled_from(["+00", "-05", "+05:30"])),
    "timestamp": MOMENTS | st.just("0044-03-15 (BC) 10:00:00"),
    "timestamp_s": st.builds("{} {}".format, NEAR, CLOCK),
    "timestamp_ms": st.builds("{} {}.123".format, NEAR, CLOCK),
    "timestamp_ns": st.builds("{} {}".format, NEAR, NANOS),
    "timestamptz": MOMENTS | st.just("0044-03-15 (BC) 10:00:00+00"),
    "interval": st.builds(
        "{} months {} days {} microseconds".format,
        *(st.integers(-1000, 1000),) * 2,
        st.integers(-(10**12), 10**12),
    ),
    "uuid": st.uuids().map(str),
    "bit": st.text("01", min_size=1, max_size=20),
    "blob": st.binary(max_size=12).map(lambda each: "".join(f"\\x{b:02X}" for b in each)),
    "enum('a', 'b,\"c')": st.sampled_from(["a", 'b,"c']),
}
SHAPES = {
    "alone": "{}",
    "list": "[{}, null]",
    "array": "array_value({0}, {0})",
    "struct": "{{'a\"b': {}, 'n': null::{kind}}}",
    "map": "map{{'k''k': {}}}",
    "deep": "[{{'a': [[{}]]}}]",
}


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set arrow_lossless_conversion = true")
        yield connection


def written(relation, form: str) -> bytes:
    target = io.BytesIO()
    write(relation, form, target)
    return target.getvalue()


def relation_of(connection, kind: str, text: str, shape: str = "alone"):
    value = SHAPES[shape].format(f"cast($1 as {kind})", kind=kind)
    return connection.sql(f"select {value} as x, cast(null as {kind}) as nothing", params=[text])


def same(connection, kind: str, text: str, back: str | None) -> bool:
    """Whether the value in a file is DuckDB's value."""
    if kind == "blob" and back is not None:
        return (
            base64.b64decode(back, validate=True)
            == connection.execute("select cast($1 as blob)", [text]).fetchone()[0]
        )
    if kind == "json":
        return back == text
    sql = f"select cast($1 as {kind}) is not distinct from cast($2 as {kind})"
    return connection.execute(sql, [text, back]).fetchone()[0]


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
@QUICK
def test_a_value_comes_back_from_csv(connection, kind, data):
    text = data.draw(VALUES[kind])
    lines = written(relation_of(connection, kind, text), "csv").decode()
    header, [back, nothing] = csv.reader(io.StringIO(lines, newline=""))
    assert header == ["x", "nothing"]
    assert nothing == ""
    assert same(connection, kind, text, back), lines


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
@QUICK
def test_a_value_comes_back_from_json(connection, kind, data):
    text = data.draw(VALUES[kind])
    shape = data.draw(st.sampled_from([*SHAPES]))
    lines = written(relation_of(connection, kind, text, shape), "json")
    # As text, because numbers must not become doubles in this test either.
    [row] = json.loads(lines, parse_float=str, parse_int=str, parse_constant=pytest.fail)
    assert row["nothing"] is None
    value = {
        "alone": lambda x: x,
        "list": lambda x: x[0],
        "array": lambda x: x[1],
        "struct": lambda x: x['a"b'],
        "map": lambda x: x["k'k"],
        "deep": lambda x: x[0]["a"][0][0],
    }[shape](row["x"])
    back = str(value).lower() if isinstance(value, bool) else value
    assert same(connection, kind, text, back), lines


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
@QUICK
def test_a_value_comes_back_from_parquet(connection, tmp_path_factory, kind, data):
    text = data.draw(VALUES[kind])
    shape = data.draw(st.sampled_from([*SHAPES]))
    relation = relation_of(connection, kind, text, shape)
    file = tmp_path_factory.getbasetemp() / "value.parquet"
    file.write_bytes(written(relation, "parquet"))
    wanted, _ = relation.fetchall()[0]
    sql = f"select cast(x as {relation.types[0]}), nothing from read_parquet($1)"
    back, nothing = connection.execute(sql, [str(file)]).fetchall()[0]
    assert (repr(back), nothing) == (repr(wanted), None)


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
@QUICK
def test_a_table_shows_the_value(connection, kind, data):
    text = data.draw(VALUES[kind])
    relation = relation_of(connection, kind, text)
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(shown):
        patch.delenv("COLUMNS", raising=False)
        reader = relation.to_arrow_reader(10)
        boxes.show(connection, reader.schema, reader)
    sql = f"select cast(cast($1 as {kind}) as varchar)"
    (wanted,) = connection.execute(sql, [text]).fetchone()
    if wanted.isprintable():
        assert wanted in shown.getvalue()
    assert all(each.isprintable() for each in shown.getvalue().replace("\n", ""))


def test_columns_of_equal_name_are_all_kept_and_the_new_name_is_returned(connection):
    relation = connection.sql("select 1 as a, 2 as a, 3 as b")
    target = io.BytesIO()
    assert write(relation, "json", target) == ["Two columns are called a: one is written as a_1."]
    assert json.loads(target.getvalue()) == [{"a": 1, "a_1": 2, "b": 3}]


def test_no_reader_skips_a_null_that_is_alone_in_its_line_of_csv(connection, tmp_path):
    relation = connection.sql("from (values ('x'), (null), ('y')) t(a)")
    lines = written(relation, "csv")
    assert lines == b'"a"\n"x"\n""\n"y"\n'
    file = tmp_path / "nulls.csv"
    file.write_bytes(lines)
    assert duckdb.sql(f"from '{file}'").fetchall() == [("x",), (None,), ("y",)]
    pandas = pytest.importorskip("pandas")
    assert pandas.read_csv(file)["a"].isna().tolist() == [False, True, False]
    assert list(csv.reader(io.StringIO(lines.decode()))) == [["a"], ["x"], [""], ["y"]]


@pytest.mark.parametrize(
    ("values", "is_said"),
    [
        ("('x'), (null), ('')", True),
        ("('x'), (null)", False),
        ("('x'), ('')", False),
        ("('a', null), ('', '')", False),
        ("(1), (null)", False),
    ],
)
def test_nulls_that_csv_does_not_distinguish_from_empty_texts_are_said(connection, values, is_said):
    notes = write(connection.sql(f"from (values {values}) t"), "csv", io.BytesIO())
    assert bool(notes) == is_said
    assert all("alike" in each and "--format json" in each for each in notes)


def test_a_csv_of_several_columns_keeps_nulls_and_empty_texts_apart(connection, tmp_path):
    rows = [("a", None), ("", ""), (None, "b")]
    file = tmp_path / "rows.csv"
    values = "from (values ('a', null), ('', ''), (null, 'b')) t(x, y)"
    file.write_bytes(written(connection.sql(values), "csv"))
    found = duckdb.sql(f"from read_csv('{file}', header = true, allow_quoted_nulls = false)")
    assert found.fetchall() == rows


@pytest.mark.parametrize("kind", ["timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"])
def test_every_timestamp_in_json_is_iso_8601(connection, kind):
    values = f"cast('2017-01-02 03:04:05' as {kind}) as x, cast('infinity' as {kind}) as far"
    [row] = json.loads(written(connection.sql(f"select {values}, [x] as l"), "json"))
    assert row == {"x": "2017-01-02T03:04:05", "far": "infinity", "l": ["2017-01-02T03:04:05"]}


def test_names_and_text_are_quoted_and_numbers_and_times_are_not():
    query = """select 7 as n, '007' as "t,x", '' as e, null::varchar as nothing, 0.5::double as f,
        date '2017-01-01' as d, timestamp '2017-01-01 10:00:00' as ts, [1] as l, true as b"""
    with duckdb.connect() as connection:
        lines = written(connection.sql(query), "csv").decode().splitlines()
    assert lines == [
        '"n","t,x","e","nothing","f","d","ts","l","b"',
        '7,"007","",,0.5,2017-01-01,2017-01-01 10:00:00,"[1]",true',
    ]


def test_an_integer_that_no_parquet_type_holds_is_refused(connection):
    relation = connection.sql("select 170141183460469231731687303715884105727::hugeint as x")
    with pytest.raises(duckdb.ConversionException):
        written(relation, "parquet")


def test_unions_and_rows_without_names(connection):
    relation = connection.sql("select union_value(n := 'nan'::double) as u, row(1, null) as r")
    assert json.loads(written(relation, "json")) == [{"u": {"n": "NaN"}, "r": [1, None]}]


def test_nothing_is_an_empty_array_and_a_header(connection):
    relation = connection.sql("select 1 as a, 2 as b where false")
    assert written(relation, "json") == b"[]\n"
    assert written(relation, "csv") == b'"a","b"\n'
