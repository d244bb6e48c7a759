"""`mesh sql` shows what is published, in the format that is asked for, and changes nothing."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow.parquet
import pytest
from conftest import Mesh

import meshhouse

TWO = "select order_id, amount, sold_at from shop.orders order by order_id limit 2"


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    """A mesh that has published the products of shop."""
    mesh = new_mesh()
    mesh.sell(*range(10))
    mesh.run("run", "shop")
    return mesh


def test_a_table_for_people(mesh):
    lines = mesh.run("sql", TWO).stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["order_id", "amount", "sold_at"],
        ["0", "1.50", "2017-01-01", "12:00:00"],
        ["1", "1.50", "2017-01-01", "12:00:00"],
    ]


def test_integers_of_a_query_may_be_identifiers_and_have_no_separators(mesh):
    shown = mesh.run("sql", "select 1023 as order_id, 1234567 as n").stdout.split()
    assert shown == ["order_id", "n", "1023", "1234567"]


def test_csv(mesh):
    rows = list(csv.DictReader(mesh.run("sql", TWO, "--format", "csv").stdout.splitlines()))
    assert rows[1]["amount"] == "1.50"
    assert [row["order_id"] for row in rows] == ["0", "1"]
    assert datetime.fromisoformat(rows[0]["sold_at"]) == datetime(2017, 1, 1, 12, tzinfo=UTC)


def test_json_keeps_decimals_exact(mesh):
    assert json.loads(mesh.run("sql", TWO, "--format", "json").stdout)[0] == {
        "order_id": 0,
        "amount": "1.50",
        "sold_at": "2017-01-01T12:00:00+00:00",
    }
    nothing = mesh.run("sql", "select * from shop.orders where false", "--format", "json")
    assert json.loads(nothing.stdout) == []


def test_parquet_keeps_the_types(mesh, tmp_path):
    file = tmp_path / "two.parquet"
    mesh.run("sql", TWO, "-o", str(file))
    table = pyarrow.parquet.read_table(file)
    assert str(table.schema.field("amount").type) == "decimal128(12, 2)"
    assert table["amount"].to_pylist() == [Decimal("1.50")] * 2
    assert table["sold_at"][0].as_py() == datetime(2017, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--format", "parquet"], "Parquet needs a file: add `--output FILE`."),
        (["--format", "xml"], "'xml' is not one of 'table', 'csv', 'json', 'parquet'."),
        (["-o", "two.txt"], "`two.txt` does not say which format; add --format csv|json|parquet."),
    ],
)
def test_a_format_that_cannot_be_is_refused(mesh, options, line):
    assert line in mesh.run("sql", TWO, *options, code=2).stderr


@pytest.mark.parametrize(
    "query",
    [
        "delete from shop.orders",
        "update shop.orders set amount = 1",
        "insert into shop.orders select * from shop.orders",
        "drop view shop.orders",
        "create table mine as select 1",
        "copy shop.orders to '{folder}/copy.csv'",
        "attach '{folder}/other.db'",
        "set memory_limit = '9TB'",
        "select 1; drop view shop.orders",
        "",
    ],
)
def test_what_does_more_than_read_is_refused_and_leaves_nothing(mesh, tmp_path, query):
    done = mesh.run("sql", query.format(folder=tmp_path), code=2)
    assert done.stderr == (
        "mesh: Published products are read only; give a query that returns rows.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "relation",
    [
        "shop_raw.sales",
        "shop_build.orders",
        "meshhouse.publications",
        "crm.customers",
        "shop.order",
    ],
)
def test_what_is_not_published_is_not_there(mesh, relation):
    done = mesh.run("sql", f"select * from {relation}", code=2)
    [line] = done.stderr.splitlines()
    assert "does not exist" in line
    assert line.endswith("`mesh status` lists the products.")


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("selec 1", 'syntax error at or near "selec"'),
        ("select nope from shop.orders", 'Referenced column "nope" not found'),
        ("select cast('x' as integer)", "Could not convert string 'x' to INT32"),
        ("select 1; select 2", "Give one query; these are 2."),
    ],
)
def test_a_wrong_query_is_one_line(mesh, query, line):
    done = mesh.run("sql", query, code=2)
    [said] = done.stderr.splitlines()
    assert line in said


@pytest.mark.parametrize(
    "query",
    ["describe shop.orders", "from shop.totals", "pivot shop.orders on customer_id using count(*)"],
)
def test_every_kind_of_query_works(mesh, query):
    assert len(mesh.run("sql", query).stdout.splitlines()) >= 2


def test_a_python_connection_has_the_products_and_nothing_else(mesh):
    with meshhouse.connect(mesh.root) as connection:
        views = "select schema_name || '.' || view_name from duckdb_views() where not internal"
        names = {name for (name,) in connection.execute(views).fetchall()}
        assert names == {"shop.orders", "shop.totals"}
        meshhouse.refresh(connection, mesh.root)
        assert connection.execute("select count(*) from shop.orders").fetchone() == (10,)
