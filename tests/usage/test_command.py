"""`mesh usage` and its guide."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import Mesh
from tests.support.guides import Followed


def test_the_guide(sold, tmp_path):
    printed = Followed(sold, tmp_path, {}).follow("usage-and-cost.md")[0]
    assert "shop.orders: used." in printed
    assert '"finance"' in printed
    subprocess.run(
        [sys.executable, "reports/monthly.py"], cwd=sold.root, env=sold.environment, check=True
    )
    [found] = json.loads(sold.run("usage", "shop.orders", "--json").stdout)
    assert set(found["consumers"]) == {"finance", "monthly report"}
    assert found["columns_90_days"] == {"amount": 2, "order_id": 1}


def test_a_mesh_without_reads_says_so(mesh):
    done = mesh.run("usage")
    assert "not proved" in done.stdout
    assert "never published" in mesh.run("usage", "shop.orders").stdout
    assert json.loads(mesh.run("usage", "--cost", "--json").stdout)["total"] == {
        "bytes": 0, "seconds": 0.0, "credits": None
    }  # fmt: skip


def test_an_unknown_product_is_misuse(mesh):
    assert "no product `nothing`" in mesh.run("usage", "shop.nothing", code=2).stderr


@pytest.mark.parametrize(
    "consumer", ["[bold]x[/bold] :smile:", "\x1b[31mred", "a" * 5000, "Jürgen ☃"]
)
def test_a_hostile_consumer_is_shown_as_text(sold, consumer):
    named = {"MESH_CONSUMER": consumer}
    sold.run("sql", "select count(*) from shop.orders", environment=named)
    shown = sold.run("usage", "shop.orders").stdout
    assert "\x1b" not in shown
    assert consumer.replace("\x1b", "")[:100] in shown


def test_a_backup_keeps_reads(sold, tmp_path):
    sold.run("sql", "select amount from shop.orders")
    sold.run("usage")
    sold.run("sql", "select amount from shop.orders")
    sold.run("backup", str(tmp_path / "backup"))
    other = tmp_path / "other"
    other.mkdir()
    moved = {"MESH_HOME": str(other / "home")}
    sold.run("restore", str(tmp_path / "backup"), environment=moved)
    [found] = json.loads(sold.run("usage", "shop.orders", "--json", environment=moved).stdout)
    assert found["reads_90_days"] == 2


def test_maintenance_folds_lines(sold: Mesh):
    sold.run("sql", "select amount from shop.orders")
    assert not (sold.home / "reads" / "reads.db").exists()
    sold.run("maintain")
    assert (sold.home / "reads" / "reads.db").exists()
