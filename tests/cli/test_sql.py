"""`mesh sql` prints published products in the requested format, and changes nothing."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from meshhouse.cli.sql import sql as command
from meshhouse.errors import UsageError
from meshhouse.serve.connection import Connection
from tests.conftest import Mesh

TWO = "select order_id, amount, sold_at from shop.orders order by order_id limit 2"


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    """A mesh that has published the products of shop."""
    mesh = new_mesh()
    mesh.sell(*range(10))
    mesh.run("run", "shop")
    return mesh


def cells(shown: str) -> list[list[str]]:
    """The cells of a drawn table, line by line."""
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in shown.splitlines()
        if line.startswith("│")
    ]


def test_a_table_for_people(mesh):
    assert cells(mesh.run("sql", TWO).stdout) == [
        ["order_id", "amount", "sold_at"],
        ["int64", "decimal(12,2)", "timestamp with time zone"],
        ["0", "1.50", "2017-01-01 12:00:00+00"],
        ["1", "1.50", "2017-01-01 12:00:00+00"],
    ]


def test_values_are_shown_as_they_are_whatever_the_time_zone_of_the_reader(mesh):
    query = (
        "select timestamp '2020-01-01 00:00:00.000001' as naive, ':x: [bold]' as markup, "
        "timestamptz '2020-01-01 00:00:00.5+02' as moment, 1234567 as number, "
        "chr(27) || '[31m' || chr(8238) as hidden"
    )
    for zone in ("America/New_York", "Asia/Tokyo"):
        # A cold process: a fork of the warm one has the time zone that its libraries found first.
        environment = {**os.environ, **mesh.environment, "TZ": zone}
        command = mesh.command("sql", query)
        shown = subprocess.check_output(command, text=True, cwd=mesh.root, env=environment)
        assert cells(shown)[2] == [
            "2020-01-01 00:00:00.000001",
            ":x: [bold]",
            "2019-12-31 22:00:00.5+00",
            "1234567",
            r"\e[31m\u202e",
        ]


def test_fifty_rows_are_shown_and_how_many_more_there_are(mesh):
    done = mesh.run("sql", "select range as n from range(100000)")
    assert [row[0] for row in cells(done.stdout)[2:52]] == [str(number) for number in range(50)]
    assert done.stderr == "99,950 more rows; --all shows them\n"
    assert mesh.run("sql", "from range(50)").stderr == ""
    everything = mesh.run("sql", "select range as n from range(20000)", "--all").stdout
    numbers = [row[0] for row in cells(everything) if row[0].isdigit()]
    assert numbers == [str(number) for number in range(20000)]


def test_a_wide_table_fits_the_terminal(mesh):
    query = "select 1 as customer_identifier, repeat('x', 300) as text, * from shop.orders"
    shown = mesh.run("sql", query, environment={"COLUMNS": "80"}).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "customer_identifier" in shown


def test_a_query_from_a_file_and_from_standard_input(mesh, tmp_path):
    file = tmp_path / "query.sql"
    file.write_text("select 1 as a,\n  2 as b;\n")
    assert mesh.run("sql", "-f", str(file), "--format", "csv").stdout == '"a","b"\n1,2\n'
    for arguments in (["-"], []):
        done = subprocess.run(
            mesh.command("sql", *arguments, "--format", "csv"),
            input=file.read_text(),
            env=mesh.environment,
            cwd=mesh.root,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == '"a","b"\n1,2\n'
    done = mesh.run("sql", "select 1", "-f", str(file), code=2)
    assert done.stderr == "mesh: Write a query or `--file FILE`, not both.\n"


def test_show_tables_lists_the_products_and_the_ledger(mesh):
    shown = [row[0] for row in cells(mesh.run("sql", "show tables").stdout)[2:]]
    assert shown == [
        *(
            f"meshhouse.{name}"
            for name in (
                "audits",
                "contracts",
                "heads",
                "landings",
                "objectives",
                "publications",
                "runs",
                "statistics",
            )
        ),
        "shop.orders",
        "shop.totals",
    ]


def test_the_ledger_is_readable(mesh):
    query = "select product, rows, kind from meshhouse.publications order by product"
    assert mesh.query(query) == [
        {"product": "orders", "rows": 10, "kind": "publish"},
        {"product": "totals", "rows": 1, "kind": "publish"},
    ]


def test_csv(mesh):
    rows = list(csv.DictReader(mesh.run("sql", TWO, "--format", "csv").stdout.splitlines()))
    assert rows[1]["amount"] == "1.50"
    assert [row["order_id"] for row in rows] == ["0", "1"]
    assert datetime.fromisoformat(rows[0]["sold_at"]) == datetime(2017, 1, 1, 12, tzinfo=UTC)


def test_json_keeps_decimals_exact(mesh):
    shown = mesh.run("sql", TWO, "--format", "json").stdout
    assert json.loads(shown, parse_float=Decimal)[0] == {
        "order_id": 0,
        "amount": Decimal("1.50"),
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
    ("query", "said"),
    [
        ("selec 1", 'Parser Error: syntax error at or near "selec"|LINE 1: selec 1|        ^'),
        (
            "select order_id,\n  nope\nfrom shop.orders",
            'Binder Error: Referenced column "nope" not found in FROM clause!|'
            'Candidate bindings: "order_id", "customer_id"|LINE 2:   nope|          ^',
        ),
        (
            "select cast('x' as integer)",
            "Conversion Error: Could not convert string 'x' to INT32|"
            "LINE 1: select cast('x' as integer)|               ^",
        ),
        ("select 1; select 2", "Give one query, not 2."),
    ],
)
def test_a_wrong_query_is_explained_with_the_place_under_it(mesh, query, said):
    assert mesh.run("sql", query, code=2).stderr == f"mesh: {said}\n".replace("|", "\n")


@pytest.mark.parametrize(
    "query",
    ["describe shop.orders", "from shop.totals", "pivot shop.orders on customer_id using count(*)"],
)
def test_every_kind_of_query_works(mesh, query):
    assert len(mesh.run("sql", query).stdout.splitlines()) >= 2


def test_a_failure_leaves_the_old_file(mesh, tmp_path):
    fails = "select case when range = 99999 then error('late') else range end from range(100000)"
    for form in ("csv", "json", "parquet"):
        file = tmp_path / f"old.{form}"
        file.write_text("old")
        assert "late" in mesh.run("sql", fails, "-o", str(file), code=2).stderr
        assert file.read_text() == "old"
        mesh.run("sql", "select 1 as a", "-o", str(file))
        assert file.read_bytes() != b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "old.csv",
        "old.json",
        "old.parquet",
    ]


class Interrupted:
    """A relation whose stream ends as DuckDB's does where another thread failed first."""

    def __init__(self, relation) -> None:
        self._relation = relation

    def project(self, columns: str) -> Interrupted:
        return Interrupted(self._relation.project(columns))

    def to_arrow_reader(self, rows: int) -> pyarrow.RecordBatchReader:
        schema = self._relation.limit(0).to_arrow_table().schema

        def fails():
            raise OSError("INTERRUPT Error: Interrupted!")
            yield

        return pyarrow.RecordBatchReader.from_batches(schema, fails())

    def __getattr__(self, name: str):
        return getattr(self._relation, name)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_first_error_is_said_where_duckdb_reports_an_interruption(mesh, monkeypatch, form):
    # DuckDB does so once in 400 times; here it does so twice in a row.
    whole, tries = Connection.run_whole, []

    def fails_late(connection, query):
        tries.append(query)
        if len(tries) == 1:
            raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")
        whole(connection, query)

    def interrupted(connection, query):
        return Interrupted(connection.cursor()._connection.sql(query))

    monkeypatch.setattr(Connection, "run_whole", fails_late)
    monkeypatch.setattr(Connection, "sql", interrupted)
    monkeypatch.chdir(mesh.root)
    fails = "select case when range = 99999 then error('late') else range end from range(100000)"
    done = CliRunner().invoke(command, [fails, "-o", str(mesh.root / f"new.{form}")])
    assert isinstance(done.exception, UsageError), done.output
    assert str(done.exception) == "Invalid Input Error: late"
    assert len(tries) == 2


def test_what_cannot_be_written_is_said_in_one_line(mesh, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    for name, said in {
        "folder.csv": "is a folder. Name a file in it.",
        "nowhere/new.csv": "cannot be written: No such file or directory. An existing file",
        "file/new.csv": "cannot be written: Not a directory. An existing file is unchanged.",
    }.items():
        done = mesh.run("sql", TWO, "-o", str(tmp_path / name), code=None)
        assert f"mesh: `{tmp_path / name}` {said}" in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.returncode in (1, 2)


def test_a_link_keeps_pointing_to_its_file(mesh, tmp_path):
    (tmp_path / "real.csv").touch()
    (tmp_path / "real.csv").chmod(0o640)
    (tmp_path / "link.csv").symlink_to("real.csv")
    mesh.run("sql", "select 1 as a", "-o", str(tmp_path / "link.csv"))
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == '"a"\n1\n'
    assert (tmp_path / "real.csv").stat().st_mode & 0o777 == 0o640


def test_show_says_what_a_product_is_and_how_to_read_it(mesh):
    shown = " ".join(mesh.run("show", "shop.orders").stdout.split())
    for fact in (
        "shop.orders: What was bought. One row per order.",
        "owner shop team shop@tiny.example grain order_id versions shop.orders (v1)",
        "10 rows, score 100 fresh fresh,",
        "readers crm in SQL mesh sql",
        "in dbt {{ ref('shop', 'orders') }}",
        "column type meaning order_id bigint The order.",
        "refreshed_within_hours 24",
    ):
        assert fact in shown
    facts = json.loads(mesh.run("show", "shop.orders", "--json").stdout)
    assert (facts["rows"], facts["readers"], facts["freshness"]) == (10, ["crm"], "fresh")
    assert facts["columns"][0] == {
        "name": "order_id",
        "type": "bigint",
        "required": False,
        "classification": None,
        "description": "The order.",
    }
    assert "publishes no product `nope`" in mesh.run("show", "shop.nope", code=2).stderr


def test_a_new_file_has_the_mode_that_the_persons_umask_gives(mesh, tmp_path):
    before = os.umask(0o022)
    try:
        mesh.start("sql", "select 1 as a", "-o", str(tmp_path / "new.csv")).communicate()
    finally:
        os.umask(before)
    assert (tmp_path / "new.csv").stat().st_mode & 0o777 == 0o644
