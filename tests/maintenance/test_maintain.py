"""Maintenance changes how tables are stored, but never their rows."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.table.metadata import TableMetadataV2

from meshhouse.engines.duckdb.engine import DuckDBEngine
from meshhouse.errors import MeshError, UsageError
from meshhouse.events import EventLog
from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.states import SAME_ROWS_AS, snapshot_id
from meshhouse.lake.time_travel import as_of
from meshhouse.lake.views import connect_memory, create_views, plain_path
from meshhouse.landing import LakeStore
from meshhouse.landing.land import land
from meshhouse.locks import lock
from meshhouse.maintenance import Maintained, maintain
from meshhouse.maintenance.compaction import layout
from meshhouse.maintenance.expiry import expired_snapshots, needed_snapshots
from meshhouse.repository import Column
from meshhouse.runs.publication import rollback
from tests.support import killing

RAW = killing.raw_table()
NOW = timedelta(0)
A_WEEK = timedelta(days=7)


class Drips:
    """The event log, read a few events at a time."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def describe(self, topic: str):
        return self._log.describe(topic)

    def read(self, topic: str, ranges, max_bytes: int):
        return self._log.read(topic, ranges, 60)


@dataclass(frozen=True)
class Place:
    """An event log with one topic, and a lake."""

    log: EventLog
    lake: Lake
    home: Path

    def sell(self, *numbers: int) -> None:
        events = [
            (str(number).encode(), json.dumps({"sale_id": number, "amount": 1.25}).encode(), 0, [])
            for number in numbers
        ]
        self.log.append_events(RAW.topic, events, "test")

    def land(self, *numbers: int) -> None:
        self.sell(*numbers)
        land(self.log, LakeStore(self.lake), RAW)

    def drip(self, count: int) -> None:
        """Lands `count` sales in about as many commits."""
        self.sell(*range(count))
        land(Drips(self.log), LakeStore(self.lake), RAW, commit_bytes=1)

    def maintain(self, *relations: str, **options) -> dict[str, Maintained]:
        return {each.relation: each for each in maintain(self.lake, relations, **options)}

    def tidy_at_once(self) -> Maintained:
        """Maintains the raw table as if all its files were old."""
        return self.maintain(RAW.relation, older_than=NOW, retention=NOW)[RAW.relation]

    def rows(self, relation: str = RAW.relation, state: str | None = None) -> list:
        state = plain_path(state or self.lake.states()[relation])
        with connect_memory() as connection:
            scan = f"select * from iceberg_scan('{state}') order by all"
            return connection.execute(scan).fetchall()

    def ids(self) -> list[int]:
        return [row[0] for row in self.rows()]

    def table(self, relation: str = RAW.relation):
        return self.lake.load(relation)

    def files(self, kind: str = "data/*.parquet", relation: str = RAW.relation) -> set[Path]:
        return set((self.lake.warehouse / relation.replace(".", "/")).glob(kind))

    def live_files(self, relation: str = RAW.relation) -> list[Path]:
        """Data files of the current snapshot, oldest rows first."""
        files = layout(self.table(relation)).files
        return [Path(plain_path(file.file_path)) for file in files]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(EventLog(tmp_path / "events"), Lake(tmp_path), tmp_path)
    made.log.create_topic(RAW.topic, 2)
    return made


def make_older(*paths: Path, by: timedelta = A_WEEK) -> None:
    then = (datetime.now(UTC) - by).timestamp()
    for path in paths:
        os.utime(path, (then, then))


def before_commits(monkeypatch, happens: Callable[[int], None]) -> None:
    """Calls a function with the commit's number before each commit of maintenance."""
    commit, busy, number = Lake.commit, [], [0]

    def patched(lake: Lake, changes, keep=()) -> None:
        changes = list(changes)
        if not busy:
            busy.append(True)
            happens(number[0])
            number[0] += 1
            busy.clear()
        commit(lake, changes, keep)

    monkeypatch.setattr(Lake, "commit", patched)


def test_rows_and_properties_stay_and_landing_goes_on_without_doubling(place):
    place.drip(40)
    rows, properties = place.rows(), dict(place.table().properties)
    done = place.tidy_at_once()
    assert (done.files_before > 10, done.files_after) == (True, 1)
    assert done.snapshots_expired > 10
    assert place.rows() == rows
    assert place.table().properties == properties
    place.land(*range(40, 50))
    assert place.ids() == list(range(50))


def test_other_iceberg_readers_see_the_same_rows(place):
    place.drip(30)
    place.tidy_at_once()
    found = duckdb.from_arrow(place.table().scan().to_arrow())
    assert sorted(found.project("sale_id").fetchall()) == [(number,) for number in range(30)]
    summary = place.table().current_snapshot().summary
    assert (summary["total-records"], summary["total-data-files"]) == ("30", "1")


def test_after_two_hundred_small_commits_a_reader_opens_few_files(place, monkeypatch):
    # pyiceberg copies the metadata with all snapshots several times per commit: minutes here.
    monkeypatch.setattr(TableMetadataV2, "__deepcopy__", lambda metadata, memo=None: metadata)
    place.drip(220)
    commits = len(place.table().metadata.snapshots)
    assert commits >= 200
    place.maintain()
    snapshot = place.table().current_snapshot()
    # One with the live files, one with the removed files.
    assert len(snapshot.manifests(place.table().io)) == 2
    assert len(place.live_files()) == 1
    place.land(220)
    assert len(place.table().current_snapshot().manifests(place.table().io)) == 2
    assert place.ids() == list(range(221))


def test_a_compaction_says_that_it_changed_no_row_and_whose_rows_they_are(place):
    place.drip(30)
    before = place.table().current_snapshot().snapshot_id
    place.maintain()
    after = place.table().current_snapshot()
    assert after.summary.operation.value == "replace"
    assert after.summary[SAME_ROWS_AS] == str(before)


def test_a_compacted_table_is_left_alone(place):
    place.drip(30)
    place.maintain()
    states = place.lake.states()
    place.maintain()
    assert place.lake.states() == states


def test_fewer_than_eight_small_files_are_left_alone(place):
    for number in range(7):
        place.land(number)
    assert place.maintain()[RAW.relation].files_after == 7
    place.land(7)
    assert place.maintain()[RAW.relation].files_after == 1


def append(lake: Lake, relation: str, rows: pa.Table, target: int = 128 * 1024 * 1024) -> None:
    from pyiceberg.io.pyarrow import _pyarrow_to_schema_without_ids
    from pyiceberg.schema import assign_fresh_schema_ids

    schema = assign_fresh_schema_ids(_pyarrow_to_schema_without_ids(rows.schema))
    table = lake.stage(relation, schema, {"write.target-file-size-bytes": str(target)})
    base = table.metadata_location or None
    table.append(rows)
    lake.commit([lake.staged(table, base)])


def numbered(start: int, count: int) -> pa.Table:
    return pa.table(
        {
            "number": pa.array(range(start, start + count), pa.int64()),
            "noise": pa.array([os.urandom(64) for _ in range(count)], pa.binary()),
        }
    )


def numbers_in(paths: list[Path]) -> list[int]:
    import pyarrow.parquet as pq

    return [
        number
        for path in paths
        for number in pq.read_table(path, columns=["number"])["number"].to_pylist()
    ]


def test_merged_files_have_the_target_size_but_for_the_newest_and_keep_the_order(place):
    target = 64 * 1024
    for start in range(0, 4_000, 100):
        append(place.lake, "lab.numbers", numbered(start, 100), target)
    place.maintain()
    files = place.live_files("lab.numbers")
    sizes = [path.stat().st_size for path in files]
    assert len(files) == pytest.approx(sum(sizes) / target, abs=1)
    assert all(target * 3 // 4 <= size <= target for size in sizes[:-1])
    assert numbers_in(files) == list(range(4_000))
    for start in range(4_000, 4_800, 100):
        append(place.lake, "lab.numbers", numbered(start, 100))
    place.maintain()
    again = place.live_files("lab.numbers")
    assert again[: len(files) - 1] == files[:-1]  # what is large is not written again
    assert numbers_in(again) == list(range(4_800))


def test_manifests_are_merged_even_if_no_data_file_is_small(place):
    for start in range(0, 2_500, 250):
        append(place.lake, "lab.numbers", numbered(start, 250), 20 * 1024)
    files = place.live_files("lab.numbers")
    place.maintain()
    table = place.table("lab.numbers")
    assert place.live_files("lab.numbers") == files
    assert len(table.current_snapshot().manifests(table.io)) == 1
    assert sorted(numbers_in(files)) == [row[0] for row in place.rows("lab.numbers")]


def test_columns_that_came_later_are_null_in_merged_rows(place):
    place.drip(30)
    wider = replace(RAW, columns=(*RAW.columns, Column("till", "string")))
    place.sell(30)
    land(place.log, LakeStore(place.lake), wider)
    rows = place.rows()
    assert place.maintain()[RAW.relation].files_after == 1
    assert place.rows() == rows


@pytest.mark.parametrize("kept", ["data/lost.parquet", "metadata/lost.avro"])
def test_old_orphans_are_counted_and_removed_and_young_ones_left(place, kept):
    place.drip(5)
    root = place.lake.warehouse / "shop_raw" / "sales"
    old, young = root / kept, root / kept.replace("lost", "young")
    old.write_bytes(b"x" * 100)
    young.write_bytes(b"y")
    every = place.files("*/*")
    make_older(*every - {young})
    done = place.maintain()[RAW.relation]
    assert (done.orphans_removed, done.orphan_bytes) == (1, 100)
    assert place.files("*/*") == every - {old}


def test_old_metadata_files_go_but_for_the_newest_twenty(place):
    place.drip(60)
    make_older(*place.files("metadata/*.json"))
    rows = place.rows()
    place.maintain()
    assert len(place.files("metadata/*.json")) == 20
    assert place.rows() == rows


def test_readers_of_a_replaced_snapshot_can_continue(place):
    place.drip(40)
    pinned, rows = place.lake.states()[RAW.relation], place.rows()
    make_older(*place.files("*/*"))
    # The table did not change for a week, but this reader started just now.
    done = place.maintain(RAW.relation, older_than=timedelta(hours=1))[RAW.relation]
    assert done.files_after == 1
    assert place.rows(state=pinned) == rows


def test_readers_of_an_expired_snapshot_can_continue(place):
    publish(place, 1)
    pinned, rows = place.lake.states()["shop.orders"], place.rows("shop.orders")
    publish(place, 11)
    make_older(*place.files("*/*", "shop.orders"))
    done = place.maintain("shop.orders", older_than=timedelta(hours=1), retention=NOW)
    assert done["shop.orders"].snapshots_expired == 2
    assert place.rows("shop.orders", state=pinned) == rows


def test_a_snapshot_is_as_old_as_its_replacement_not_as_its_writing(place):
    for number in range(3):
        place.land(number)
    metadata = place.table().metadata
    first, second, third = (each.snapshot_id for each in metadata.snapshots)
    now_ms, day_ms = datetime.now(UTC).timestamp() * 1000, 86_400_000
    written = {first: now_ms - 9 * day_ms, second: now_ms - 8 * day_ms, third: now_ms}
    metadata = metadata.model_copy(
        update={
            name: [
                each.model_copy(update={"timestamp_ms": int(written[each.snapshot_id])})
                for each in getattr(metadata, name)
            ]
            for name in ("snapshots", "snapshot_log")
        }
    )
    since = datetime.now(UTC) - timedelta(days=1)
    assert expired_snapshots(metadata, set(), since) == [first]


def test_what_was_replaced_long_ago_takes_no_room(place):
    place.drip(40)
    place.tidy_at_once()
    assert place.files() == set(place.live_files())
    assert len(place.table().metadata.snapshots) == 1


def publish(place: Place, count: int) -> None:
    for number in range(count):
        killing.publish_round(place.home, number)


def shown_rounds(place: Place) -> set:
    with connect_memory() as connection:
        create_views(connection, place.lake.states())
        return set(connection.execute("select distinct round from shop.orders").fetchall())


def test_ten_publications_can_still_be_rolled_back_one_after_another(place):
    publish(place, 12)
    done = place.maintain(older_than=NOW, retention=NOW)
    assert done["shop.orders"].snapshots_expired == 2
    assert shown_rounds(place) == {(11,)}
    engine = DuckDBEngine(killing._Home(place.home))
    for number in range(10, 1, -1):
        rollback(engine, LakeLedger(place.lake), killing.PRODUCTS[0])
        place.maintain(older_than=NOW, retention=NOW)
        assert shown_rounds(place) == {(number,)}
    with pytest.raises(MeshError, match="no longer kept"):
        rollback(engine, LakeLedger(place.lake), killing.PRODUCTS[0])
    assert shown_rounds(place) == {(2,)}


def record_publication_from(place, made_of: int) -> None:
    """Adds a publication to the ledger that was built from a snapshot of the raw table."""
    entry = {
        "domain": "shop", "product": "orders", "kind": "publish", "snapshot_id": 1,
        "input_snapshots": {RAW.relation: made_of}, "finished_at": datetime.now(UTC),
    }  # fmt: skip
    LakeLedger(place.lake).commit([], {"publications": [entry]})


def test_what_a_current_publication_was_made_of_is_kept(place):
    place.drip(20)
    made_of = place.table().current_snapshot().snapshot_id
    record_publication_from(place, made_of)
    rows = place.rows()
    place.land(20)
    place.tidy_at_once()
    kept = place.table().scan(snapshot_id=made_of).to_arrow()
    assert sorted(kept["sale_id"].to_pylist()) == [row[0] for row in rows]


def test_what_holds_the_rows_that_a_publication_was_made_of_is_kept(place, tmp_path):
    place.drip(20)
    place.tidy_at_once()  # the current snapshot has the rows of a snapshot that expired
    made_of = snapshot_id(place.lake.states()[RAW.relation])
    record_publication_from(place, made_of)
    rows = place.rows()
    place.land(20)
    place.tidy_at_once()
    past = as_of(place.lake.states()[RAW.relation], made_of, tmp_path / "pins")
    assert place.rows(state=past) == rows


def test_ledgers_are_maintained_too(place):
    for number in range(8):
        LakeLedger(place.lake).commit([], {"runs": [{"run_id": str(number), "domain": "shop"}]})
    before = run_entries(place)
    done = place.maintain()["meshhouse.runs"]
    assert (done.files_before, done.files_after) == (8, 1)
    assert run_entries(place) == before


def run_entries(place: Place) -> list[dict]:
    return sorted(LakeLedger(place.lake).entries("runs"), key=lambda entry: int(entry["run_id"]))


def test_a_lander_that_commits_first_loses_nothing_and_spares_writing_again(place, monkeypatch):
    place.drip(30)
    before = place.files()
    before_commits(monkeypatch, lambda number: place.land(100) if number == 0 else None)
    done = place.maintain(RAW.relation)[RAW.relation]
    assert place.ids() == [*range(30), 100]
    assert done.files_after == 2
    assert len(place.files() - before) == 2  # the landed file and one merged file
    place.land(*range(101, 105))
    assert place.ids() == [*range(30), *range(100, 105)]
    merged, landed = place.live_files()[:2]
    assert merged.stat().st_size > landed.stat().st_size  # the oldest rows come first


def test_a_compaction_whose_files_another_one_merged_starts_again(place, monkeypatch):
    from meshhouse.maintenance.maintain import tidy

    place.drip(30)

    def rival(number: int) -> None:
        if number == 0:  # in practice, the lock prevents a second maintenance
            tidy(place.lake, RAW.relation, set(), NOW)

    before_commits(monkeypatch, rival)
    place.tidy_at_once()
    assert place.ids() == list(range(30))
    assert place.files() == set(place.live_files())


def test_maintenance_gives_up_and_leaves_nothing_when_others_are_always_quicker(place, monkeypatch):
    place.drip(30)
    before = place.files("*/*")
    before_commits(monkeypatch, lambda number: place.land(100 + number))
    done = place.maintain(RAW.relation)[RAW.relation]
    assert done.gave_up
    assert place.ids() == [*range(30), *range(100, 110)]
    assert place.files() == set(place.live_files())
    landed = 10 * 4  # data file, manifest, manifest list and metadata file of each commit
    assert len(place.files("*/*") - before) == landed


def test_a_refused_expiry_does_not_touch_what_is_shown(place, monkeypatch):
    """An expiry writes no snapshot, so the current snapshot must not be cleaned up after it."""
    place.land(1)
    place.land(2)
    before_commits(monkeypatch, lambda number: place.land(3) if number == 0 else None)
    place.tidy_at_once()
    assert place.ids() == [1, 2, 3]


@pytest.mark.parametrize("name", ["maintain", "shop.run"], ids=["maintenance", "a run"])
def test_maintenance_waits_for(place, name):
    publish(place, 1)
    says: list[str] = []
    waits = threading.Event()

    def say(line: str) -> None:
        says.append(line)
        waits.set()

    worker = threading.Thread(target=lambda: maintain(place.lake, ["shop.orders"], say=say))
    with lock(place.home / "locks" / name):
        worker.start()
        assert waits.wait(60)
        assert worker.is_alive()
    worker.join(60)
    assert not worker.is_alive()
    assert len(says) == 1


def test_an_unknown_table_is_refused_with_the_nearest_name(place):
    place.land(1)
    with pytest.raises(UsageError, match=r"no table `shop_raw\.sale`\. Did you mean shop_raw\.sal"):
        place.maintain("shop_raw.sale")


def test_the_command_prints_what_it_did(mesh):
    for number in range(8):
        mesh.sell(number)
        mesh.run("land", "--quiet")
    done = json.loads(mesh.run("maintain", "shop_raw.sales", "--json").stdout)
    assert [(each["relation"], each["files_after"]) for each in done] == [("shop_raw.sales", 1)]
    assert "meshhouse.landings" in mesh.run("maintain").stdout
    assert mesh.run("maintain", "--quiet").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shop_raw.sale"], "There is no table `shop_raw.sale`."),
        (["--older-than", "soon"], "`soon` is not a duration; write it as 90min, 12h or 3d."),
        (["--older-than", "5min"], "`5min` is less than 1h"),
    ],
)
def test_misuse_is_one_line(mesh, arguments, said):
    refused = mesh.run("maintain", *arguments, code=2)
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_retired_product_keeps_what_a_rollback_needs_after_its_return() -> None:
    entries = [
        {"domain": "shop", "product": "totals", "kind": kind, "number": at, "snapshot_id": at}
        for at, kind in enumerate(["publish"] * 12 + ["retire", "unretire"] * 6 + ["retire"])
    ]
    assert {*range(2, 12)} <= needed_snapshots(entries)["shop.totals"]
