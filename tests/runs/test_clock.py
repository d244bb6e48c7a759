"""A clock that goes back changes no decision: numbers decide, times are for people."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from freezegun import freeze_time
from pyiceberg.table.metadata import TableMetadataV2

from meshhouse.engines.duckdb.engine import DuckDBEngine
from meshhouse.lake import Lake, ownership
from meshhouse.lake.jdbc_catalog import JdbcCatalog
from meshhouse.lake.ledger import NUMBER, LakeLedger
from meshhouse.lake.schema import iceberg_schema
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.landing import LakeStore
from meshhouse.landing.land import land
from meshhouse.ledger import LEDGERS
from meshhouse.maintenance import maintain, maintain_while_landing
from meshhouse.maintenance.expiry import expired_snapshots
from meshhouse.runs.history import effective_publications
from meshhouse.runs.publication import product_history, rollback
from meshhouse.runs.status import age
from tests.support import killing

ORDERS = killing.PRODUCTS[0]
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
BACK = [NOON, NOON - timedelta(hours=3), NOON - timedelta(days=400), NOON - timedelta(days=2)]


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    with freeze_time(moment, ignore=["duckdb", "pyarrow", "_pytest"]):
        yield


def shown(lake: Lake) -> int:
    with closing(connect_memory()) as connection:
        create_views(connection, lake.states())
        [(number,)] = connection.execute("select distinct round from shop.orders").fetchall()
        return number


def publish(home: Path, number: int, moment: datetime) -> None:
    with at(moment):
        killing.publish_round(home, number)


@pytest.mark.parametrize("moments", [BACK, BACK[::-1], [NOON] * 4])
def test_rollback_goes_to_what_was_published_before(tmp_path, moments) -> None:
    lake, ledger = Lake(tmp_path), LakeLedger(Lake(tmp_path))
    engine = DuckDBEngine(killing._Home(tmp_path))
    for number, moment in enumerate(moments):
        publish(tmp_path, number, moment)
    assert shown(lake) == 3
    for number, moment in ((2, moments[1]), (1, moments[0])):
        with at(moment):
            rollback(engine, ledger, ORDERS)
        assert shown(lake) == number
    publish(tmp_path, 4, moments[2])
    with at(moments[1]):
        rollback(engine, ledger, ORDERS)
    assert shown(lake) == 1
    history = product_history(ledger, ORDERS)
    kinds = ["publish"] * 4 + ["rollback"] * 2 + ["publish", "rollback"]
    assert [entry["kind"] for entry in history] == kinds
    assert [entry["number"] for entry in history] == sorted({each["number"] for each in history})
    assert len(effective_publications(history)) == 2


def test_maintenance_keeps_what_can_be_rolled_back_and_goes_on_expiring(tmp_path) -> None:
    lake, ledger = Lake(tmp_path), LakeLedger(Lake(tmp_path))
    engine = DuckDBEngine(killing._Home(tmp_path))
    for number, days in enumerate([0, -400, 3, -1, -2, -3, -4, 1, 0, -9, -10, -11]):
        publish(tmp_path, number, NOON + timedelta(days=days))
    with at(NOON - timedelta(days=500)):
        done = {each.relation: each for each in maintain(lake, retention=timedelta(0))}
    assert done["shop.orders"].snapshots_expired == 2
    for number in range(10, 1, -1):
        with at(NOON - timedelta(days=number)):
            rollback(engine, ledger, ORDERS)
        assert shown(lake) == number


def test_tidying_while_landing_does_not_wait_for_the_clock(tmp_path) -> None:
    from meshhouse.events import event_log

    log, lake, raw = event_log(tmp_path), Lake(tmp_path), killing.raw_table()
    log.create_topic(raw.topic, 1)
    for day in range(30):
        with at(NOON - timedelta(days=day)):
            log.append_events(raw.topic, [(b"1", b'{"sale_id": 1, "amount": 1}', 0, [])], "test")
            land(log, LakeStore(lake), raw)
    with at(NOON - timedelta(days=99)):
        assert maintain_while_landing(lake, raw.relation)
    table = lake.load(raw.relation)
    assert len(table.metadata.snapshots) <= 26
    with closing(connect_memory()) as connection:
        create_views(connection, {raw.relation: lake.state(raw.relation)})
        times = connection.execute(f"select _landed_at from {raw.relation} order by _offset")
        landed = [each for (each,) in times.fetchall()]
    assert landed == sorted(set(landed))


def test_no_table_has_a_history_that_goes_back(tmp_path) -> None:
    """Java's Iceberg refuses a log of snapshots that goes back by more than a minute."""
    for number, moment in enumerate(BACK):
        publish(tmp_path, number, moment)
    lake = Lake(tmp_path)
    for relation in lake.states():
        metadata = lake.load(relation).metadata
        logged = [each.timestamp_ms for each in metadata.snapshot_log]
        assert logged == sorted(logged)
        by_age = sorted(metadata.snapshots, key=lambda each: each.sequence_number)
        assert [each.timestamp_ms for each in by_age] == sorted(
            each.timestamp_ms for each in by_age
        )
        assert metadata.last_updated_ms >= logged[-1]


def test_a_state_replaced_while_the_clock_was_behind_does_not_look_old() -> None:
    """Of tables whose log goes back, written before times were kept in order."""

    def entry(number: int, ago: timedelta) -> dict:
        return {"snapshot-id": number, "timestamp-ms": int((NOON - ago).timestamp() * 1000)}

    day, hour = timedelta(days=1), timedelta(hours=1)
    logged = [entry(1, 3 * day), entry(2, hour), entry(3, 400 * day), entry(4, hour)]
    metadata = TableMetadataV2.model_validate(
        {
            "format-version": 2, "location": "file:///x", "table-uuid": str(uuid4()),
            "last-sequence-number": 4, "last-updated-ms": 0, "last-column-id": 1,
            "schemas": [{"type": "struct", "schema-id": 0, "fields": []}], "current-schema-id": 0,
            "partition-specs": [{"spec-id": 0, "fields": []}], "default-spec-id": 0,
            "last-partition-id": 999, "sort-orders": [{"order-id": 0, "fields": []}],
            "default-sort-order-id": 0, "current-snapshot-id": 4,
            "refs": {"main": {"snapshot-id": 4, "type": "branch"}},
            "snapshots": [
                {**each, "sequence-number": each["snapshot-id"], "manifest-list": "x",
                 "summary": {"operation": "append"}}
                for each in logged
            ],
            "snapshot-log": logged,
        }
    )  # fmt: skip
    assert expired_snapshots(metadata, (), NOON - day) == []
    assert expired_snapshots(metadata, (), NOON - hour) == [1, 2, 3]
    assert expired_snapshots(metadata, (), None, newest=2) == [1, 2]


def without_numbers(lake: Lake, names: list[str], finished: list[datetime]) -> None:
    """A ledger of before numbers were kept, one entry a commit."""
    import pyarrow as pa

    columns = [each for each in LEDGERS["runs"] if each[0] != "number"]
    for name, moment in zip(names, finished, strict=True):
        table = lake.stage("meshhouse.runs", iceberg_schema(columns), writer=ownership.LEDGER)
        base = table.metadata_location or None
        row = {"run_id": name, "domain": "shop", "finished_at": moment, "outcome": "published"}
        with table.transaction() as transaction:
            transaction.append(pa.Table.from_pylist([row], schema=table.schema().as_arrow()))
        lake.commit([lake.staged(table, base)])


def test_a_ledger_without_numbers_is_read_in_the_order_of_its_commits(tmp_path) -> None:
    lake, dice = Lake(tmp_path), random.Random(20170101)
    names = [str(number) for number in range(12)]
    moments = [NOON + timedelta(hours=dice.randrange(-99, 99)) for _ in names]
    without_numbers(lake, names, moments)
    ledger = LakeLedger(lake)
    assert [each["run_id"] for each in ledger.entries("runs")] == names
    ledger.commit([], {"runs": [{"run_id": "new", "domain": "shop", "finished_at": BACK[2]}]})
    maintain(lake, ["meshhouse.runs"])
    ledger.commit([], {"runs": [{"run_id": "other", "domain": "crm", "finished_at": BACK[1]}]})
    assert [each["run_id"] for each in ledger.entries("runs")] == [*names, "new", "other"]
    assert [each["run_id"] for each in ledger.entries("runs", "shop")] == [*names, "new"]
    assert [each["number"] for each in ledger.entries("runs")] == list(range(1, 15))


@pytest.mark.parametrize("is_partly_merged", [False, True])
def test_maintenance_numbers_a_ledger_for_good(tmp_path, is_partly_merged) -> None:
    """Until then every read of it is done twice."""
    lake, names = Lake(tmp_path), [str(number) for number in range(30)]
    without_numbers(lake, names[:20], [NOON] * 20)
    if is_partly_merged:  # by a version that gave no numbers
        maintain(lake, ["meshhouse.runs"])
        without_numbers(lake, names[20:], [NOON] * 10)
    else:
        without_numbers(lake, names[20:], [BACK[2]] * 10)
    ledger = LakeLedger(lake)
    ledger.commit([], {"runs": [{"run_id": "new", "domain": "shop"}]})
    before = ledger.entries("runs")
    maintain(lake, ["meshhouse.runs"])
    kept = lake.load("meshhouse.runs").scan().to_arrow().to_pylist()
    assert [(each["run_id"], each["number"]) for each in sorted(kept, key=by_number)] == [
        *zip(names, range(1, 31), strict=True),
        ("new", 31),
    ]
    assert ledger.entries("runs") == before


def test_rows_in_a_file_that_is_not_merged_keep_their_place(tmp_path) -> None:
    lake, names = Lake(tmp_path), [str(number) for number in range(20)]
    without_numbers(lake, names[:10], [NOON] * 10)
    maintain(lake, ["meshhouse.runs"])
    without_numbers(lake, names[10:], [NOON] * 10)
    ledger = LakeLedger(lake)
    ledger.commit([], {"runs": [{"run_id": "new", "domain": "shop"}]})
    table = lake.load("meshhouse.runs")
    base = table.metadata_location
    sizes = [each.file.file_size_in_bytes for each in table.scan().plan_files()]
    with table.transaction() as transaction:  # the merged file now counts as large
        target = str(max(sizes) * 4 // 3)  # files under three quarters of it are merged
        transaction.set_properties({"write.target-file-size-bytes": target})
    lake.commit([lake.staged(table, base)])
    before = ledger.entries("runs")
    maintain(lake, ["meshhouse.runs"])
    kept = lake.load("meshhouse.runs").scan().to_arrow()
    assert kept["number"].null_count == 20
    assert len([*lake.load("meshhouse.runs").scan().plan_files()]) < len(sizes)
    assert ledger.entries("runs") == before
    assert [each["run_id"] for each in before] == [*names, "new"]


def by_number(row: dict) -> int:
    return row["number"] or 0


def test_numbers_rise_through_all_ledgers_and_with_rivals(tmp_path, monkeypatch) -> None:
    lake = Lake(tmp_path)
    ledger, rivals = LakeLedger(lake), [None, None]
    ledger.commit([], {"runs": [{"domain": "shop"}]})
    ledger.commit(
        [], {"publications": [{"domain": "shop", "product": "orders", "kind": "publish"}]}
    )
    move = JdbcCatalog.move

    def overtaken(catalog: JdbcCatalog, changes: list) -> list:
        if rivals:
            rivals.pop()
            LakeLedger(lake).commit([], {"runs": [{"domain": "rival"}]})
        return move(catalog, changes)

    monkeypatch.setattr(JdbcCatalog, "move", overtaken)
    ledger.commit([], {"runs": [{"domain": "crm"}], "audits": [{"domain": "crm"}]})
    runs = ledger.entries("runs")
    assert [each["domain"] for each in runs] == ["shop", "rival", "rival", "crm"]
    numbers = [each["number"] for each in runs]
    assert numbers == sorted(set(numbers))
    assert min(numbers[1:]) > ledger.entries("publications")[0]["number"]
    table = lake.load("meshhouse.runs")
    assert table.properties[NUMBER] == str(numbers[-1])


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s ago"),
        (-3, "0 s ago"),
        (7200, "2 h ago"),
        (-7200, "2 h ahead"),
        (-90, "2 min ahead"),
    ],
)
def test_a_time_that_is_still_to_come_is_said_to_be(seconds: int, said: str) -> None:
    assert age(NOON - timedelta(seconds=seconds), NOON) == said


def test_status_and_history_follow_the_number(mesh) -> None:
    from click.testing import CliRunner

    from meshhouse.cli.main import cli

    mesh.sell(1, 2)
    mesh.run("land")
    mesh.run("run", "shop")
    mesh.edit("domains/shop/models/products/orders.sql", "select", "select /* 2 */")
    mesh.run("run", "shop", "--force")
    ledger = LakeLedger(Lake(mesh.home))
    runner = CliRunner(env={"MESH_ROOT": str(mesh.root)})
    with at(datetime.now(UTC) - timedelta(days=30)):
        done = runner.invoke(cli, ["rollback", "shop.orders"])
        assert done.exit_code == 0, done.output
    first, second, taken = [
        each for each in ledger.entries("publications") if each["product"] == "orders"
    ]
    assert taken["kind"] == "rollback"
    assert taken["finished_at"] < first["finished_at"] < second["finished_at"]
    history = mesh.history("shop.orders")
    assert [each["kind"] for each in history] == ["rollback", "publish", "publish"]
    assert [each["number"] for each in history] == sorted(
        (each["number"] for each in history), reverse=True
    )
    [status] = [
        each for each in json.loads(mesh.run("status", "--json").stdout)
        if each["product"] == "shop.orders"
    ]  # fmt: skip
    assert status["rolled_back"]
    # The run before the rollback spoke of what was taken back, whatever its time.
    assert datetime.fromisoformat(status["refreshed_at"]) == first["finished_at"]
    # Nothing has changed, so the run leaves it withdrawn; it is not published again.
    assert "withdrawn" in mesh.run("run", "shop").stdout or len(
        mesh.history("shop.orders")) == 3  # fmt: skip
