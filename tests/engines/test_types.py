"""Every target publishes the types of the contract: each listed type, on each target."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import date, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest

from meshhouse.engines import engine
from meshhouse.engines.snowflake.session import connect
from meshhouse.landing import land_table
from meshhouse.repository import BrokenDomain
from meshhouse.runs.outcome import DomainRun
from meshhouse.runs.run import run_domain
from tests.conftest import Mesh
from tests.support.snowflake_here import needs_snowflake
from tests.support.spark_here import needs_spark, with_compiler

MOMENT = "cast('2024-03-10 02:30:00.123456+00:00' as {{ type_timestamptz() }})"
RIGHT = {
    # declared type: SQL that makes it, DuckDB's and Snowflake's names of the published type
    "bigint": ("cast(9223372036854775807 as bigint)", "BIGINT", "NUMBER(38,0)"),
    "integer": ("cast(-2147483648 as integer)", "INTEGER", "NUMBER(38,0)"),
    "int": ("cast(1 as integer)", "INTEGER", "NUMBER(38,0)"),
    "decimal(12,2)": ("cast('1234567890.12' as decimal(12, 2))", "DECIMAL(12,2)", "NUMBER(12,2)"),
    "decimal(38,10)": ("cast(1 as decimal(38, 10))", "DECIMAL(38,10)", "NUMBER(38,10)"),
    "Numeric(5, 0)": ("cast(7 as decimal(5, 0))", "DECIMAL(5,0)", "NUMBER(5,0)"),
    "string": ("cast('a ' as {{ dbt.type_string() }})", "VARCHAR", "TEXT"),
    "text": ("'word'", "VARCHAR", "TEXT"),
    "varchar": ("trim(' b ')", "VARCHAR", "TEXT"),
    "boolean": ("1 = 1", "BOOLEAN", "BOOLEAN"),
    "date": ("cast('2024-03-10' as date)", "DATE", "DATE"),
    "timestamp": (
        "cast('2024-03-10 02:30:00.123456' as timestamp)", "TIMESTAMP", "TIMESTAMP_NTZ"
    ),
    "timestamptz": (MOMENT, "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_TZ"),
    "timestamp with time zone": (MOMENT, "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_TZ"),
    "double": ("cast(0.1 as double)", "DOUBLE", "FLOAT"),
}  # fmt: skip
WRONG = (
    # declared, SQL of another type
    ("decimal(12,2)", "cast('3.999999' as decimal(18, 6))"),
    ("decimal(12,2)", "cast('3.999' as decimal(12, 3))"),
    ("decimal(12,2)", "cast('3.9' as decimal(10, 2))"),
    ("decimal(12,2)", "cast(3 as integer)"),
    ("decimal(12,2)", "cast('3.9' as double)"),
    ("decimal(5,0)", "cast(3 as bigint)"),
    ("integer", "cast('3.9' as decimal(3, 1))"),
    ("integer", "cast('3.9' as double)"),
    ("bigint", "cast('3.9' as decimal(38, 1))"),
    ("bigint", "'3'"),
    ("double", "cast('3.9' as decimal(3, 1))"),
    ("double", "cast(3 as integer)"),
    ("string", "cast(3 as integer)"),
    ("string", "cast('2024-03-10' as date)"),
    ("boolean", "cast(1 as integer)"),
    ("boolean", "'true'"),
    ("date", "cast('2024-03-10 02:30:00' as timestamp)"),
    ("date", "'2024-03-10'"),
    ("timestamp", MOMENT),
    ("timestamp", "cast('2024-03-10' as date)"),
    ("timestamptz", "cast('2024-03-10 02:30:00' as timestamp)"),
    ("timestamptz", "'2024-03-10 02:30:00+00:00'"),
)
TIME = "cast('2024-01-31 10:00:00.5' as timestamp)"
COMPUTED = {
    # SQL with macros: declared type, value on every target
    "{{ seconds_between(time, dbt.dateadd('minute', 2, time)) }}": ("bigint", 120),
    "{{ seconds_between(moment, dbt.dateadd('hour', 1, moment)) }}": ("bigint", 3600),
    "{{ dbt.dateadd('month', 1, time) }}": (
        "timestamp", datetime.fromisoformat("2024-02-29 10:00:00.5")
    ),
    "{{ dbt.dateadd('day', 1, 'cast(\\'2024-02-28\\' as date)') }}": ("date", date(2024, 2, 29)),
    "{{ day_of_week('cast(\\'2024-07-07\\' as date)') }}": ("integer", 7),
    "{{ day_of_week('cast(\\'2024-07-08\\' as date)') }}": ("integer", 1),
    "{{ larger_of('cast(1 as integer)', 'cast(null as integer)') }}": ("integer", 1),
    "{{ larger_of('cast(null as integer)', '2') }}": ("integer", 2),
    "{{ smaller_of('1', 'cast(2 as integer)') }}": ("integer", 1),
    "{{ date_in_zone(moment, 'America/New_York') }}": ("date", date(2024, 3, 9)),
}  # fmt: skip
CUSTOMER = (
    "struct<id bigint, `order` struct<at timestamp, total decimal(12,2)>, tags array<varchar>, "
    "`home address` struct<`zip code` string>>"
)
LINES = "array<struct<tag string, at bigint>>"
PAYLOAD = """'{"a": {"b": [1.5, "x"], "c d": "é", "it\\u0027s": "y"}, "n": null, "t": true}'"""
NESTED = {
    # SQL with macros over the columns of `nested_rows`: declared type, value on every target
    "{{ json_text('payload', 'a.b[0]') }}": ("string", "1.5"),
    "{{ json_text('payload', 'a.b[1]') }}": ("string", "x"),
    "{{ json_text('payload', 'a.c d') }}": ("string", "é"),
    "{{ json_text('payload', \"a.it's\") }}": ("string", "y"),
    "{{ json_text('payload', 'n') }}": ("string", None),
    "{{ json_text('payload', 'a.z') }}": ("string", None),
    "{{ json_text('payload', 't') }}": ("string", "true"),
    "{{ json_text(\"'{'\", 'a') }}": ("string", None),
    "{{ nested_field('customer', 'order.total', 'decimal(12,2)') }}": (
        "decimal(12,2)", Decimal("9.50")
    ),
    "{{ nested_field('customer', 'id', 'bigint') }}": ("bigint", 2**63 - 1),
    "{{ nested_field('customer', 'home address.zip code', 'string') }}": ("string", "80331"),
    "{{ nested_field('customer', 'order.at', 'timestamp') }}": (
        "timestamp", datetime.fromisoformat("2024-03-10 02:30:00.123456")
    ),
}  # fmt: skip
NESTED_ROWS = """
with made as (
    select
        cast(1 as integer) as k,
        cast(__PAYLOAD__ as {{ dbt.type_string() }}) as payload,
        {{ struct_of({
            'tags': "array_construct('a', 'b')" if target.type == 'snowflake' else "array('a', 'b')"
                if target.type == 'spark' else "['a', 'b']",
            'order': struct_of({
                'total': 'cast(9.50 as decimal(12, 2))',
                'at': "cast('2024-03-10 02:30:00.123456' as timestamp)",
            }, 'struct<at timestamp, total decimal(12,2)>'),
            'id': 'cast(9223372036854775807 as bigint)',
            'home address': struct_of({'zip code': "'80331'"}, 'struct<`zip code` string>'),
        }, '__CUSTOMER__') }} as customer
)
select __COLUMNS__
from made
"""
NARROW = (("integer", "cast(3000000000 as bigint)"), ("integer", "cast(-2147483649 as bigint)"))
"""DuckDB and Spark refuse the type. Snowflake has one type for integers and refuses the value."""


@pytest.fixture(
    params=[
        "local",
        pytest.param("spark", marks=[needs_spark, pytest.mark.server]),
        pytest.param("snowflake", marks=[needs_snowflake, pytest.mark.server]),
    ]
)
def target(request, mesh) -> Iterator[SimpleNamespace]:
    """A mesh of one domain without topics, on each target."""
    compiler = nullcontext()
    if request.param == "spark":
        compiler = with_compiler(request.getfixturevalue("spark"))
    if request.param == "snowflake":
        request.getfixturevalue("chosen")
    with compiler, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_TARGET", request.param)
        leave_nothing(mesh)
        yield SimpleNamespace(name=request.param, mesh=mesh)


def leave_nothing(mesh: Mesh) -> None:
    """Reduces a mesh to one domain without declarations."""
    for folder in ("domains/crm", "domains/shop/models", "models/overview", "models/staging"):
        shutil.rmtree(mesh.root / folder)
    mesh.write("dependencies.yml", "projects: []\n")
    owner = "groups:\n  - {name: shop, owner: {name: A, email: a@example.com}}\n"
    mesh.write("domains/shop/models/domain.yml", f"version: 2\n{owner}")


def write_product(mesh: Mesh, name: str, columns: dict[str, tuple[str, str]], config="") -> None:
    """Writes a product of one row; `columns` is column -> declared type, SQL."""
    listed = "".join(
        f"      - {{name: {column}, data_type: \"{declared}\", description: x}}\n"
        for column, (declared, _) in columns.items()
    )  # fmt: skip
    text = (
        f"version: 2\nmodels:\n  - name: {name}\n    description: One row per k.\n"
        "    config: {access: public, group: shop, contract: {enforced: true}, "
        "meta: {grain: [k]}}\n    columns:\n"
        f"      - {{name: k, data_type: integer, description: x}}\n{listed}"
    )
    folder = "domains/shop/models/products"
    mesh.write(f"{folder}/{name}.yml", text)
    checks = "columns:\n  - {name: k, checks: [{missing: null}, {duplicate: null}]}\n"
    mesh.write(f"{folder}/{name}.checks.yml", checks)
    made = "".join(f",\n    {sql} as {column}" for column, (_, sql) in columns.items())
    mesh.write(f"{folder}/{name}.sql", f"{config}select\n    cast(1 as integer) as k{made}\n")


def build(mesh: Mesh, **options) -> DomainRun:
    repository = mesh.repository
    # Tests edit models as they please; tests/runs/test_gate.py is about what is refused.
    options.setdefault("confirmed", "a test")
    return run_domain(repository, engine(repository), repository.domain("shop"), **options)


def test_each_type_is_published_as_declared_and_no_other_is(target):
    mesh = target.mesh
    columns = {f"c{n}": (declared, RIGHT[declared][0]) for n, declared in enumerate(RIGHT)}
    write_product(mesh, "every_type", columns)
    later = "{% if is_incremental() %}18, 6{% else %}12, 2{% endif %}"
    sql = f"cast('3.999999' as decimal({later}))"
    growing = "{{ config(materialized='incremental', on_schema_change='fail') }}\n"
    write_product(mesh, "growing", {"c": ("decimal(12,2)", sql)}, growing)
    names = (
        f'{{% set time = "{TIME}" %}}{{% set moment = '
        "\"cast('2024-03-10 02:30:00+00:00' as \" ~ type_timestamptz() ~ ')' %}\n"
    )
    computed = {
        f"c{n}": (declared, f"cast({sql} as {declared})")
        for n, (sql, (declared, _)) in enumerate(COMPUTED.items())
    }
    write_product(mesh, "computed", computed, names)
    done = build(mesh)
    assert (done.outcome, done.message) == ("published", "")
    read = connect().rows if target.name == "snowflake" else mesh.rows
    [made] = read("select * exclude (k) from shop.computed")
    assert list(made) == [each for _, each in COMPUTED.values()]
    words = [each[2 if target.name == "snowflake" else 1] for each in RIGHT.values()]
    assert published(target) == words
    done = build(mesh, force=True)
    assert done.outcome == "failed"
    assert re.search(r"(?i)model growing: .*decimal\(18,6\)|number\(18,6\)", done.message)
    wrong = [*WRONG, *(() if target.name == "snowflake" else NARROW)]
    for number, (declared, sql) in enumerate(wrong):
        write_product(mesh, f"wrong_{number}", {"c": (declared, sql)})
    done = build(mesh)
    assert done.outcome == "failed"
    refused = set(re.findall(r"model (\w+):", done.message))
    assert [each for n, each in enumerate(wrong) if f"wrong_{n}" not in refused] == []


def test_nested_values_and_their_macros_are_the_same_on_every_target(target):
    mesh = target.mesh
    columns = {f"c{number}": (declared, "") for number, (declared, _) in enumerate(NESTED.values())}
    columns |= {"customer": (CUSTOMER, ""), "payload": ("string", "")}
    write_product(mesh, "nested_rows", columns)
    listed = ["k", *(f"{sql} as c{n}" for n, sql in enumerate(NESTED)), "customer", "payload"]
    sql = NESTED_ROWS.replace("__PAYLOAD__", PAYLOAD).replace("__CUSTOMER__", CUSTOMER)
    path = "domains/shop/models/products/nested_rows.sql"
    mesh.write(path, sql.replace("__COLUMNS__", ",\n    ".join(listed)))
    tags = {"tag": ("string", ""), "tag_number": ("bigint", "")}
    write_product(mesh, "tags", tags)
    mesh.write(
        "domains/shop/models/products/tags.sql",
        "{% set tags = array_rows('made', 'tags', 'tag', 'string') %}\nwith made as (\n"
        "    select k, {{ nested_field('customer', 'tags', 'array<string>') }} as tags\n"
        "    from {{ ref('nested_rows') }}\n)\n"
        "select k, tag, "
        "cast(tag_number as bigint) as tag_number\nfrom {{ tags }} as listed\n",
    )
    carts = {"lines": (LINES, ""), "nulls_last": ("array<string>", "")}
    write_product(mesh, "carts", carts)
    mesh.write(
        "domains/shop/models/products/carts.sql",
        "select k, {{ array_of(struct_of({'at': 'tag_number', 'tag': 'tag'}, "
        f"'{LINES[6:-1]}'), '-tag_number') }}}} as lines,\n"
        "{{ array_of('tag', 'nullif(tag_number, 1)') }} as nulls_last\n"
        "from {{ ref('tags') }}\ngroup by k\n",
    )
    tags_yml = "domains/shop/models/products/tags.yml"
    mesh.edit(tags_yml, "meta: {grain: [k]}", "meta: {grain: [k, tag]}")
    mesh.write("domains/shop/models/products/tags.checks.yml", "columns: []\n")
    done = build(mesh)
    assert (done.outcome, done.message) == ("published", "")
    read = connect().rows if target.name == "snowflake" else mesh.rows
    names = ", ".join(f"c{number}" for number in range(len(NESTED)))
    [made] = read(f"select {names} from shop.nested_rows")
    assert list(made) == [each for _, each in NESTED.values()]
    assert read("select tag, tag_number from shop.tags order by tag_number") == [("a", 1), ("b", 2)]
    [(nulls_last,)] = read("select nulls_last from shop.carts")
    assert "".join(re.findall(r"\w", str(nulls_last))) == "ba"
    if target.name == "snowflake":
        return
    [(customer, lines)] = mesh.rows(
        "select customer, lines from shop.nested_rows join shop.carts using (k)"
    )
    moment = datetime.fromisoformat("2024-03-10 02:30:00.123456")
    assert customer == {
        "id": 2**63 - 1, "order": {"at": moment, "total": Decimal("9.50")}, "tags": ["a", "b"],
        "home address": {"zip code": "80331"},
    }  # fmt: skip
    assert lines == [{"tag": "b", "at": 2}, {"tag": "a", "at": 1}]
    wrong = CUSTOMER.replace("total decimal(12,2)", "total decimal(12,3)")
    mesh.edit("domains/shop/models/products/nested_rows.yml", CUSTOMER, wrong)
    done = build(mesh)
    assert done.outcome == "failed"
    assert re.search(r"(?i)decimal\(12,\s*3\)", done.message)


EVENTS_YML = """
sources:
  - name: shop_raw
    schema: shop_raw
    description: What the shop sends.
    tables:
      - name: carts
        description: One row per cart.
        config: {meta: {topic: shop.carts, format: json}}
        columns:
          - {name: k, data_type: integer, description: x}
          - {name: c, data_type: "__TYPE__", description: x}
          - {name: tags, data_type: "array<string>", description: x}
"""
LINES_OF_CART = "array<struct<price decimal(12,2), day date>>"
CART = (
    "struct<id bigint, big decimal(38,10), at timestamptz, m map<string, double>, "
    "lines array<struct<price decimal(12,2), day date>>, none array<struct<a integer>>>"
)


def test_nested_events_are_landed_and_read_on_every_target(target):
    mesh = target.mesh
    mesh.write("domains/shop/models/topics.yml", EVENTS_YML.replace("__TYPE__", CART))
    value = {
        "id": 2**63 - 1, "big": "1234567890123456789012345678.0123456789",
        "at": "2024-03-10T02:30:00.123456+01:00", "m": {"a b": 0.1},
        "lines": [{"price": 1.10, "day": "2024-02-29"}, None, {"price": "2"}],
    }  # fmt: skip
    first = {"k": 1, "c": {**value, "new": True}, "tags": ["x", ""]}
    bad = {"k": 3, "c": {"lines": [{"price": 1.999}]}}
    events = [first, {"k": 2, "c": None}, bad]
    mesh.send("shop.carts", [(b"1", json.dumps(each).encode()) for each in events])
    repository = mesh.repository
    [raw] = repository.domain("shop").raw_tables
    landed = land_table(repository, engine(repository).store, raw)
    assert (landed.rows, landed.rejected, landed.new_fields) == (2, 1, ("c.new",))
    found = {
        "nested_field('c', 'id', 'bigint')": ("bigint", 2**63 - 1),
        "nested_field('c', 'big', 'decimal(38,10)')": ("decimal(38,10)", Decimal(value["big"])),
        "nested_field('line', 'price', 'decimal(12,2)')": ("decimal(12,2)", Decimal("1.10")),
        "nested_field('line', 'day', 'date')": ("date", date(2024, 2, 29)),
    }
    columns = {f"c{n}": (kind, "") for n, (kind, _) in enumerate(found.values())}
    columns["line_number"] = ("bigint", "")
    write_product(mesh, "lines", columns)
    listed = "".join(f", {{{{ {sql} }}}} as c{n}" for n, sql in enumerate(found))
    mesh.write(
        "domains/shop/models/products/lines.sql",
        "with carts as (\n    select k, c, "
        f"{{{{ nested_field('c', 'lines', '{LINES_OF_CART}') }}}} as lines\n"
        "    from {{ source('shop_raw', 'carts') }}\n)\n"
        f"select k{listed}, cast(line_number as bigint) as line_number\n"
        "from {{ array_rows('carts', 'lines', 'line') }} as listed\n",
    )
    mesh.edit("domains/shop/models/products/lines.yml", "grain: [k]", "grain: [k, line_number]")
    mesh.write("domains/shop/models/products/lines.checks.yml", "columns: []\n")
    done = build(mesh)
    assert (done.outcome, done.message) == ("published", "")
    read = connect().rows if target.name == "snowflake" else mesh.rows
    rows = read("select c0, c1, c2, c3 from shop.lines order by line_number")
    same = [value for _, value in list(found.values())[:2]]
    assert [list(row) for row in rows] == [
        [*same, Decimal("1.10"), date(2024, 2, 29)],
        [*same, None, None],
        [*same, Decimal("2.00"), None],
    ]


def test_a_run_refuses_a_type_that_not_every_target_has_with_its_line(mesh):
    leave_nothing(mesh)
    write_product(mesh, "odd", {"c": ("float", "cast(1 as float)")})
    with pytest.raises(BrokenDomain) as refused:
        build(mesh)
    assert "odd.yml:8: column `c` of shop.odd: `float` is not a known type" in str(refused.value)
    assert "use `double`" in str(refused.value)


def test_the_built_table_is_compared_with_the_contract(mesh):
    """A hook changes the table after dbt compared the SQL with the contract."""
    leave_nothing(mesh)
    hook = "alter table {{ this }} alter c type decimal(18, 6)"
    config = f"{{{{ config(post_hook='{hook}') }}}}\n"
    write_product(mesh, "altered", {"c": ("decimal(12,2)", "cast(3 as decimal(12, 2))")}, config)
    done = build(mesh)
    assert done.outcome == "failed"
    assert "`c` is decimal(18,6) and the contract says decimal(12,2)" in done.message


@needs_snowflake
def test_an_integer_beyond_its_range_is_refused_where_the_target_has_one_type_for_all(chosen, mesh):
    """Snowflake has one type for all integers, and keeps nanoseconds."""
    columns = {f"c{number}": column for number, column in enumerate(NARROW)}
    leave_nothing(mesh)
    write_product(mesh, "narrow", {"k2": ("bigint", "cast(2 as bigint)"), **columns})
    done = build(mesh)
    assert done.outcome == "failed"
    assert "1 values of `c0` are outside of integer, 1 values of `c1` are outside" in done.message
    assert connect().rows(
        "select count(*) from information_schema.tables where table_name like 'NARROW__%'"
    ) == [(0,)]


def published(target: SimpleNamespace) -> list[str]:
    """Types of the published product's columns, without its key."""
    if target.name != "snowflake":
        return [kind for _, kind, *_ in target.mesh.rows("describe shop.every_type")[1:]]
    found = connect().rows(
        "select data_type, numeric_precision, numeric_scale from information_schema.columns "
        "where table_schema = 'SHOP' and table_name = 'EVERY_TYPE' order by ordinal_position"
    )
    return [
        f"{kind}({precision},{scale})" if kind == "NUMBER" else kind
        for kind, precision, scale in found[1:]
    ]
