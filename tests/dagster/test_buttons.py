"""Every button of Dagster's page does what it says, on runs of `mesh run` as well."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WARM, Mesh
from tests.support.kept import Kept

BUTTONS = Path(__file__).with_name("buttons.py")


def press(mesh: Mesh, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Presses buttons one after another; returns what each run did."""
    told = mesh.root / "pressed.json"
    output = mesh.root / "press.out", mesh.root / "press.err"
    arguments = [str(BUTTONS), str(mesh.root), str(told), *map(json.dumps, requests)]
    process = WARM.start(arguments, mesh.root, mesh.environment, output)
    assert WARM.wait(process, 300) == 0, output[1].read_text() + output[0].read_text()
    return json.loads(told.read_text())


@pytest.fixture(scope="module")
def published_once(new_mesh) -> Kept:
    """See `published`."""
    mesh = new_mesh()
    mesh.sell(1, 2, 3)
    mesh.run("run", "shop")
    return Kept(mesh.root)


@pytest.fixture
def published(published_once: Kept) -> Mesh:
    """A mesh in which `mesh run shop` has published three sales."""
    return Mesh(published_once.restored())


@pytest.fixture
def failed(published: Mesh) -> Mesh:
    """A mesh in which `mesh run shop` published, and then had a candidate rejected."""
    published.sell(4, amount=-1.0)
    published.run("run", "shop", code=1)
    return published


def test_a_failed_run_of_mesh_run_is_executed_again_from_the_page(failed):
    failed.edit(
        "domains/shop/models/staging/stg_sales.sql",
        "from {{ source('shop_raw', 'sales') }}",
        "from {{ source('shop_raw', 'sales') }}\nwhere amount >= 0",
    )
    missing, everything = press(failed, {"again": "FROM_FAILURE"}, {"again": "ALL_STEPS"})
    assert (missing["status"], missing["steps"]) == ("SUCCESS", ["shop"])
    assert (everything["status"], everything["steps"]) == ("SUCCESS", ["shop_landing", "shop"])
    assert failed.row("select count(*) from shop.orders") == (3,)
    location = {
        "repositoryName": "__repository__", "repositoryLocationName": "orchestration.definitions"
    }  # fmt: skip
    assert missing["origin"] == location
    # The tags of the first run go with it, so the page says who began.
    assert missing["tags"]["meshhouse/started_by"] == "mesh run"
    assert missing["tags"]["meshhouse/user"] == getpass.getuser()


ALONE = [
    "shop/orders: order_id__duplicate",
    "shop/orders: metric__rows_against_previous",
    "shop/orders: compatibility",
    "shop/orders: promise_refreshed_within_hours",
    "shop/build.stg_sales: not_null_stg_sales_sale_id",
    "shop/build.orders: unit_test_an_order_is_a_sale",
]


def test_a_check_executed_alone_is_evaluated_alone_and_builds_nothing(published):
    [entry] = published.history("shop.orders")
    [done] = press(published, {"checks": ALONE})
    assert (done["failures"], done["status"], done["made"]) == ([], "SUCCESS", {})
    assert {name: each["passed"] for name, each in done["checks"].items()} == dict.fromkeys(
        ALONE, True
    )
    assert done["checks"][ALONE[0]]["checked"].startswith("publication ")
    assert done["checks"][ALONE[0]]["checked"].endswith(", 3 rows")
    assert not any(line.startswith("shop: building") for line in done["said"])
    assert not any("did not yield" in line for line in done["said"])
    assert published.history("shop.orders") == [entry]
    assert published.row("select count(*) from meshhouse.runs where domain = 'shop'") == (1,)


def test_what_cannot_be_evaluated_fails_and_is_not_called_passed(published):
    [done] = press(published, {"checks": ["mesh/overview: customers__duplicate"]})
    assert (done["status"], done["checks"]) == ("FAILURE", {})
    [said] = done["failures"]
    assert "mesh/overview customers__duplicate" in said
    assert "mesh.overview was never published" in said


def test_an_unchanged_product_keeps_its_figures_and_says_why_and_can_be_forced(published):
    mesh = published
    keys = ["shop/build.stg_sales", "shop/build.orders", "shop/orders"]
    force = {"ops": {"shop": {"config": {"force": True}}}}
    look, kept, forced = press(
        mesh, {"look": True}, {"assets": keys}, {"assets": keys, "config": force}
    )
    before, after = look["made"]["shop/orders"], kept["made"]["shop/orders"]
    figures = ("dagster/row_count", "bytes", "score", "snapshot_id", "contract", "publication")
    assert {name: after[name] for name in figures} == {name: before[name] for name in figures}
    assert (before["unchanged"], after["unchanged"]) == (False, True)
    assert after["because"] == "code and inputs are those of the publication"
    built, left = look["made"]["shop/build.orders"], kept["made"]["shop/build.orders"]
    assert built["dagster/row_count"] == left["dagster/row_count"] == 3
    assert (built["unchanged"], left["unchanged"]) == (False, True)
    assert forced["made"]["shop/orders"]["unchanged"] is False
    assert len(mesh.history("shop.orders")) == 2


def test_a_test_that_warned_is_still_a_warning_when_nothing_changed(mesh):
    staging = "domains/shop/models/staging/stg_sales.yml"
    mesh.edit(staging, "data_tests: [not_null]", "data_tests: [not_null, accepted_values: "
              "{arguments: {values: [1]}, config: {severity: warn}}]")  # fmt: skip
    mesh.sell(1, 2, 3)
    mesh.run("run", "shop")
    assets = ["shop/build.stg_sales", "shop/build.orders", "shop/orders"]
    before, after = press(mesh, {"look": True}, {"assets": assets})
    [check] = [name for name in before["checks"] if "accepted_values" in name]
    assert before["checks"][check]["passed"] is False
    assert (after["status"], after["checks"][check]["unchanged"]) == ("SUCCESS", True)
    assert after["checks"][check]["passed"] is False
    assert after["checks"][check]["failures"] == 2
    assert after["checks"]["shop/build.stg_sales: not_null_stg_sales_sale_id"]["passed"] is True


def test_a_forced_run_of_mesh_run_is_forced_again(mesh):
    mesh.sell(1, 2, 3)
    mesh.run("run", "shop", "--force")
    [again] = press(mesh, {"again": "ALL_STEPS"})
    assert again["made"]["shop/orders"]["unchanged"] is False
    assert len(mesh.history("shop.orders")) == 2


def test_a_rejected_candidate_is_kept_apart_from_what_consumers_see(failed):
    check = "shop/orders: amount__invalid"
    run, alone = press(failed, {"look": True}, {"checks": [check]})
    for done in (run, alone):
        found = done["checks"][check]
        assert found["passed"] is False
        assert found["checked"] == "the candidate of 4 rows, which is not published"
        assert found["consumers see"].startswith("publication ")
        assert found["consumers see"].endswith(", 3 rows")
        assert found["published"] is False  # Dagster does not take it for one of the publication
        [row] = found["failing rows"]
        assert row["amount"] in ("-1.00", -1.0)
    # Models that built and passed their tests are made, though the product is not.
    assert {"shop/build.stg_sales", "shop/build.orders"} < set(run["made"])
    assert "shop/orders" not in run["made"]
    assert alone["status"] == "SUCCESS"
    assert failed.row("select count(*) from shop.orders") == (3,)


def test_what_dbt_does_is_shown_while_it_does_it_and_its_artifacts_are_kept(mesh):
    mesh.sell(1, 2, 3)
    keys = ["shop/raw.sales", "shop/build.stg_sales", "shop/build.orders", "shop/build.totals",
            "shop/orders", "shop/totals"]  # fmt: skip
    [done] = press(mesh, {"assets": keys})
    assert done["status"] == "SUCCESS"
    order = done["order"]
    audited = next(at for at, each in enumerate(order) if each.startswith("shop: auditing"))
    first = order.index("shop/build.stg_sales")
    test = order.index("shop/build.stg_sales: not_null_stg_sales_sale_id")
    assert first < test < order.index("shop/build.orders") < audited
    # dbt's own lines are between the events, each beside what it is about.
    assert any("OK created sql" in each for each in order[:audited])
    made = done["made"]["shop/build.orders"]
    assert made["dagster/row_count"] == 3
    assert "stg_sales" in made["compiled SQL"]
    assert "{{" not in made["compiled SQL"]
    logs = Path(done["made"]["shop/orders"]["dbt's log and artifacts"])
    assert logs.is_relative_to(mesh.home / "logs" / "shop")
    assert "model.shop.orders" in (logs / "run_results.json").read_text()
    assert "model.shop.orders" in (logs / "manifest.json").read_text()
    assert "create" in (logs / "dbt.log").read_text()


def test_models_that_were_built_are_made_though_a_test_of_dbt_fails(mesh):
    mesh.sell(1, 2, 3)
    mesh.edit(
        "domains/shop/models/staging/stg_sales.sql",
        "from {{ source('shop_raw', 'sales') }}",
        "from {{ source('shop_raw', 'sales') }}\nunion all select null, null, null, null, null",
    )
    check = "shop/build.stg_sales: not_null_stg_sales_sale_id"
    mesh.run("run", "shop", code=1)
    run, alone = press(mesh, {"look": True}, {"checks": [check]})
    assert set(run["made"]) == {"shop/raw.sales", "shop/build.stg_sales"}
    for done in (run, alone):
        assert (done["checks"][check]["passed"], done["checks"][check]["failures"]) == (False, 1)
        # The query that selects the failing rows.
        assert "where sale_id is null" in done["checks"][check]["compiled SQL"]
