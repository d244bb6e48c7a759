"""The guide to features of dbt works as written: its files and its commands."""

from __future__ import annotations

import shlex
from decimal import Decimal

from tests.conftest import Mesh
from tests.support.guides import follow
from tests.support.tiny import ROOT

PAGE = ROOT / "docs" / "guides" / "dbt-features.md"


def test_the_guide_runs_and_publishes(mesh: Mesh):
    mesh.sell(1, customer=1, amount=5)
    mesh.sell(2, customer=3, amount=2)
    mesh.sell(3, customer=2, amount=0.5)
    shown = []
    for command in follow(mesh, PAGE.read_text()):
        name, *arguments = shlex.split(command)
        if name == "rm":
            for file in arguments:
                (mesh.root / file).unlink()
            continue
        done = mesh.run(*arguments, code=None)
        if arguments == ["check"]:
            # The Python model is built in every run, which is said and no fault.
            assert "every run builds" in done.stdout or done.returncode == 0, done.stdout
        else:
            assert done.returncode == 0, (command, done.stdout, done.stderr)
        shown.append(done.stdout)
    assert mesh.rows("select * from shop.best_sales order by place") == [
        (1, Decimal("1.00"), "north", 1),
        (2, Decimal("0.40"), None, 2),
    ]
    status = next(each for each in shown if "shop.best_sales_v2" in each)
    assert "shop.best_sales_v1" in status
    assert "shop.customer_regions" in shown[-1]
