"""The ledger of landings agrees with the tables, even after kills."""

from __future__ import annotations

import errno
import os
import random
import signal
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path

import pytest

from meshhouse.lake import Lake
from meshhouse.lake.jdbc_catalog import JdbcCatalog
from meshhouse.lake.ledger import LakeLedger
from meshhouse.landing import LakeStore, lake_store, service
from meshhouse.landing.land import land
from meshhouse.landing.service import land_table, reprocess_table
from meshhouse.landing.unrecorded import UNRECORDED, unrecorded
from meshhouse.ledger import Conflict
from meshhouse.repository import RawTable
from tests.conftest import Mesh, make_mesh
from tests.support import killing

KILLS = 12
EVENTS = 12_000


def raw_of(mesh: Mesh) -> RawTable:
    [raw] = mesh.repository.domain("shop").raw_tables
    return raw


def books(mesh: Mesh) -> dict[str, int]:
    """Numbers of rows and rejected events: in the tables, in the ledger, waiting for the ledger."""
    lake, raw = Lake(mesh.home), raw_of(mesh)
    entries = LakeLedger(lake).entries("landings")
    table = lake.load(raw.relation)
    notes = unrecorded(table.properties) if table else []
    found = {}
    for kind, relation in (("rows", raw.relation), ("rejected", f"{raw.schema}.{raw.rejected}")):
        other = lake.load(relation)
        snapshot = other.current_snapshot() if other else None
        found[f"{kind} held"] = int(snapshot.summary["total-records"]) if snapshot else 0
        found[f"{kind} noted"] = sum(each[kind] for each in notes)
        found[f"{kind} recorded"] = sum(each[kind] for each in entries)
    return found


def agreed(rows: int, rejected: int = 0) -> dict[str, int]:
    return {
        "rows held": rows, "rows noted": 0, "rows recorded": rows,
        "rejected held": rejected, "rejected noted": 0, "rejected recorded": rejected,
    }  # fmt: skip


def land_in_small_commits(mesh: Mesh) -> None:
    service.land = partial(land, commit_bytes=20_000)
    land_table(mesh.repository, LakeStore(Lake(mesh.home)), raw_of(mesh))


def die(*arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_kills_at_random_times_leave_no_row_out_of_the_ledger(tmp_path: Path) -> None:
    mesh, moments = make_mesh(tmp_path / "tiny"), random.Random(20170101)
    os.waitpid(killing.forked(lambda: mesh.sell(*range(EVENTS))), 0)
    kills = 0
    while kills < KILLS:
        lander = killing.forked(lambda: land_in_small_commits(mesh))
        with suppress(ProcessLookupError):
            signal.sigtimedwait([], moments.uniform(0.05, 0.5))
            os.kill(lander, signal.SIGKILL)
        _, status = os.waitpid(lander, 0)
        if os.WIFEXITED(status):
            start = (kills + 1) * EVENTS
            os.waitpid(killing.forked(lambda start=start: mesh.sell(*range(start, start + 500))), 0)
        kills += 1
        found = killing.result_of(lambda: books(mesh), tmp_path)
        for kind in ("rows", "rejected"):
            assert found[f"{kind} held"] == found[f"{kind} noted"] + found[f"{kind} recorded"]
    assert os.waitpid(killing.forked(lambda: land_in_small_commits(mesh)), 0)[1] == 0
    found = killing.result_of(lambda: books(mesh), tmp_path)
    assert found == agreed(found["rows held"])
    assert found["rows held"] >= EVENTS


@pytest.mark.parametrize("moment", ["before the ledger", "before the catalog", "after it"])
def test_the_next_landing_records_what_a_killed_one_landed(tmp_path: Path, moment: str) -> None:
    mesh = make_mesh(tmp_path / "tiny")
    mesh.sell(*range(50))
    mesh.send("shop.sales", [(b"1", b"not json")])

    def killed() -> None:
        if moment == "before the ledger":
            LakeLedger._append = die
        else:
            move, calls = JdbcCatalog.move, []

            def dying(catalog: JdbcCatalog, changes: list) -> list:
                calls.append(changes)
                if any(each.relation == "meshhouse.landings" for each in changes):
                    if moment == "after it":
                        move(catalog, changes)
                    die()
                return move(catalog, changes)

            JdbcCatalog.move = dying
        land_table(mesh.repository, LakeStore(Lake(mesh.home)), raw_of(mesh))

    assert os.WTERMSIG(os.waitpid(killing.forked(killed), 0)[1]) == signal.SIGKILL
    land_table(mesh.repository, LakeStore(Lake(mesh.home)), raw_of(mesh))
    assert books(mesh) == agreed(50, 1)


def test_a_full_disk_between_rows_and_ledger_loses_no_entry(mesh: Mesh, monkeypatch) -> None:
    lake, raw = Lake(mesh.home), raw_of(mesh)
    mesh.sell(1, 2, 3)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(LakeLedger, "_append", full)
        with pytest.raises(OSError, match="No space"):
            land_table(mesh.repository, LakeStore(lake), raw)
    assert books(mesh)["rows noted"] == 3
    mesh.sell(4)
    land_table(mesh.repository, LakeStore(lake), raw)
    assert books(mesh) == agreed(4)
    first, second = LakeLedger(lake).entries("landings")
    assert (first["rows"], second["rows"]) == (3, 1)
    assert sum(first["offsets"].values()) == 3
    assert first["run_id"] != second["run_id"]
    assert first["snapshot_id"] != second["snapshot_id"] is not None


def test_two_that_record_at_once_record_once(mesh: Mesh, monkeypatch) -> None:
    lake, raw = Lake(mesh.home), raw_of(mesh)
    mesh.sell(1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(LakeStore, "record", lambda store, raw: None)
        land_table(mesh.repository, LakeStore(lake), raw)
    move, rivals = JdbcCatalog.move, [None]

    def overtaken(catalog: JdbcCatalog, changes: list) -> list:
        if rivals:
            rivals.pop()
            LakeStore(lake).record(raw)
        return move(catalog, changes)

    monkeypatch.setattr(JdbcCatalog, "move", overtaken)
    monkeypatch.setattr(lake_store, "advisory_lock", lambda path: nullcontext())
    with suppress(Conflict):
        LakeStore(lake).record(raw)
    assert books(mesh) == agreed(2)
    assert UNRECORDED not in lake.load(raw.relation).properties


def test_landing_again_records_what_it_replaced(mesh: Mesh) -> None:
    lake, raw = Lake(mesh.home), raw_of(mesh)
    mesh.sell(1, 2, 3)
    land_table(mesh.repository, LakeStore(lake), raw)
    reprocess_table(mesh.repository, lake, raw, "0")
    entry = LakeLedger(lake).entries("landings")[-1]
    assert (entry["rows"], entry["replaced"], entry["replaced_rejected"]) == (3, 3, 0)
    found = books(mesh)
    assert found["rows held"] == found["rows recorded"] - entry["replaced"] == 3
