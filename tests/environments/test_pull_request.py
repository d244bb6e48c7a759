"""A pull request is tested in a separate environment that holds only what the request changes.

The tests are one story in steps: each step is a fixture that builds on the step before.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshhouse.lake import Lake, snapshot_id
from tests.conftest import Mesh

CUSTOMERS = "domains/crm/models/products/customers.sql"
EVERYTHING = ["crm.customers", "mesh.overview", "shop.orders", "shop.totals"]


@dataclass(frozen=True)
class Checkout:
    """A second clone of the repository, which works in an environment of the same lake."""

    mesh: Mesh
    home: Path
    environment: str = "pr_12"

    def mesh_(self, *arguments: str, code: int = 0):
        variables = {"MESH_HOME": str(self.home), "MESH_ENV": self.environment}
        return self.mesh.run(*arguments, code=code, environment=variables)

    def json(self, *arguments: str):
        return json.loads(self.mesh_(*arguments, "--json").stdout)

    def query(self, sql: str) -> list[dict]:
        return json.loads(self.mesh_("sql", sql, "--format", "json").stdout)

    def status(self) -> dict[str, dict]:
        return {each["product"]: each for each in self.json("status")}


def published(summary: dict) -> list[str]:
    return sorted(each["product"] for each in summary["published"])


def lake_of(mesh: Mesh) -> Lake:
    return Lake(mesh.home)


def everything_of_production(mesh: Mesh) -> tuple:
    """Production's metadata locations, and every file of its folders with its size."""
    files = {
        str(path.relative_to(mesh.home)): path.stat().st_size
        for path in mesh.home.rglob("*")
        if path.is_file()
        and "pr_12" not in str(path.relative_to(mesh.home))
        and not path.name.startswith("catalog.db")
    }
    return lake_of(mesh).pointers(), files


@pytest.fixture(scope="module")
def production(new_mesh) -> Mesh:
    """Everything is published once. Then production lands one more sale, which no run has read."""
    mesh = new_mesh()
    mesh.sell(1, 2, 3, customer=1)
    mesh.sell(4, customer=2)
    mesh.run("run")
    mesh.sell(5, customer=2)
    mesh.run("land")
    return mesh


@pytest.fixture(scope="module")
def clone(production: Mesh, tmp_path_factory) -> Checkout:
    root = tmp_path_factory.mktemp("clone") / "tiny"
    shutil.copytree(production.root, root, ignore=shutil.ignore_patterns(".mesh", "target"))
    return Checkout(Mesh(root), production.home)


@pytest.fixture(scope="module")
def untouched(production: Mesh, clone: Checkout) -> dict:
    """A run in the environment before any change."""
    return {"run": clone.json("run"), "listed": clone.json("env", "list")}


def test_products_that_equal_production_are_not_built(untouched):
    summary = untouched["run"]
    assert (published(summary), summary["failed"], summary["landed"]) == ([], [], [])
    assert sorted(summary["unchanged"]) == EVERYTHING


def test_consumers_see_production_where_the_environment_has_nothing(clone, untouched):
    assert clone.query("select * from shop.totals")[0]["orders"] == 4
    assert {each["environment"] for each in clone.status().values()} == {"production"}
    assert untouched["listed"][0]["products"] == []


@pytest.fixture(scope="module")
def changed(production: Mesh, clone: Checkout, untouched) -> dict:
    """One model of one domain changes, and all domains run."""
    before = everything_of_production(production)
    clone.mesh.edit(CUSTOMERS, "count(*)", "count(*) * 10")
    return {
        "run": clone.json("run"),
        "before": before,
        "after": everything_of_production(production),
    }


def test_only_changed_products_and_their_consumers_are_built(changed):
    assert published(changed["run"]) == ["crm.customers", "mesh.overview"]
    assert sorted(changed["run"]["unchanged"]) == ["shop.orders", "shop.totals"]


def test_the_environments_product_hides_productions(clone, changed):
    rows = clone.query("select c.orders, t.orders as sold from crm.customers c, shop.totals t "
                       "order by customer_id")  # fmt: skip
    assert rows == [{"orders": 30, "sold": 4}, {"orders": 10, "sold": 4}]
    whose = {product: each["environment"] for product, each in clone.status().items()}
    assert whose == {
        "shop.orders": "production",
        "shop.totals": "production",
        "crm.customers": "pr_12",
        "mesh.overview": "pr_12",
    }


def test_downstream_reads_the_environments_product(production, clone, changed):
    [entry] = clone.json("history", "mesh.overview")
    own = snapshot_id(lake_of(production).in_environment("pr_12").pointers()["crm.customers"])
    assert entry["input_snapshots"] == {"crm.customers": own}


def test_production_is_untouched(production, changed):
    assert changed["after"] == changed["before"]
    assert production.rows("select orders from crm.customers order by customer_id") == [(3,), (1,)]
    assert len(production.history("crm.customers")) == 1


def test_every_schema_has_the_prefix_of_the_environment(production, changed):
    stored = {relation.partition(".")[0] for relation in lake_of(production).stored()}
    assert {each for each in stored if "__" in each} == {
        "pr_12__crm", "pr_12__mesh", "pr_12__meshhouse",
    }  # fmt: skip
    import duckdb

    path = production.home / "environments/pr_12/build/crm/work.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        schemas = connection.execute("select distinct schema_name from duckdb_tables()").fetchall()
    assert schemas == [("pr_12__crm_build",)]


def test_the_history_of_an_unpublished_product_is_productions(clone, changed):
    said = clone.mesh_("history", "shop.orders").stderr
    assert "shop.orders was not published in pr_12: these are production's" in said


def test_environments_are_listed_with_what_they_show(production, clone, changed):
    [listed] = json.loads(production.run("env", "list", "--json").stdout)
    assert (listed["name"], listed["rows"], listed["in_use"]) == ("pr_12", 3, False)
    assert listed["products"] == ["crm.customers", "mesh.overview"]
    assert listed["bytes"] > 0
    assert listed["newest_publication"] == clone.status()["mesh.overview"]["published_at"]


@pytest.fixture(scope="module")
def again(clone: Checkout, changed) -> dict:
    return clone.json("run")


def test_nothing_is_built_twice(again):
    assert published(again) == []
    assert sorted(again["unchanged"]) == EVERYTHING


def test_an_environments_own_product_can_be_rolled_back_but_not_productions(clone, again):
    assert (
        "shop.orders was never published" in clone.mesh_("rollback", "shop.orders", code=1).stderr
    )


@pytest.fixture(scope="module")
def landed(production: Mesh, clone: Checkout, again) -> dict:
    """The environment lands events itself, from the start of the topic."""
    before = lake_of(production).pointers()
    clone.mesh_("land")
    assert lake_of(production).pointers() == before
    return clone.json("run")


def test_what_is_landed_in_an_environment_is_built_there(production, clone, landed):
    assert published(landed) == EVERYTHING
    assert clone.query("select orders from shop.totals") == [{"orders": 5}]
    assert production.row("select orders from shop.totals") == (4,)


def test_runs_of_an_environment_with_separate_raw_tables_land(production, clone, landed):
    production.sell(6, customer=2)
    summary = clone.json("run")
    assert [(each["table"], each["rows"]) for each in summary["landed"]] == [("shop_raw.sales", 1)]
    assert clone.query("select orders from shop.totals") == [{"orders": 6}]


@pytest.fixture(scope="module")
def dropped(production: Mesh, clone: Checkout, landed) -> dict:
    before = everything_of_production(production)
    clone.mesh_("env", "drop", "pr_12", "--yes")
    return {"before": before, "after": everything_of_production(production)}


def test_dropping_removes_all_of_the_environment_and_nothing_of_production(
    production, clone, dropped
):
    assert dropped["after"] == dropped["before"]
    assert not [path for path in production.home.rglob("*") if "pr_12" in path.name]
    assert not [path for path in clone.mesh.root.rglob("*") if "pr_12" in path.name]
    assert not [each for each in lake_of(production).stored() if each.startswith("pr_12")]
    assert json.loads(production.run("env", "list", "--json").stdout) == []


def test_a_dropped_environment_is_unknown(production, dropped):
    said = production.run("env", "drop", "pr_12", "--yes", code=2).stderr
    assert said == "mesh: There is no environment `pr_12`. There is none.\n"


def test_production_is_unaffected(production, dropped):
    summary = json.loads(production.run("run", "--json").stdout)
    assert published(summary) == EVERYTHING
    assert production.row("select orders from shop.totals") == (6,)
