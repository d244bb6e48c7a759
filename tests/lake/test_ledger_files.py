"""The ledger stays short as it grows, and nobody who reads or writes it meanwhile is hurt."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from meshhouse.lake import Lake, ledger_files
from meshhouse.lake.damage import damage_of
from meshhouse.lake.ledger import LakeLedger, _rows
from meshhouse.lake.ledger_readers import keep_reading, reading
from meshhouse.lake.storage import plain_path
from tests.support import killing

RUNS = "meshhouse.runs"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """A lake whose ledger removes files at once, as if each commit came long after the others."""
    monkeypatch.setattr(ledger_files, "GRACE", timedelta(0))
    return Lake(tmp_path)


def record(lake: Lake, first: int, count: int, domain: str = "shop") -> None:
    for number in range(first, first + count):
        run = {"run_id": str(number), "domain": domain, "outcome": "failed", "products": {}}
        LakeLedger(lake).commit([], {"runs": [run]})


def files(lake: Lake, relation: str) -> Counter[str]:
    """Kind -> number of files in the folder of a table."""
    folder = lake.warehouse / relation.replace(".", "/")
    found = [path for path in folder.rglob("*") if path.is_file()]
    return Counter("metadata" if ".metadata." in path.name else path.suffix for path in found)


def in_use(lake: Lake, relation: str) -> tuple[int, int, int]:
    """Snapshots, manifests and data files of a table's current state."""
    table = lake.load(relation)
    assert table is not None
    snapshot = table.current_snapshot()
    manifests = snapshot.manifests(table.io)
    rows = [each for one in manifests for each in one.fetch_manifest_entry(table.io)]
    return len(table.metadata.snapshots), len(manifests), len(rows)


def test_a_hundred_commits_leave_as_many_files_as_thirty(lake: Lake) -> None:
    record(lake, 0, 30)
    early = {relation: files(lake, relation) for relation in (RUNS, "meshhouse.heads")}
    bytes_early = Path(plain_path(lake.state(RUNS) or "")).stat().st_size
    record(lake, 30, 70)
    for relation, before in early.items():
        now = files(lake, relation)
        assert max(now.values()) < 60, relation
        assert sum(now.values()) < 1.5 * sum(before.values()), relation
        assert max(in_use(lake, relation)) <= 16, relation
    assert Path(plain_path(lake.state(RUNS) or "")).stat().st_size < 1.5 * bytes_early
    entries = LakeLedger(lake).entries("runs")
    assert [each["run_id"] for each in entries] == [str(number) for number in range(100)]
    assert sorted({each["number"] for each in entries}) == list(range(1, 101))


def test_a_reader_keeps_the_files_it_began_with(lake: Lake) -> None:
    record(lake, 0, 12)
    with reading(lake):
        location = lake.state(RUNS) or ""
        record(lake, 12, 40)
        assert len(_rows(location)) == 12
    record(lake, 52, 20)
    assert not Path(plain_path(location)).exists()


def test_an_open_connection_keeps_the_ledger_that_it_shows(lake: Lake, tmp_path: Path) -> None:
    record(lake, 0, 12)
    opened, ends = os.pipe()
    told, tells = os.pipe()

    def connection() -> None:
        keep_reading(lake)
        location = lake.state(RUNS) or ""
        os.write(ends, b"1")
        os.read(told, 1)
        assert len(_rows(location)) == 12

    process = killing.forked(connection)
    os.read(opened, 1)
    record(lake, 12, 30)
    os.write(tells, b"1")
    assert os.waitpid(process, 0)[1] == 0
    kept = files(lake, RUNS)
    record(lake, 42, 12)
    assert sum(files(lake, RUNS).values()) < sum(kept.values())


def test_two_processes_record_and_tidy_at_once_and_lose_nothing(lake: Lake) -> None:
    domains = ("shop", "crm")
    workers = [killing.forked(lambda name=name: record(lake, 0, 40, name)) for name in domains]
    assert [os.waitpid(each, 0)[1] for each in workers] == [0, 0]
    entries = LakeLedger(lake).entries("runs")
    assert Counter(each["domain"] for each in entries) == dict.fromkeys(domains, 40)
    damaged = [
        each
        for relation, location in lake.states().items()
        for each in damage_of(relation, location, history=True, deep=True)
    ]
    assert damaged == []
    assert LakeLedger(lake).stale_heads() == []


def test_a_backup_keeps_all_files_of_the_ledger(lake: Lake) -> None:
    from meshhouse.locks import lock

    record(lake, 0, 12)
    before = files(lake, RUNS)
    with lock(lake.locks / "maintain"):
        record(lake, 12, 20)
    assert sum(files(lake, RUNS).values()) > sum(before.values()) + 3 * 20
