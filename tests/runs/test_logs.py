"""What is kept of dbt's work in each run, and how much of it."""

from __future__ import annotations

import json

from meshhouse.runs.logs import KEPT, new_logs
from tests.conftest import Mesh


def test_runs_with_the_same_manifest_keep_it_once(mesh: Mesh):
    mesh.sell(1)
    mesh.run("run", "shop")
    mesh.run("run", "shop", "--force")
    same = list((mesh.home / "logs" / "shop").glob("*/manifest.json"))
    assert len({each.stat().st_ino for each in same}) == 1 < len(same)
    sql = "domains/shop/models/products/totals.sql"
    mesh.write(sql, (mesh.root / sql).read_text() + "\n-- a comment\n")
    mesh.run("run", "shop")
    every = list((mesh.home / "logs" / "shop").glob("*/manifest.json"))
    [other] = [each for each in every if each not in same]
    found = [("a comment" in each.read_text(), each.stat().st_ino) for each in every]
    assert sorted(has for has, _ in found) == [False, False, True]
    assert json.loads(other.read_text())["nodes"]


def test_the_files_of_the_last_runs_stay(mesh: Mesh):
    folders = [new_logs(mesh.repository, "shop", f"run-{number}") for number in range(KEPT + 3)]
    assert [each.exists() for each in folders] == [False] * 3 + [True] * KEPT
