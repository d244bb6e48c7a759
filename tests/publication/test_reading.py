"""`connect` and `mesh sql` read published products and the ledger, and do nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from conftest import Mesh

import meshhouse
from meshhouse.errors import UsageError
from meshhouse.lake import Lake
from meshhouse.lake.storage import plain_path


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


def test_no_attempt_has_left_or_changed_anything(reading, places, mesh):
    test_what_does_more_than_read_products_is_refused(reading, places, ATTEMPTS[0])
    assert sorted(path.name for path in places["out"].iterdir()) == ["schema.sql", "secret.csv"]
    assert not [*mesh.home.rglob("copy.*")]
    assert reading.execute("select count(*) from shop.orders").fetchone() == (10,)


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
        "-- why\nexplain analyze select count(*) from shop.orders",
        "pivot shop.orders on customer_id using count(*)",
        "pivot shop.orders on customer_id in (1) using count(*)",
        "unpivot (select 1 as a, 2 as b) on a, b",
        "with orders as (from shop.orders) select * from orders, (select 1)",
        "with recursive t(n) as (select 1 union all select n + 1 from t where n < 3) from t",
        "select unnest([1, 2]), [x + 1 for x in [1, 2]]",
        "values (1)",
        "select * from generate_series(1, 3), shop.totals positional join shop.orders",
        "select column_name from information_schema.columns",
        "from duckdb_views()",
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
