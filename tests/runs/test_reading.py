"""`connect` and `mesh sql` read published products and the ledger, and do nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import meshhouse
from meshhouse.errors import UsageError
from meshhouse.lake import Lake
from meshhouse.lake.storage import plain_path
from tests.conftest import Mesh


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    """A mesh that has published the products of shop."""
    mesh = new_mesh()
    mesh.sell(*range(10))
    mesh.run("run", "shop")
    return mesh


@pytest.fixture(scope="module")
def reading(mesh):
    with meshhouse.connect(mesh.root) as connection:
        yield connection


@pytest.fixture(scope="module")
def places(mesh, tmp_path_factory) -> dict[str, object]:
    """Files that are there to be read, and a folder to write into."""
    locations = {name: plain_path(path) for name, path in Lake(mesh.home).visible().items()}
    data = next(Path(locations["shop.orders"]).parents[1].glob("data/*.parquet"))
    out = tmp_path_factory.mktemp("out")
    (out / "secret.csv").write_text("a\n1\n")
    (out / "schema.sql").write_text("create table imported (a int)")
    return {
        "out": out,
        "secret": out / "secret.csv",
        "raw": locations["shop_raw.sales"],
        "orders": locations["shop.orders"],
        "metadata": Path(locations["shop.orders"]).parent,
        "data": data,
        "build": mesh.home / "build" / "shop" / "work.duckdb",
    }


ATTEMPTS = """
copy shop.orders to '{out}/copy.csv'
copy (select 1) to '{out}/copy.parquet' (format parquet)
copy (select 1) to '{metadata}/copy.json'
copy (select 1) to '{data}' (format parquet)
explain copy (select 1) to '{out}/copy.csv'
explain analyze copy (select 1) to '{out}/copy.csv'
explain analyze copy (select 1) to '{metadata}/copy.csv'
/* a */ explain /* b */ analyze copy (select 1) to '{metadata}/copy.csv'
explain (format json) copy (select 1) to '{metadata}/copy.csv'
export database '{out}/exported'
import database '{out}'
attach '{out}/other.db'
attach '{build}' as build (read_only)
attach ':memory:' as other
detach memory
use memory
install spatial
install httpfs from community
load httpfs
load '{out}/secret.csv'
set memory_limit = '9TB'
set enable_external_access = true
set lock_configuration = false
set allowed_directories = ['/']
reset enable_external_access
pragma enable_profiling
pragma database_list
pragma table_info('shop.orders')
call pragma_version()
call range(1)
checkpoint
vacuum
analyze
begin
create table mine as select 1
create temp table mine as select 1
create view mine as select 1
create or replace view shop.orders as select 1
create macro mine() as 1
create type mine as enum ('a')
create secret mine (type s3)
create schema mine
drop view shop.orders
alter view shop.orders rename to others
comment on view shop.orders is 'x'
insert into shop.orders select * from shop.orders
update shop.orders set amount = 1
delete from shop.orders
merge into shop.orders using shop.totals on true when matched then delete
prepare mine as select 1
execute mine
deallocate mine
select * from read_text('{secret}')
select * from read_blob('{secret}')
select * from read_csv('{secret}')
select * from READ_CSV_AUTO('{secret}')
select * from "read_csv"('{secret}')
select * from main.read_csv('{secret}')
select * from system.main.read_csv('{secret}')
select * from sniff_csv('{secret}')
select * from glob('{out}/*')
select * from '{secret}'
from '{out}/*.csv'
select * from read_parquet('{data}')
select * from parquet_scan('{data}')
select * from parquet_metadata('{data}')
select * from '{data}'
select * from read_json('{orders}')
select * from read_text('{orders}')
select * from iceberg_scan('{raw}')
select * from iceberg_scan('{orders}')
select * from iceberg_metadata('{orders}')
select * from iceberg_snapshots('{orders}')
select (select max(content) from read_text('{orders}'))
select * from shop.orders where exists (from read_text('{orders}'))
select 1 order by (select max(content) from read_text('{orders}'))
select 1 limit (select count(*) from read_text('{orders}'))
with files as (from read_text('{orders}')) from files
with "{data}" as (select 1) from "{data}" union all (with x as (select 1) from "{orders}")
select * from (with "{data}" as (select 1) from "{data}"), "{data}"
describe select * from read_text('{orders}')
summarize '{data}'
explain select * from read_text('{orders}')
explain analyze from '{data}'
pivot '{data}' on customer_id using count(*)
pivot (from read_parquet('{data}')) on customer_id using count(*)
pivot shop_raw.sales on customer_id using count(*)
pivot shop.orders on customer_id in (1) using max(getenv('HOME'))
pivot shop.orders on customer_id using max(getenv('HOME'))
pivot shop.orders on customer_id using max((select content from read_text('{orders}')))
pivot shop.orders on customer_id limit (select count(*) from read_text('{orders}'))
pivot (from shop.orders, lateral read_text('{orders}')) on customer_id using count(*)
pivot (summarize '{data}') on column_name using count(*)
pivot (describe '{data}') on column_name using count(*)
from (pivot shop.orders on order_id), (with "{data}" as (select 1) from "{data}"), "{data}"
pivot (with "{data}" as (select 1 as a) from "{data}") on a using count(*); from "{data}"
pivot shop.orders on customer_id, order_id using max(getenv('HOME'))
explain pivot '{data}' on customer_id using count(*)
create or replace view shop.orders as select 1; select 1
/**/ create or replace view shop.orders as select 1; from shop.orders
;; create or replace view shop.orders as select 1; explain select 1
create view shop.more as from read_parquet('{data}'); select 1
create schema s; select 1
create schema s; create schema t; select 1
create type t as enum ('a'); from shop.orders
create type t as enum (select content from read_text('{orders}')); select 1
create table mine as select 1; pivot shop.orders on customer_id
pivot shop.orders on customer_id; create schema s
pivot shop.orders on customer_id; drop view shop.orders
pivot shop.orders on customer_id; select 1
select 1; create schema s
select 1; select 2
explain select 1; copy (select 1) to '{metadata}/copy.csv'
explain select 1; explain select 2
select * from query('select * from read_text(''{orders}'')')
select * from query_table('{data}')
select * from query_table(['{data}'])
from json_execute_serialized_sql(json_serialize_sql('select 1'))
select getenv('HOME')
select current_setting('secret_directory')
select write_log('x')
select * from duckdb_secrets()
select * from duckdb_settings()
select * from duckdb_extensions()
select * from duckdb_logs
select * from which_secret('s3://x', 's3')
show databases
show variables
select * from shop_raw.sales
select * from shop_raw.sales__rejected
select * from shop_build.orders
select * from memory.shop_raw.sales
select * from other.shop.orders
select * from orders
select * from 'https://example.com/x.csv'
select * from read_csv('s3://bucket/x.csv')
select 1; drop view shop.orders
""".strip().splitlines()


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_what_does_more_than_read_products_is_refused(reading, places, attempt):
    with pytest.raises((UsageError, duckdb.ParserException)):
        reading.execute(attempt.format(**places)).fetchall()
    with pytest.raises((UsageError, duckdb.ParserException)):
        reading.sql(attempt.format(**places)).fetchall()


COPY = "copy (select 1) to '{metadata}/copy.csv'"
READ = "from read_text('{orders}')"
DISGUISES = [
    "/* /* */ explain select 1 -- */ explain analyze HIDDEN",
    "/* /* */ */ explain /* /* */ select 1 -- */ analyze HIDDEN",
    "/* '*/ explain /* /* ' */ select 1 -- */ analyze HIDDEN",
    "--x\r explain analyze HIDDEN /*\n explain select 1 -- */",
    "-- explain select 1\r explain analyze HIDDEN",
    "explain --\r analyze HIDDEN --\n select 1",
    "explain (/* ) select 1 -- */ analyze) HIDDEN",
    "explain (analyze -- ) select 1\n) HIDDEN",
    "explain /* (*/ analyze HIDDEN -- ) select 1",
    "explain (analyze, /* /* */ ) select 1 -- */ format json) HIDDEN",
    "explain\x0b\x0canalyze\tHIDDEN",
    "explain\u00a0analyze HIDDEN",
    "\ufeffexplain\u2003analyze\u3000HIDDEN",
    "explain analyse HIDDEN",
    "explain (format 'json', analyze) HIDDEN",
    "explain\x00 select 1; HIDDEN",
    "explain analyze HIDDEN\x00 explain select 1",
    "explain $$x$$ HIDDEN",
]
READS = [
    "explain analyze (select ') select 1 --', * READ)",
    "explain (select $$) select 1 --$$, * READ)",
    "explain (select $a$) select 1 /*$a$, * READ) -- */",
    "explain (select e'\\') select 1 --', * READ)",
    'explain analyze (select ") select 1 --" READ as t(") select 1 --"))',
    "pivot /* /* */ shop.orders on order_id -- */ (READ) on content",
    "pivot --\r (READ) on content --\n shop.orders on order_id",
    "pivot (select e'\\'', * READ --') on content\n) on content",
    "pivot (select $$ from shop.orders) on a --$$, * READ) on content",
    'pivot (select 1 as "a --", * READ) on content',
    'with "a --" as (select 1) pivot (READ) on content',
    "pivot\u00a0(READ)\u2003on\u3000content",
    "pivot (READ) on content\x00 using count(*)",
    "pivot (select 1 as a) on a" + " " * 9000 + "; READ",
]


@pytest.mark.parametrize(
    "attempt",
    [text.replace("HIDDEN", COPY) for text in DISGUISES]
    + [text.replace("HIDDEN", READ) for text in DISGUISES]
    + [text.replace("READ", READ) for text in READS],
)
def test_a_query_that_is_not_what_it_seems_is_refused(reading, places, mesh, attempt):
    """DuckDB nests comments, ends them at carriage returns and knows more quotes than most."""
    with pytest.raises((UsageError, duckdb.Error)):
        reading.execute(attempt.format(**places)).fetchall()
    assert not [*mesh.home.rglob("copy.*")]


@pytest.mark.parametrize(
    "rest", ["select 1", "from shop.orders", "pivot shop.orders on customer_id", "explain select 1"]
)
def test_a_view_made_before_a_query_changes_nothing(reading, rest):
    with pytest.raises(UsageError):
        reading.execute(f"create or replace view shop.orders as select 1 as x; {rest}")
    assert reading.execute("select count(*) from shop.orders").fetchone() == (10,)


@pytest.mark.parametrize("begin", ["analyze", "/* a */ ANALYSE", "(analyze, format json)"])
def test_explain_analyze_is_refused_because_it_shows_paths(reading, begin):
    with pytest.raises(UsageError, match="`explain` shows the plan"):
        reading.execute(f"explain {begin} select sum(amount) from shop.orders")


def test_explain_shows_no_path(reading, mesh):
    [(_, plan)] = reading.execute("explain select sum(amount) from shop.orders").fetchall()
    assert str(mesh.home) not in "".join(plan.split())


def test_explain_runs_the_query_that_was_checked(reading):
    query = "/* a /* b */ */ explain -- c\r (/* ) */ format\njson) select 'é' as answer -- d"
    [(_, plan)] = reading.execute(query).fetchall()
    assert plan.lstrip().startswith("[")
    assert "answer" in plan


def test_no_attempt_has_left_or_changed_anything(reading, places, mesh):
    test_what_does_more_than_read_products_is_refused(reading, places, ATTEMPTS[0])
    assert sorted(path.name for path in places["out"].iterdir()) == ["schema.sql", "secret.csv"]
    assert not [*mesh.home.rglob("copy.*")]
    assert reading.execute("select count(*) from shop.orders").fetchone() == (10,)


LISTINGS = duckdb.execute(
    "select distinct schema_name || '.' || view_name from duckdb_views() "
    "where schema_name in ('information_schema', 'pg_catalog') union all "
    "select distinct function_name || '()' from duckdb_functions() where function_type = 'table' "
    "and function_name similar to '(duckdb|pg)_.*' and len(parameters) = 0 order by 1"
).fetchall()


@pytest.mark.parametrize("listing", [name for (name,) in LISTINGS])
def test_no_listing_of_duckdb_shows_where_files_are(reading, mesh, listing):
    try:
        rows = str(reading.execute(f"from {listing}").fetchall())
    except UsageError as refused:
        rows = str(refused)
    assert str(mesh.home.parent) not in rows
    assert str(Path.home()) not in rows


@pytest.mark.parametrize("name", ["columns", "tables", "schemata"])
def test_tools_can_list_what_there_is(reading, name):
    assert reading.execute(f"from information_schema.{name}").fetchall()


@pytest.mark.parametrize(
    "attempt",
    [
        "from read_text('{secret}')",
        "copy (select 1) to '{out}/copy.csv'",
        "from iceberg_scan('{raw}')",
        "attach '{build}' as build (read_only)",
        "set lock_configuration = false",
        "load spatial",
    ],
)
def test_what_a_statement_could_smuggle_in_finds_a_second_wall(mesh, places, attempt):
    with meshhouse.connect(mesh.root) as reading, pytest.raises(duckdb.Error):
        reading._connection.execute(attempt.format(**places)).fetchall()


@pytest.mark.parametrize(
    "query",
    [
        "select * from shop.orders",
        'select * from "SHOP".Orders;',
        "from memory.shop.orders",
        "describe shop.orders",
        "summarize shop.orders",
        "show tables",
        "show all tables",
        "explain select 1",
        "/* é */ explain /* b */ select count(*) from shop.orders;",
        "explain (format 'json') (from shop.orders)",
        "explain (select 'é)') -- why",
        "explain with a as (from shop.orders) from a",
        "explain\u00a0select 1",
        "-- why\npivot /* é */ shop.orders on customer_id using count(*); -- why",
        "pivot shop.orders on customer_id, order_id using count(*) as n, sum(amount)",
        "from (pivot shop.orders on customer_id using count(*) group by order_id limit 2)",
        "with a as (pivot shop.orders on customer_id) from a, shop.totals",
        "pivot (from memory.shop.orders, (values (1)) t, range(2)) on customer_id || '--'",
        "pivot shop.orders on customer_id using count(*)",
        "pivot shop.orders on customer_id in (1) using count(*)",
        "unpivot (select 1 as a, 2 as b) on a, b",
        "with orders as (from shop.orders) select * from orders, (select 1)",
        "with recursive t(n) as (select 1 union all select n + 1 from t where n < 3) from t",
        "select unnest([1, 2]), [x + 1 for x in [1, 2]]",
        "values (1)",
        "select * from generate_series(1, 3), shop.totals positional join shop.orders",
        "select column_name from information_schema.columns",
        "from duckdb_columns()",
        "select * exclude (amount) from shop.orders",
        "select product from meshhouse.publications",
    ],
)
def test_every_kind_of_query_runs(reading, query):
    assert reading.execute(query).fetchall()


def test_parameters_cursors_and_data_frames_of_the_caller(reading):
    with reading.cursor() as cursor:
        bought = pa.table({"order_id": [3, 4]})
        cursor.register("bought", bought)
        found = cursor.execute(
            "select order_id from shop.orders join bought using (order_id) where order_id > $least",
            {"least": 3},
        )
        assert found.fetchall() == [(4,)]
        cursor.unregister("bought")
        with pytest.raises(UsageError, match="`bought` does not exist"):
            cursor.execute("from bought")
    hidden = bought
    with pytest.raises(UsageError, match="`hidden` does not exist"):
        reading.execute("from hidden")
    assert hidden is bought


def test_a_connection_has_the_products_and_the_ledger_and_moves_with_refresh(mesh):
    with meshhouse.connect(mesh.root) as reading:
        before = [name for (name,) in reading.execute("show tables").fetchall()]
        assert "shop.orders" in before
        assert "meshhouse.publications" in before
        assert not [name for name in before if name.partition(".")[0] not in ("shop", "meshhouse")]
        mesh.run("run", "crm")
        assert reading.execute("select count(*) from meshhouse.publications").fetchone() == (2,)
        meshhouse.refresh(reading, mesh.root)
        assert reading.execute("select count(*) from crm.customers").fetchone() == (1,)


def test_unrestricted_is_duckdbs_own_connection(mesh, places):
    with meshhouse.connect(mesh.root, unrestricted=True) as connection:
        assert isinstance(connection, duckdb.DuckDBPyConnection)
        assert connection.execute(f"from '{places['secret']}'").fetchall() == [(1,)]
        meshhouse.refresh(connection, mesh.root)
    file = places["out"] / "copied.csv"
    mesh.run("sql", "--unrestricted", f"copy shop.totals to '{file}'")
    assert file.read_text().startswith("orders")
    file.unlink()
