"""A rejected event is either rejected, or landed by a replay, or discarded, never two of them."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meshhouse.errors import MeshError, UsageError
from meshhouse.events import EventLog
from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.landing import LakeStore
from meshhouse.landing.land import land
from meshhouse.landing.redrive import discard, redrive
from meshhouse.landing.rejected import (
    Choice,
    count,
    read,
    summaries,
)
from meshhouse.landing.store import LANDED_AT, OFFSETS
from meshhouse.ledger import Conflict
from meshhouse.repository import Column, RawTable
from tests.support import killing

SALE_ID, AMOUNT = Column("sale_id", "bigint", required=True), Column("amount", "decimal(12,2)")
TILL = Column("till", "string")
FIXED = RawTable(
    domain="shop",
    schema="shop_raw",
    name="sales",
    topic="shop.sales",
    columns=(SALE_ID, AMOUNT, TILL),
    description="",
    changelog=False,
    path=Path("domains/shop/models/topics.yml"),
    line=8,
)
STRICT = replace(FIXED, columns=(SALE_ID, AMOUNT, replace(TILL, required=True)))
"""A wrong declaration: the events have no field `till`."""
NO_TILL = "misses the required field `till`"


@dataclass(frozen=True)
class Place:
    """An event log with one topic, and a lake."""

    log: EventLog
    lake: Lake

    def send(self, *values: bytes | None) -> None:
        events = [(str(number).encode(), value, 7, []) for number, value in enumerate(values)]
        self.log.append_events(FIXED.topic, events, "test")

    def sell(self, *numbers: int, **fields) -> None:
        self.send(*(sale(number, **fields) for number in numbers))

    def land(self, raw: RawTable = STRICT) -> None:
        land(self.log, LakeStore(self.lake), raw)

    def select(self, what: str, table: str = "sales") -> list[tuple]:
        with connect_memory() as connection:
            create_views(connection, self.lake.states())
            rows = connection.execute(f"select {what} from shop_raw.{table} order by all")
            return rows.fetchall()

    def ids(self) -> list[int]:
        return [number for (number,) in self.select("sale_id")]

    def reasons(self) -> Counter:
        return Counter(reason for (reason,) in self.select("reason", "sales__rejected"))

    def properties(self) -> dict[str, str]:
        table = self.lake.load(FIXED.relation)
        assert table is not None
        return table.properties

    def problems(self) -> list[str]:
        """Events that are not in exactly one of both tables, by the check of the kill test."""
        return killing.problems(self.lake.warehouse.parent)

    def recorded(self) -> list[tuple]:
        return [
            (entry["kind"], entry["raw_table"], entry["events"], entry["reason"])
            for entry in LakeLedger(self.lake).entries("rejections", "shop")
        ]


def sale(number: int, **fields) -> bytes:
    return json.dumps({"sale_id": number, "amount": 1.25, **fields}).encode()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(EventLog(tmp_path / "events"), Lake(tmp_path))
    made.log.create_topic(FIXED.topic, 2)
    return made


def test_a_replay_after_the_declaration_was_fixed_lands_each_event_once(place):
    place.sell(*range(30))
    place.sell(*range(30, 40), till="a")
    place.send(b"no json", None)
    place.land()
    before, offsets = (
        place.select("_topic_partition, _offset, _timestamp, _key", "sales__rejected"),
        (place.properties()[OFFSETS]),
    )
    assert len(place.ids()) == 10

    done = redrive(place.lake, FIXED)
    assert (done.moved, done.kept) == (30, 2)
    assert place.ids() == list(range(40))
    assert place.reasons() == {
        "is not JSON": 1,
        "has no value (a tombstone), which only a changelog accepts": 1,
    }
    moved = place.select("_topic_partition, _offset, _timestamp, _key", "sales where till is null")
    assert set(moved) < set(before)
    assert place.problems() == []
    assert place.properties()[OFFSETS] == offsets

    states = place.lake.states()
    again = redrive(place.lake, FIXED)
    assert (again.moved, again.kept) == (0, 2)
    assert place.lake.states() == states
    assert place.recorded() == [("replay", "shop_raw.sales", 30, None)]


def test_a_replay_after_a_type_was_fixed_lands_each_event_once(place):
    narrow = replace(FIXED, columns=(SALE_ID, AMOUNT, Column("visits", "integer")))
    place.sell(1, visits=5)
    place.sell(2, 3, visits=5_000_000_000)
    place.sell(4, visits="many")
    place.land(narrow)
    assert len(place.reasons()) == 2
    wide = replace(FIXED, columns=(SALE_ID, AMOUNT, Column("visits", "bigint")))
    done = redrive(place.lake, wide)
    assert (done.moved, done.kept) == (2, 1)
    assert place.select("sale_id, visits") == [(1, 5), (2, 5_000_000_000), (3, 5_000_000_000)]
    assert place.reasons() == {"field `visits`: `many` is not a valid bigint": 1}
    assert redrive(place.lake, wide).moved == 0


def test_what_still_fails_stays_with_todays_reason_and_the_time_it_was_rejected(place):
    place.sell(1, 2)
    place.land()
    landed = place.select("_landed_at, value", "sales__rejected")
    stricter = replace(FIXED, columns=(*FIXED.columns, Column("shop", "string", required=True)))
    done = redrive(place.lake, stricter)
    assert (done.moved, done.kept) == (0, 2)
    assert place.reasons() == {"misses the required field `shop`": 2}
    assert place.select("_landed_at, value", "sales__rejected") == landed
    assert place.recorded() == []


def test_replayed_rows_land_after_all_others_whatever_the_clock_says(place):
    place.sell(1)
    place.sell(2, till="a")
    place.land()
    table = place.lake.load(FIXED.relation)
    assert table is not None
    base = table.metadata_location
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with table.transaction() as transaction:
        transaction.set_properties({LANDED_AT: tomorrow.isoformat()})
    place.lake.commit([place.lake.staged(table, base)])
    redrive(place.lake, FIXED)
    [(replayed,)] = place.select("_landed_at", "sales where sale_id = 1")
    assert replayed > tomorrow
    assert place.properties()[LANDED_AT] == replayed.isoformat()
    place.sell(3, till="a")
    place.land(FIXED)
    [(later,)] = place.select("_landed_at", "sales where sale_id = 3")
    assert later > replayed


def test_only_the_chosen_events_are_replayed(place):
    place.sell(1, 2)
    place.sell(3, amount="abc", till="a")
    place.send(b"no json")
    place.land()
    other = redrive(place.lake, FIXED, Choice(reason="is not "))
    assert (other.moved, other.kept) == (0, 2)
    done = redrive(place.lake, FIXED, Choice(reason="till"))
    assert (done.moved, done.kept) == (2, 0)
    assert place.reasons() == {
        "field `amount`: `abc` is not a valid decimal(12,2)": 1,
        "is not JSON": 1,
    }
    assert place.recorded() == [("replay", "shop_raw.sales", 2, "till")]


def test_many_files_are_replayed_in_several_transactions_each_with_its_ledger_entry(place):
    for number in range(6):
        place.sell(number)
        place.land()
    redrive(place.lake, FIXED, batch_bytes=1)
    assert [events for _, _, events, _ in place.recorded()] == [1] * 6
    assert place.ids() == list(range(6))
    assert len({entry["run_id"] for entry in LakeLedger(place.lake).entries("rejections")}) == 1


@pytest.fixture
def before_commits(monkeypatch):
    """Calls a function before each commit to a table of the domain.

    It runs as if on another machine: it does not wait for a lock.
    """

    def install(happens) -> None:
        commit, busy = Lake.commit, []

        def wrapped(lake, changes, keep=()) -> None:
            changes = list(changes)
            if not busy and any(change.relation.startswith("shop_raw.") for change in changes):
                busy.append(True)
                happens()
                busy.clear()
            commit(lake, changes, keep)

        monkeypatch.setattr(Lake, "commit", wrapped)
        for module in ("redrive", "lake_table"):
            monkeypatch.setattr(
                f"meshhouse.landing.{module}.advisory_lock", lambda path: nullcontext()
            )

    return install


@pytest.mark.parametrize("till", [{}, {"till": "a"}], ids=["rejecting", "landing"])
def test_beside_a_lander_nothing_is_lost_and_nothing_twice(place, before_commits, till):
    place.sell(*range(20))
    place.land()
    more = iter([range(20, 30), range(30, 40)])

    def land_more() -> None:
        for numbers in more:
            place.sell(*numbers, **till)
            place.land()
            return

    before_commits(land_more)
    done = redrive(place.lake, FIXED)
    assert done.moved == 40 if not till else 20
    assert place.ids() == list(range(40))
    assert place.problems() == []
    assert [events for _, _, events, _ in place.recorded()] == [done.moved]


def test_a_lander_that_never_pauses_makes_a_replay_give_up_with_one_line(
    place, before_commits, monkeypatch
):
    for module in ("ledger", "landing.redrive"):
        monkeypatch.setattr(f"meshhouse.{module}.ATTEMPTS", 4)
    place.sell(1)
    place.land()

    def land_one() -> None:
        place.sell(2, till="a")
        place.land()

    before_commits(land_one)
    with pytest.raises(MeshError, match=r"before each of 4 attempts.*changed 0 events") as raised:
        redrive(place.lake, FIXED)
    assert not isinstance(raised.value, Conflict)
    assert place.problems() == []


def test_two_replays_at_once_land_each_event_once(place, before_commits):
    place.sell(*range(10))
    place.land()
    others = []
    before_commits(lambda: others.append(redrive(place.lake, FIXED)) if not others else None)
    done = redrive(place.lake, FIXED)
    assert (others[0].moved, done.moved) == (10, 0)
    assert place.ids() == list(range(10))
    assert place.problems() == []


KILLS = 25
EVENTS = 4_000


def test_a_replay_killed_at_any_time_leaves_every_event_in_exactly_one_table(tmp_path):
    home = tmp_path / "home"
    moments = random.Random(20170101)
    finished(lambda: fill(home))
    started = time.monotonic()
    finished(lambda: replay_in_steps(home))
    longest = 0.4 * (time.monotonic() - started)
    finished(lambda: fill(home))
    kills, sent = 0, 2 * EVENTS
    counts = []
    while kills < KILLS:
        worker = killing.forked(lambda: replay_in_steps(home))
        if ended_within(worker, moments.uniform(0.02, longest)):
            assert os.waitpid(worker, 0)[1] == 0
            longest *= 0.8  # so that kills meet a running replay, also on a fast machine
            finished(lambda: fill(home))
            sent += EVENTS
            continue
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        kills += 1
        problems, (rejected, total), moved = killing.result_of(lambda: looked_at(home), tmp_path)
        assert problems == []
        assert total == sent
        assert moved == total - rejected, "the ledger knows what was moved"
        if counts and rejected == counts[-1]:
            longest *= 1.2
        counts.append(rejected)
    assert len(set(counts)) > 3, "hardly a kill found a replay at work"
    finished(lambda: replay_in_steps(home))
    problems, (rejected, total), _ = killing.result_of(lambda: looked_at(home), tmp_path)
    assert (problems, rejected) == ([], total // 100)


def loose() -> RawTable:
    raw = killing.raw_table()
    return replace(raw, columns=(*raw.columns, TILL))


def fill(home: Path) -> None:
    """Lands new events in small commits, with a declaration that rejects them all."""
    killing.write_events(home, EVENTS)
    log, lake, raw = EventLog(home / "events"), Lake(home), loose()
    strict = replace(raw, columns=(*raw.columns[:-1], replace(TILL, required=True)))
    while land(killing.AFew(log, killing.offsets(lake)), LakeStore(lake), strict).rejected:
        pass


def replay_in_steps(home: Path) -> None:
    redrive(Lake(home), loose(), batch_bytes=1)


def looked_at(home: Path) -> tuple:
    """Problems, numbers of rejected and of all events, and the ledger's number of moved events."""
    lake = Lake(home)
    moved = sum(entry["events"] for entry in LakeLedger(lake).entries("rejections"))
    return killing.problems(home), LakeStore(lake).rejected_share(loose()), moved


def finished(task) -> None:
    assert os.waitpid(killing.forked(task), 0)[1] == 0


def ended_within(worker: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(worker)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def test_discard_removes_just_the_chosen_events(place):
    place.sell(*range(5))
    place.send(b"no json", b"[1]")
    place.land()
    kept = [row for row in place.select("*", "sales__rejected") if row[5] != NO_TILL]
    assert discard(place.lake, FIXED, Choice(reason=NO_TILL)) == 5
    assert place.select("*", "sales__rejected") == kept
    assert place.recorded() == [("discard", "shop_raw.sales", 5, NO_TILL)]
    assert discard(place.lake, FIXED) == 2
    assert place.reasons() == {}
    assert discard(place.lake, FIXED) == 0


def test_discard_leaves_events_that_were_rejected_after_the_user_looked(place):
    place.sell(1, 2)
    place.land()
    events, newest = count(place.lake, FIXED)
    place.sell(3)
    place.land()
    assert events == 2
    assert discard(place.lake, FIXED, Choice(until=newest)) == 2
    assert place.reasons() == {NO_TILL: 1}


def test_a_recreated_topic_has_its_offsets_twice(place):
    place.sell(1, 2, 3)
    place.land()
    place.log.delete_topic(FIXED.topic)
    place.log.create_topic(FIXED.topic, 2)
    place.send(sale(4), b"no json", sale(5))
    land(place.log, LakeStore(place.lake), STRICT, accept=["new-topic"])
    other = replace(FIXED, columns=(*FIXED.columns, Column("shop", "string", required=True)))
    redrive(place.lake, other)  # writes the new reasons into one file
    done = redrive(place.lake, replace(other, columns=(*FIXED.columns, Column("shop", "string"))))
    assert (done.moved, done.kept) == (5, 1)
    assert place.ids() == [1, 2, 3, 4, 5]
    assert place.reasons() == {"is not JSON": 1}


def test_reasons_are_grouped_without_the_values_that_they_quote(place):
    place.sell(1, 2, 3)
    for amount in ("abc", "x` is not a valid y", "two\nlines", '{"deep": ": `1` "}'):
        place.sell(4, amount=amount, till="a")
    place.land()
    [summary] = summaries(place.lake, [FIXED])
    group = "field `amount`: `…` is not a valid decimal(12,2)"
    assert summary.reasons == ((group, 4), (NO_TILL, 3))
    assert summary.events == 7
    # A group is a filter too, for the query and for the change alike.
    assert count(place.lake, FIXED, Choice(reason=group))[0] == 4
    assert len(read(place.lake, FIXED, Choice(reason=group))) == 4
    assert discard(place.lake, FIXED, Choice(reason=group)) == 4
    assert place.reasons() == {NO_TILL: 3}


def test_events_are_read_newest_first_with_the_bytes_that_came(place):
    for value in (b"first", b"\xff\x00", b"last"):
        place.send(value)
        place.land()
    events = read(place.lake, FIXED, limit=2)
    assert [event.value for event in events] == [b"last", b"\xff\x00"]
    assert (events[0].key, events[0].reason) == ("0", "is not JSON")
    assert events[0].timestamp == datetime.fromtimestamp(0.007, UTC)


def test_the_share_counts_what_both_tables_hold_now(place):
    assert LakeStore(place.lake).rejected_share(FIXED) == (0, 0)
    place.sell(1, 2)
    place.sell(3, till="a")
    place.land()
    assert LakeStore(place.lake).rejected_share(FIXED) == (2, 3)
    redrive(place.lake, FIXED)
    assert LakeStore(place.lake).rejected_share(FIXED) == (0, 3)


def test_a_table_that_was_never_landed_is_said_to_be_so(place):
    assert summaries(place.lake, [FIXED])[0].events is None
    for ask in (count, read, redrive):
        with pytest.raises(UsageError, match=r"shop_raw\.sales does not exist.*mesh land shop"):
            ask(place.lake, FIXED)


def test_a_declaration_that_no_longer_fits_the_table_moves_nothing(place):
    place.sell(1)
    place.land()
    with pytest.raises(UsageError, match=r"`amount` .* is no longer declared"):
        redrive(place.lake, replace(FIXED, columns=(SALE_ID,)))
    assert place.reasons() == {NO_TILL: 1}
