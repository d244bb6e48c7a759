"""Environments: their names, what they read from production, and dropping them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from meshhouse.engines import engine
from meshhouse.engines.duckdb.engine import DuckDBEngine
from meshhouse.errors import MeshError, UsageError
from meshhouse.lake import Lake
from meshhouse.lake.time_travel import as_of
from meshhouse.landing import LakeStore, group_of, land_table
from meshhouse.locks import lock, lock_if_free
from meshhouse.maintenance.environments import drop, environments
from meshhouse.repository.environment import environment_name
from meshhouse.runs.outcome import DomainRun
from meshhouse.runs.run import build_models, run_domain
from meshhouse.runs.selection import select, settled
from meshhouse.serve.connection import connect
from tests.conftest import Mesh
from tests.support.kept import Kept

TOTALS = "domains/shop/models/products/totals.sql"
PRODUCTS = ("shop.orders", "shop.totals")
ORDERS = "domains/shop/models/products/orders.sql"


@pytest.fixture
def ana(monkeypatch) -> str:
    """Sets the environment `ana` for the rest of the test, in this process."""
    monkeypatch.setenv("MESH_ENV", "ana")
    return "ana"


def run(mesh: Mesh, domain: str = "shop", environment: str = "", **options) -> DomainRun:
    """Runs a domain in this process, without landing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_ENV", environment)
        repository = mesh.repository
        # Tests edit models as they please; tests/runs/test_gate.py is about what is refused.
        options.setdefault("confirmed", "a test")
        return run_domain(repository, engine(repository), repository.domain(domain), **options)


def land(mesh: Mesh, environment: str = "") -> None:
    lake = Lake(mesh.home, environment=environment)
    for raw in mesh.repository.domain("shop").raw_tables:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MESH_ENV", environment)
            land_table(mesh.repository, LakeStore(lake), raw)


def shown(mesh: Mesh, sql: str, environment: str) -> list[tuple]:
    """The rows that consumers in an environment see."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_ENV", environment)
        return mesh.rows(sql)


def published(done: DomainRun) -> list[str]:
    assert done.ok, done.message
    return sorted(f"{each['domain']}.{each['product']}" for each in done.published)


@pytest.mark.parametrize("name", ["ana", "pr_12", "a", "Feature_7", " ana "])
def test_letters_digits_and_single_underscores_name_an_environment(name):
    assert environment_name(name) == name.strip().lower()


@pytest.mark.parametrize(
    "name", ["12", "_a", "a_", "a__b", "a-b", "pr/12", "a b", "ana;--", "é", "a" * 41, "a\n\nb"]
)
def test_other_names_are_refused_in_one_clear_line(name):
    with pytest.raises(UsageError, match=r"cannot name an environment\. Use letters, digits"):
        environment_name(name)


def test_a_command_in_an_impossible_environment_does_nothing(mesh):
    for name, said in (("a__b", "cannot name an environment"), ("production", "Unset MESH_ENV")):
        done = mesh.run("run", code=2, environment={"MESH_ENV": name})
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not mesh.home.exists()


def test_a_domain_that_could_be_an_environments_is_refused(mesh):
    (mesh.root / "domains/crm").rename(mesh.root / "domains/ana__crm")
    mesh.edit("domains/ana__crm/dbt_project.yml", "name: crm", "name: ana__crm")
    mesh.edit("dependencies.yml", "crm", "ana__crm")
    said = "`ana__crm` cannot name a domain: two underscores separate an environment from a domain"
    assert f"domains/ana__crm/dbt_project.yml:1: {said}" in mesh.run("check", code=1).stdout
    assert said in mesh.run("status").stderr


def test_a_raw_schema_that_could_be_an_environments_is_refused(mesh):
    mesh.edit("domains/shop/models/topics.yml", "schema: shop_raw", "schema: shop__raw")
    said = "raw tables of `shop` must be in the schema `shop_raw`, not in `shop__raw`"
    assert said in mesh.run("check", code=1).stdout


def test_what_a_changed_product_reads_is_built_with_it_where_production_is_late(sold):
    sold.sell(4)
    land(sold)
    sold.edit(TOTALS, "count(*)", "count(no_column)")
    assert run(sold).outcome == "failed"
    sold.edit(TOTALS, "count(no_column)", "count(*) + 100")
    assert published(run(sold, environment="ana")) == list(PRODUCTS)
    assert shown(sold, "select orders from shop.totals", "ana") == [(104,)]


def test_production_is_read_as_its_publications_have_read_it(sold):
    sold.sell(4)
    land(sold)
    sold.edit(TOTALS, "count(*)", "count(*) + 100")
    assert published(run(sold, environment="ana")) == ["shop.totals"]
    assert shown(sold, "select orders from shop.totals", "ana") == [(103,)]
    assert published(run(sold)) == list(PRODUCTS)  # production's clone would have other code
    assert published(run(sold, environment="ana")) == ["shop.totals"]
    assert shown(sold, "select orders from shop.totals", "ana") == [(104,)]


def test_models_that_are_built_alone_read_what_production_has_read(sold, ana):
    sold.sell(4)
    land(sold)
    repository = sold.repository
    shop = repository.domain("shop")
    built = build_models(repository, engine(repository), shop, ["stg_sales", "orders"])
    assert built.ok, built.message
    with duckdb.connect(str(repository.workspace / "build/shop/work.duckdb")) as connection:
        assert connection.execute("select count(*) from ana__shop_build.orders").fetchone() == (3,)


def test_a_fix_is_tried_on_what_production_failed_on(sold):
    sold.sell(4, amount=-1)
    land(sold)
    assert run(sold).outcome == "rejected"
    sold.edit(ORDERS, "cast(amount as", "cast(abs(amount) as")
    assert published(run(sold, environment="ana")) == list(PRODUCTS)
    assert shown(sold, "select count(*), min(amount) > 0 from shop.orders", "ana") == [(4, True)]


def test_what_landing_rejected_for_production_is_shown_but_changed_by_production_alone(sold):
    sold.sell("no number")
    land(sold)
    ana = {"MESH_ENV": "ana"}

    def asked(*arguments: str, **options) -> str:
        return sold.run("rejected", *arguments, **options).stdout

    [shown_here] = json.loads(asked("show", "shop_raw.sales", "--json", environment=ana))
    assert [shown_here] == json.loads(asked("show", "shop_raw.sales", "--json"))
    listed = json.loads(asked("list", "--json", environment=ana))
    assert listed == json.loads(asked("list", "--json"))
    for change in (("replay", "shop_raw.sales"), ("discard", "shop_raw.sales", "--yes")):
        done = sold.run("rejected", *change, code=2, environment=ana)
        assert "production's table, which environment `ana` only reads" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert json.loads(asked("list", "--json")) == listed
    land(sold, "ana")
    assert json.loads(asked("list", "--json", environment=ana))[0]["rejected"] == 1
    asked("discard", "shop_raw.sales", "--yes", environment=ana)
    assert json.loads(asked("list", "--json", environment=ana))[0]["rejected"] == 0
    assert json.loads(asked("list", "--json")) == listed


def test_without_changes_nothing_is_built_even_if_production_fails(sold, ana):
    sold.sell(4, amount=-1)
    land(sold)
    assert run(sold).outcome == "rejected"
    repository = sold.repository
    [done] = settled(repository, engine(repository), select(repository, ["shop"], downstream=False))
    assert [each.relation for each in done.unchanged] == list(PRODUCTS)
    assert done.published == []


def test_an_expired_snapshot_is_replaced_by_the_current_one(sold, tmp_path):
    location = Lake(sold.home).states()["shop_raw.sales"]
    assert as_of(location, 12345, tmp_path) == location
    assert list(tmp_path.glob("*.json")) == []


def test_a_product_that_production_lacks_is_built(sold):
    assert published(run(sold, "crm", environment="ana")) == ["crm.customers"]
    assert "crm.customers" not in Lake(sold.home).states()


def test_a_candidate_is_compared_with_what_production_shows(sold):
    sold.edit(ORDERS, "{{ ref('stg_sales') }}", "{{ ref('stg_sales') }} where sale_id < 3")
    done = run(sold, environment="ana", confirmed="")
    assert "percent of the previous publication: found 66.6667, must be at least 90" in done.message


def test_force_builds_what_did_not_change(sold):
    assert published(run(sold, environment="ana", force=True)) == list(PRODUCTS)


def test_a_failure_in_an_environment_is_reported_only_there(sold):
    sold.edit(TOTALS, "count(*)", "count(no_column)")
    assert run(sold, environment="ana").outcome == "failed"
    here, there = (
        {
            each["product"]: (each["last_run"], each["environment"], each["rows"])
            for each in json.loads(
                sold.run("status", "--json", environment={"MESH_ENV": name}).stdout
            )
        }
        for name in ("ana", "")
    )
    assert here["shop.totals"] == ("failed", "production", 1)
    assert there["shop.totals"] == ("published", "production", 1)


def test_a_run_lands_what_production_has_no_table_or_no_column_for(sold):
    ana = {"MESH_ENV": "ana"}
    columns = "domains/shop/models/topics.yml"
    text = (sold.root / columns).read_text()
    assert "{name: amount," in text
    landed = json.loads(sold.run("run", "shop", "--json", environment=ana).stdout)["landed"]
    assert landed == []
    new = "{name: channel, data_type: string}\n          - {name: amount,"
    sold.edit(columns, "{name: amount,", new)
    landed = json.loads(sold.run("run", "shop", "--json", environment=ana).stdout)["landed"]
    assert [(each["table"], each["rows"]) for each in landed] == [("shop_raw.sales", 3)]
    held = Lake(sold.home).load("shop_raw.sales")
    assert "channel" not in [field.name for field in held.schema().fields]


def test_landers_of_an_environment_share_no_partition_with_productions(mesh):
    [raw] = mesh.repository.domain("shop").raw_tables
    assert group_of(raw, "ana") == "meshhouse.ana__shop_raw.sales"


def test_runs_are_tagged_and_recorded_apart_from_productions(sold):
    import dagster as dg
    from dagster._core.instance import InstanceRef

    sold.edit(TOTALS, "count(*)", "count(*) + 1")
    sold.run("run", "shop", environment={"MESH_ENV": "ana"})
    home = sold.home / "environments" / "ana" / "dagster"
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home))) as instance:
        [done] = instance.get_runs()
        assert done.tags["meshhouse/environment"] == "ana"
        key = dg.AssetKey(["shop", "totals"])
        assert instance.get_latest_materialization_event(key) is not None
    assert not (sold.home / "dagster").exists()


def test_plain_dbt_reads_and_builds_in_the_environment(sold):
    ids = "cast(case when sale_id = 3 then 13 else sale_id end as bigint)"  # 1 is unit-tested
    sold.edit(ORDERS, "cast(sale_id as bigint)", ids)
    assert "shop.orders" in published(run(sold, environment="ana"))
    model = "domains/crm/models/products/customers.sql"
    sold.edit(model, "cast(count(*) as bigint)", "cast(max(order_id) as bigint)")
    for name, orders in (("", 3), ("ana", 13), ("", 3)):
        sold.dbt("crm", "run", environment={"MESH_ENV": name})
        place = sold.home / "environments" / name if name else sold.home
        with duckdb.connect(str(place / "build/crm/work.duckdb"), read_only=True) as connection:
            schema = f"{name}__crm_build" if name else "crm_build"
            assert connection.execute(f"select orders from {schema}.customers").fetchall() == [
                (orders,)
            ]


@pytest.fixture(scope="module")
def tried_once(new_mesh) -> Kept:
    mesh = new_mesh()
    mesh.sell(1, 2, 3)
    land(mesh)
    for name in ("", "ana", "ana_b"):
        assert published(run(mesh, environment=name, force=True)) == list(PRODUCTS)
    return Kept(mesh.root)


@pytest.fixture
def tried(tried_once: Kept) -> Mesh:
    """A mesh in which the environments `ana` and `ana_b` have published the same products."""
    return Mesh(tried_once.restored())


def names(mesh: Mesh) -> list[str]:
    return [each.name for each in environments(mesh.repository, engine(mesh.repository))]


def test_dropping_one_keeps_environments_whose_names_begin_the_same(tried):
    before = Lake(tried.home).in_environment("ana_b").states()
    drop(tried.repository, engine(tried.repository), "ana")
    assert names(tried) == ["ana_b"]
    assert Lake(tried.home).in_environment("ana_b").states() == before
    assert (tried.home / "environments/ana_b/build/shop/work.duckdb").exists()


def test_an_open_connection_does_not_keep_an_environment(tried, monkeypatch):
    monkeypatch.setenv("MESH_ENV", "ana")
    with connect(tried.root) as connection:
        assert connection.sql("select count(*) from shop.totals").fetchone() == (1,)
        monkeypatch.delenv("MESH_ENV")
        tried.run("env", "drop", "ana", "--yes")
    assert names(tried) == ["ana_b"]


def test_a_drop_that_was_stopped_is_finished_by_the_next_one(tried):
    # The states after a kill at each step: no table in the catalog, or no table and no file.
    Lake(tried.home).forget("ana")
    assert "ana" in names(tried)
    for folder in (tried.home / "lake").glob("ana__*"):
        folder.rename(tried.root / folder.name)
    assert "ana" in names(tried)
    tried.run("env", "drop", "ana", "--yes")
    assert names(tried) == ["ana_b"]
    assert not [path for path in tried.home.rglob("*") if path.name.split("__")[0] == "ana"]


def test_production_and_unknown_environments_cannot_be_dropped(sold):
    said = "Production cannot be dropped."
    for name in ("production", "Production", ""):
        assert said in sold.run("env", "drop", name, "--yes", code=2).stderr
    done = sold.run("env", "drop", "nobody", "--yes", code=2)
    assert "There is no environment `nobody`. There is none." in done.stderr
    assert sold.row("select orders from shop.totals") == (3,)


def test_nothing_is_dropped_without_confirmation_or_during_a_run(tried):
    assert "add --yes" in tried.run("env", "drop", "ana", code=2).stderr
    with lock(tried.home / "environments/ana/locks/shop.run"):
        done = tried.run("env", "drop", "ana", "--yes", code=1)
    assert f"Process {os.getpid()} is using the environment ana (shop)" in done.stderr
    assert names(tried) == ["ana", "ana_b"]
    assert set(Lake(tried.home).in_environment("ana").states()) >= set(PRODUCTS)


class During(DuckDBEngine):
    """An engine that runs a function while an environment is being dropped."""

    def __init__(self, mesh: Mesh, happens: Callable[[Path], None]) -> None:
        super().__init__(mesh.repository)
        self._own, self._happens = mesh.home / "environments/ana", happens
        self._own.mkdir(parents=True)

    def drop(self, environment: str) -> None:
        self._happens(self._own)
        super().drop(environment)


def test_a_first_run_of_a_domain_cannot_begin_while_its_environment_is_dropped(mesh):
    holders: list[str] = []

    def begin(own: Path) -> None:
        with lock_if_free(own / "locks/crm.run") as holder:
            holders.append(holder)

    drop(mesh.repository, During(mesh, begin), "ana")
    assert holders == [str(os.getpid())]
    assert not (mesh.home / "environments/ana").exists()


def test_a_file_that_came_during_a_drop_is_reported_in_one_line(mesh):
    def refuse(own: Path) -> None:
        (own / "build").mkdir()
        own.rmdir()

    with pytest.raises(MeshError) as raised:
        drop(mesh.repository, During(mesh, refuse), "ana")
    own = mesh.home / "environments/ana"
    assert str(raised.value) == (
        f"The environment ana was dropped only in part: Directory not empty: {own}. "
        "If another process is using it, wait for its end. Then drop it again."
    )
