"""Every button of Dagster's page does what it says, on runs of `mesh run` as well."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WARM, Mesh

BUTTONS = Path(__file__).with_name("buttons.py")


def press(mesh: Mesh, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Presses buttons one after another; returns what each run did."""
    told = mesh.root / "pressed.json"
    output = mesh.root / "press.out", mesh.root / "press.err"
    arguments = [str(BUTTONS), str(mesh.root), str(told), *map(json.dumps, requests)]
    home = {"DAGSTER_HOME": str(mesh.home / "dagster")}
    process = WARM.start(arguments, mesh.root, {**mesh.environment, **home}, output)
    assert WARM.wait(process, 300) == 0, output[1].read_text() + output[0].read_text()
    return json.loads(told.read_text())


@pytest.fixture
def failed(mesh: Mesh) -> Mesh:
    """A mesh in which `mesh run shop` published, and then had a candidate rejected."""
    mesh.sell(1, 2, 3)
    mesh.run("run", "shop")
    mesh.sell(4, amount=-1.0)
    mesh.run("run", "shop", code=1)
    return mesh


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
