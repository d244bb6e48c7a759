"""The guide to features of dbt works as written: its files and its commands."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.conftest import Mesh
from tests.support.guides import Followed


def test_the_guide_runs_and_publishes(mesh: Mesh, tmp_path: Path):
    mesh.sell(1, customer=1, amount=5)
    mesh.sell(2, customer=3, amount=2)
    mesh.sell(3, customer=2, amount=0.5)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    _, versions, retired = Followed(mesh, scratch, {}).follow("dbt-features.md")
    assert mesh.rows("select * from shop.best_sales order by place") == [
        (1, Decimal("1.00"), "north", 1),
        (2, Decimal("0.40"), None, 2),
    ]
    assert "shop.best_sales_v1" in versions
    assert "shop.best_sales_v2" in versions
    assert "shop.customer_regions" in retired
