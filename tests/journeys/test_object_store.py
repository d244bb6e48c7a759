"""A mesh whose warehouse is in an object store: landing, runs, queries, rollback, maintenance."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import WARM, Mesh, make_mesh
from tests.support.object_store import Store, running_store


@dataclass(frozen=True)
class InStore(Mesh):
    """A mesh with its warehouse in a bucket."""

    bucket: str

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "MESH_WAREHOUSE": f"s3://{self.bucket}/meshes/tiny"}


@pytest.fixture(scope="module")
def ran(store: Store, tmp_path_factory: pytest.TempPathFactory) -> InStore:
    """A mesh that landed ten sales and published everything."""
    mesh = InStore(make_mesh(tmp_path_factory.mktemp("mesh") / "tiny").root, store.bucket())
    mesh.sell(*range(10))
    mesh.run("run")
    return mesh


def test_consumers_read_what_was_published(ran):
    assert ran.query("select * from mesh.overview") == [{"customers": 1, "spent": "15.00"}]
    assert ran.row("select count(*), sum(amount) from shop.orders") == (10, 15)


def test_every_table_is_in_the_bucket_and_the_catalog_is_not(ran, store):
    tables = {key.split("/")[2] for key in store.keys(ran.bucket, "meshes/tiny/")}
    assert tables == {"crm", "mesh", "meshhouse", "shop", "shop_raw"}
    assert {path.name for path in (ran.home / "lake").rglob("*")} == {
        "catalog.db",
        "identity.json",
    }


@pytest.fixture(scope="module")
def rejected(ran: InStore, store: Store) -> InStore:
    """The same mesh, after a sale that a check refuses."""
    ran.sell(10, amount=-1)
    before = store.keys(ran.bucket, "meshes/tiny/shop/")
    failed = ran.run("run", "shop", code=1)
    assert "No negative amounts" in failed.stderr
    left = store.keys(ran.bucket, "meshes/tiny/shop/") - before
    assert not [key for key in left if key.endswith((".parquet", ".metadata.json"))]
    return ran


def test_a_rejected_candidate_leaves_consumers_what_they_have(rejected):
    assert rejected.row("select count(*), min(amount) from shop.orders") == (10, 1.5)
    assert rejected.row("select orders from shop.totals") == (10,)


@pytest.fixture(scope="module")
def mended(rejected: InStore) -> InStore:
    """The same mesh, after the check was relaxed and the product published."""
    path = "domains/shop/models/products/orders.checks.yml"
    rejected.edit(path, "valid_min: 0", "valid_min: -9")
    rejected.run("waive", "shop.orders", "V4:amount__invalid", "--because", "refunds come back",
                 "--owner", "shop team", "--until", "2099-01-01", "--consent", "crm")  # fmt: skip
    rejected.run("run", "shop")
    return rejected


def test_a_rollback_shows_the_previous_publication(mended):
    assert mended.row("select count(*) from shop.orders") == (11,)
    mended.run("rollback", "shop.orders")
    assert mended.row("select count(*) from shop.orders") == (10,)
    assert [each["kind"] for each in mended.history("shop.orders")] == [
        "rollback", "publish", "publish",
    ]  # fmt: skip


def test_maintenance_leaves_rows_as_they_are(mended):
    done = json.loads(mended.run("maintain", "--json").stdout)
    assert {each["relation"] for each in done} >= {"shop_raw.sales", "shop.orders"}
    assert mended.row("select count(*) from crm.customers") == (1,)
    assert mended.run("run", "shop").returncode == 0


def test_rejected_events_are_listed_and_land_after_a_fix(mended):
    mended.send("shop.sales", [(b"1", b'{"sale_id": "no number"}')])
    mended.run("land")
    [listed] = json.loads(mended.run("rejected", "list", "--json").stdout)
    assert listed["rejected"] == 1
    mended.run("rejected", "discard", "shop_raw.sales", "--yes")
    [listed] = json.loads(mended.run("rejected", "list", "--json").stdout)
    assert listed["rejected"] == 0


def test_no_secret_is_written_anywhere_in_the_mesh(mended):
    from tests.support import object_store

    written = b"".join(path.read_bytes() for path in Path(mended.root).rglob("*") if path.is_file())
    assert b"tiny" in written
    assert object_store.SECRET.encode() not in written
    assert object_store.KEY_ID.encode() not in written


@pytest.mark.parametrize("arguments", [["land"], ["run"], ["status"], ["sql", "select 1"]])
def test_while_the_store_is_away_a_command_is_one_line(ran, arguments):
    done = ran.run(*arguments, code=1, environment={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    [line] = [line for line in done.stderr.splitlines() if line.startswith("mesh: ")]
    assert "The object store at http://127.0.0.1:9 does not answer" in line
    assert "Traceback" not in done.stderr


def test_a_warehouse_that_is_not_a_store_is_a_wrong_request(ran):
    done = ran.run("status", code=2, environment={"MESH_WAREHOUSE": "/data/lake"})
    assert done.stderr.startswith("mesh: MESH_WAREHOUSE does not name a folder of an object store.")


@pytest.mark.parametrize("step", ["auditing", "publishing"])
def test_a_store_that_goes_away_amid_a_run_stops_it_with_nothing_lost(ran, step, tmp_path):
    mesh = InStore(make_mesh(tmp_path / "tiny").root, ran.bucket)
    mesh.sell(*range(10))
    pipe = tmp_path / "errors"
    os.mkfifo(pipe)
    with ExitStack() as store:
        store.enter_context(running_store())  # another server for the same buckets
        process = WARM.start(["run", "shop"], mesh.root, mesh.environment, (tmp_path / "out", pipe))
        text = ""
        with pipe.open() as lines:
            for line in lines:
                text += line
                if line.startswith(step):
                    store.close()
    assert WARM.wait(process, 100) == 1
    assert "failed    shop: The object store at http://127.0.0.1" in text
    assert "Dagster" not in text
    mesh.run("run", "shop")
    assert mesh.row("select count(*), count(distinct order_id) from shop.orders") == (10, 10)
