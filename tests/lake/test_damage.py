"""A damaged product does not stop the reading of others, and errors say what is damaged."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

import meshhouse
from meshhouse.cli.main import cli
from meshhouse.errors import MeshError
from meshhouse.lake import Lake, storage
from meshhouse.lake.damage import Damaged, damage_of
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.storage import plain_path
from meshhouse.lake.views import check_readable, connect_memory
from meshhouse.runs.status import product_statuses
from tests.conftest import Mesh
from tests.support.harm import HARM as COMMON_HARM

PRODUCTS = ["shop.orders", "shop.totals", "crm.customers"]


@pytest.fixture(scope="module")
def built(new_mesh: Callable[[], Mesh]) -> Mesh:
    mesh = new_mesh()
    mesh.sell(1, 2, 3)
    mesh.run("land")
    mesh.run("run", "shop", "crm")
    return mesh


HARM = {**COMMON_HARM, "another": lambda path: path.write_text("{}")}


@contextmanager
def harmed(path: Path, harm: str) -> Iterator[None]:
    """Damages a file, and repairs it at the end."""
    kept = path.read_bytes()
    HARM[harm](path)
    try:
        yield
    finally:
        path.write_bytes(kept)


def file_of(mesh: Mesh, relation: str, kind: str) -> Path:
    """A file of the current publication: `metadata`, `list`, `manifest` or `data`."""
    lake = Lake(mesh.home)
    table = lake.load(relation)
    snapshot = table.current_snapshot()
    [manifest, *_] = snapshot.manifests(table.io)
    [entry, *_] = manifest.fetch_manifest_entry(table.io)
    return Path(
        plain_path(
            {
                "metadata": table.metadata_location,
                "list": snapshot.manifest_list,
                "manifest": manifest.manifest_path,
                "data": entry.data_file.file_path,
            }[kind]
        )
    )


@pytest.mark.parametrize("harm", ["deleted", "cut", "flipped"])
@pytest.mark.parametrize("kind", ["metadata", "list", "manifest", "data"])
def test_only_readers_of_a_damaged_product_fail(built: Mesh, kind: str, harm: str) -> None:
    path = file_of(built, "shop.orders", kind)
    with harmed(path, harm):
        location = Lake(built.home).state("shop.orders")
        found = list(damage_of("shop.orders", location, deep=True))
        assert str(path) in {each.file for each in found}, found
        assert list(damage_of("shop.totals", Lake(built.home).state("shop.totals"))) == []
        with meshhouse.connect(built.root) as connection:
            for other in PRODUCTS[1:]:
                assert connection.execute(f"select count(*) from {other}").fetchone() is not None
            listed = connection.execute(
                "select table_schema || '.' || table_name from information_schema.tables"
            ).fetchall()
            assert {(each,) for each in PRODUCTS} <= set(listed)
            queries = [
                "select sum(amount) from shop.orders where order_id > 0",
                "select order_id from shop.orders where amount is not null",
                "select * from shop.totals, shop.orders",
            ]
            if kind != "data":  # a count does not read data files
                queries += [
                    "select count(*) from shop.orders",
                    "select 1 where exists (from shop.orders)",
                ]
            for query in queries:
                with pytest.raises((MeshError, duckdb.Error)) as refused:
                    connection.execute(query).fetchall()
                if kind != "data":
                    assert "shop.orders is damaged" in str(refused.value)
                    assert path.name in str(refused.value)
                    assert "mesh doctor" in str(refused.value)
            connection.execute("describe shop.orders").fetchall()
    assert list(damage_of("shop.orders", location, history=True, deep=True)) == []


@pytest.mark.parametrize("kind", ["metadata", "data"])
def test_commands_name_what_is_damaged_and_go_on_with_the_rest(built: Mesh, kind: str) -> None:
    path = file_of(built, "shop.orders", kind)
    with harmed(path, "deleted"):
        assert built.run("sql", "select count(*) as n from crm.customers", "--format", "json")
        said = built.run("sql", "select sum(amount) from shop.orders", code=None)
        assert said.returncode in (1, 2)
        assert f"shop.orders is damaged: {path} is missing" in said.stderr
        assert "mesh doctor" in said.stderr
        assert len(said.stderr.splitlines()) == 1
        statuses = {
            each["product"]: each for each in json.loads(built.run("status", "--json").stdout)
        }
        assert str(path) in statuses["shop.orders"]["damage"]
        assert statuses["crm.customers"]["damage"] is None
        shown = built.run("status")
        assert "damaged" in shown.stdout
        assert str(path) in shown.stderr
    assert "damaged" not in built.run("status").stdout


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select nope from shop.orders", 'Binder Error: Referenced column "nope"'),
        ("select cast('x' as integer) -- orders", "Conversion Error: "),
        ("select error('mine') from shop.totals, crm.customers -- orders", "mine"),
        ("select sum(amount) from shop.orders", "shop.orders is damaged: {path} is unreadable"),
    ],
)
def test_only_an_error_of_files_has_files_looked_at(built: Mesh, query: str, said: str) -> None:
    """Else a wrong column name would make the mesh read every data file of a product."""
    path = file_of(built, "shop.orders", "data")
    with harmed(path, "flipped"):
        done = CliRunner(env={"MESH_ROOT": str(built.root)}).invoke(cli, ["sql", query])
    assert said.format(path=path) in f"{done.output} {done.exception}"
    assert ("is damaged" in said) == ("is damaged" in f"{done.output} {done.exception}")


class Counting:
    """A connection that records its queries."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.asked: list[str] = []

    def execute(self, query: str) -> duckdb.DuckDBPyConnection:
        self.asked.append(query)
        return self._connection.execute(query)


def test_a_manifest_is_read_once_a_process_and_again_when_it_changed(built: Mesh) -> None:
    location = Lake(built.home).state("shop.totals")
    path = file_of(built, "shop.totals", "manifest")
    with connect_memory() as connection:
        check_readable(connection, "shop.totals", location)
        counting = Counting(connection)
        check_readable(counting, "shop.totals", location)
        assert counting.asked == []
        for harm in HARM:
            with harmed(path, harm), pytest.raises(Damaged, match=path.name):
                check_readable(connection, "shop.totals", location)


def test_status_reads_one_file_a_product_in_an_object_store(
    built: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file that is read costs a request."""
    lake = Lake(built.home)
    here = lake.visible()
    there = {relation: f"s3://bucket/{relation}/1.gz.metadata.json" for relation in here}
    of = {there[relation]: Path(plain_path(here[relation])).read_bytes() for relation in here}
    of[there["shop.totals"]] = gzip.compress(b"{")
    asked: list[str] = []
    read_here = storage.read_bytes

    def read(location: str) -> bytes:
        if location not in of:  # a file of the ledger
            return read_here(location)
        asked.append(location)
        return of[location]

    ledger = LakeLedger(Lake(built.home))
    monkeypatch.setattr(storage, "read_bytes", read)
    monkeypatch.setattr(lake, "visible", lambda: there)
    found = product_statuses(built.repository, ledger, lake)
    assert sorted(asked) == sorted(there[relation] for relation in PRODUCTS)
    assert [each.product.relation for each in found if each.damage] == ["shop.totals"]


def test_a_run_of_a_domain_goes_on_beside_damage_of_another(built: Mesh) -> None:
    with harmed(file_of(built, "crm.customers", "metadata"), "deleted"):
        built.run("run", "shop", "--force")
        refused = built.run("run", "crm", "--force", code=1)
        assert "crm.customers" in refused.stdout + refused.stderr


def test_rollback_gets_by_a_metadata_file_that_is_lost(new_mesh: Callable[[], Mesh]) -> None:
    mesh = new_mesh()
    mesh.sell(1)
    mesh.run("land")
    mesh.run("run", "shop")
    mesh.sell(2)
    mesh.run("land")
    mesh.run("run", "shop")
    assert mesh.row("select count(*) from shop.orders") == (2,)
    file_of(mesh, "shop.orders", "metadata").unlink()
    mesh.run("rollback", "shop.orders")
    assert mesh.row("select count(*) from shop.orders") == (1,)
    mesh.run("run", "shop", "--force")
    assert mesh.row("select count(*) from shop.orders") == (2,)


@pytest.mark.parametrize(
    "command", [["sql", "select count(*) as n from shop.orders"], ["status"], ["doctor"]]
)
def test_readers_write_nothing_as_another_user_on_a_full_disk(
    built: Mesh, command: list[str]
) -> None:
    """The user may read every file and write none; no file can grow by a byte."""
    # The capability lets the interpreter read. DuckDB calls access(2), which drops capabilities
    # without the securebit.
    for folder in (built.root, *built.root.parents[:-2]):
        folder.chmod(0o755)
    for path in (built.home, *built.home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    before = {path: path.stat().st_mtime_ns for path in built.home.rglob("*")}
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
            "--securebits=+no_setuid_fixup",
            "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]  # fmt: skip
    done = subprocess.run(
        [*user, *built.command(*command)],
        cwd=built.root,
        env={**built.environment, "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout
    assert {path: path.stat().st_mtime_ns for path in built.home.rglob("*")} == before
