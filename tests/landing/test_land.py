"""Landing writes each event once, whatever comes between."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from landing_place import COLUMNS, RAW, Place, sale, select_from

from meshhouse.errors import MeshError, UsageError
from meshhouse.events import EventLog
from meshhouse.events.errors import CorruptSegment, UnknownTopic
from meshhouse.events.source import EventBatch, Topic
from meshhouse.lake import Lake
from meshhouse.landing import land
from meshhouse.landing.land import OFFSETS
from meshhouse.landing.target import Fenced
from meshhouse.repository import Column


def land_whatever_comes_between(place: Place) -> None:
    """The other lander's commit may be under way, and then this one is the one to stop."""
    while True:
        try:
            place.land()
        except Fenced:
            continue
        return


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(EventLog(tmp_path / "events"), Lake(tmp_path))
    made.log.create_topic(RAW.topic, 2)
    return made


def test_landing_twice_adds_nothing(place):
    place.sell(*range(50))
    first, before = place.land(), place.lake.pointers()
    second = place.land()
    assert (first.rows, second.rows, second.commits) == (50, 0, 0)
    assert second.total_rows == 50
    assert place.lake.pointers() == before
    assert place.ids() == list(range(50))


def test_only_new_events_are_landed(place):
    place.sell(*range(30))
    place.land()
    place.sell(*range(30, 45))
    assert place.land().rows == 15
    assert place.ids() == list(range(45))


def test_an_empty_topic_makes_an_empty_table_once(place):
    assert place.land().commits == 1
    assert place.ids() == []
    assert place.land().commits == 0


def test_whatever_state_is_shown_its_offsets_are_those_of_its_rows(place):
    place.sell(*range(30))
    land(Interrupting(place.log), place.lake, RAW, commit_bytes=1)
    place.sell(*range(30, 40))
    last = place.land()
    states = place.states()
    assert len(states) > 5
    for state in states:
        table = place.lake.load(RAW.relation, state)
        assert table is not None
        numbered = {int(key): end for key, end in json.loads(table.properties[OFFSETS]).items()}
        held = select_from(state, "_partition, max(_offset) + 1, count(*)", "group by _partition")
        assert {number: end for number, end, _ in held} == {
            number: end for number, end in numbered.items() if end
        }
        assert all(end == rows for _, end, rows in held)
    assert numbered == last.offsets


def test_rejected_events_are_kept_with_position_bytes_and_reason_beside_the_rows(place):
    place.send(sale(1), b"no json", sale(2), b'{"amount": 1}', None)
    done = place.land()
    assert (done.rows, done.rejected) == (2, 3)
    assert place.ids() == [1, 2]
    kept = place.select("_partition, _offset, value, reason", "sales__rejected")
    assert [(value, reason) for _, _, value, reason in sorted(kept, key=lambda row: row[3])] == [
        (None, "has no value (a tombstone); only a changelog may"),
        (b"no json", "is no JSON"),
        (b'{"amount": 1}', "misses the required field `sale_id`"),
    ]
    positions = {row[:2] for row in kept} | set(place.select("_partition, _offset"))
    assert positions == {(n, o) for n, end in done.offsets.items() for o in range(end)}


def test_rows_and_rejections_of_a_commit_are_shown_by_one_transaction(place, monkeypatch):
    shown = []
    commit = Lake.commit
    monkeypatch.setattr(
        Lake,
        "commit",
        lambda lake, changes, keep=(): (
            shown.append(sorted(change.relation for change in changes)),
            commit(lake, changes, keep),
        ),
    )
    place.send(sale(1), b"no json")
    place.land()
    assert shown == [["shop_raw.sales", "shop_raw.sales__rejected"]]


class Interrupting:
    """The event log in small batches, with something that happens before one of them."""

    def __init__(self, log: EventLog, after: int = -1, happens=None) -> None:
        self._log, self._after, self._happens = log, after, happens

    def topics(self) -> list[str]:
        return self._log.topics()

    def describe(self, topic: str) -> Topic:
        return self._log.describe(topic)

    def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]], max_bytes: int
    ) -> Iterator[EventBatch]:
        for number, batch in enumerate(self._log.read(topic, ranges, 60)):
            if number == self._after:
                self._happens()
            yield batch


@pytest.mark.parametrize("new_table", [True, False], ids=["first landing", "later landing"])
def test_a_rival_lander_stops_this_one_and_nothing_is_doubled(place, new_table):
    if not new_table:
        place.sell(*range(100, 110))
        place.land()
    place.sell(*range(40))
    rival = Interrupting(place.log, 2, place.land)
    with pytest.raises(
        MeshError, match=r"(?s)Another lander took over partition .*shop_raw\.sales.*stopped"
    ):
        land(rival, place.lake, RAW)
    assert [number for number in place.ids() if number < 100] == list(range(40))
    assert place.land().commits == 0


def test_a_rival_that_comes_between_two_commits_stops_the_second(place):
    place.sell(*range(40))
    rival = Interrupting(place.log, 8, lambda: land_whatever_comes_between(place))
    commits = []
    with pytest.raises(MeshError, match="Another lander"):
        land(rival, place.lake, RAW, progress=commits.append, commit_bytes=1)
    assert commits
    assert place.ids() == list(range(40))


def test_a_landing_that_fails_half_way_goes_on_where_it_committed(place):
    place.sell(*range(40))

    def fail() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        land(Interrupting(place.log, 10, fail), place.lake, RAW, commit_bytes=1)
    landed = len(place.ids())
    assert 0 < landed < 40
    assert place.land().rows == 40 - landed
    assert place.ids() == list(range(40))


def test_a_topic_made_anew_stops_landing_with_an_explanation(place):
    place.sell(1, 2)
    place.land()
    place.log.delete_topic(RAW.topic)
    place.log.create_topic(RAW.topic, 2)
    place.sell(3, 4, 5)
    with pytest.raises(
        MeshError, match=r"`shop\.sales` was deleted and created again.*--accept new-topic"
    ):
        place.land()
    assert place.ids() == [1, 2]


def test_a_topic_that_lost_events_stops_landing(place, tmp_path):
    place.sell(*range(10))
    place.land()
    for segment in (tmp_path / "events" / RAW.topic).glob("*/*.seg"):
        segment.unlink()
    cut = EventLog(tmp_path / "events")
    with pytest.raises(MeshError, match="the topic lost events"):
        land(cut, place.lake, RAW)


def test_a_missing_topic_is_named_beside_those_there_are(place):
    with pytest.raises(UnknownTopic, match=r"no topic `shop\.sale` in .*It holds: shop\.sales"):
        place.land(replace(RAW, topic="shop.sale"))
    assert place.lake.pointers() == {}


def test_a_damaged_segment_stops_landing_and_says_where(place, tmp_path):
    place.sell(*range(10))
    segment = max((tmp_path / "events").glob("*/*/*.seg"), key=lambda path: path.stat().st_size)
    content = bytearray(segment.read_bytes())
    content[-5] ^= 0xFF
    segment.write_bytes(content)
    with pytest.raises(CorruptSegment, match=rf"{segment} is damaged at byte 0: .*Restore"):
        land(EventLog(tmp_path / "events"), place.lake, RAW)


def test_a_column_that_is_no_longer_declared_is_refused(place):
    place.sell(1)
    place.land()
    with pytest.raises(
        UsageError, match=r"topics\.yml:8: column `amount` .* is no longer declared"
    ):
        place.land(replace(RAW, columns=COLUMNS[:1]))


@pytest.mark.parametrize("data_type", ["decimal(10,2)", "bigint", "string", "decimal(12,3)"])
def test_a_column_whose_type_changed_is_refused(place, data_type):
    place.sell(1)
    place.land()
    columns = (COLUMNS[0], Column("amount", data_type))
    with pytest.raises(UsageError, match=r"`amount` .* holds .*its type cannot become"):
        place.land(replace(RAW, columns=columns))
    assert place.ids() == [1]


def test_an_added_column_is_null_for_what_landed_before(place):
    place.send(b'{"sale_id": 1, "till": "a"}')
    place.land()
    place.send(b'{"sale_id": 2, "till": "b"}')
    place.land(replace(RAW, columns=(*COLUMNS, Column("till", "string"))))
    assert place.select("sale_id, till, _rescued") == [(1, None, '{"till":"a"}'), (2, "b", None)]


def test_small_commits_land_the_same_rows_in_several_snapshots(place):
    place.sell(*range(40))
    done = land(Interrupting(place.log), place.lake, RAW, commit_bytes=1)
    assert done.commits > 5
    assert place.ids() == list(range(40))
    table = place.lake.load(RAW.relation)
    assert table is not None
    assert len(table.metadata.snapshots) == done.commits


def test_progress_counts_every_event_once(place):
    place.send(*map(sale, range(25)), b"no json")
    seen: list[int] = []
    land(Interrupting(place.log), place.lake, RAW, seen.append, commit_bytes=1)
    assert sum(seen) == 26


def test_landed_at_grows_with_every_commit_even_if_the_clock_does_not(place, monkeypatch):
    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None) -> datetime:
            return datetime(2020, 1, 1, tzinfo=tz)

    # Not by its dotted name: the package's `land` is the function.
    monkeypatch.setattr(sys.modules["meshhouse.landing.land"], "datetime", Stopped)
    for numbers in (range(20), range(20, 40)):
        place.sell(*numbers)
        land(Interrupting(place.log), place.lake, RAW, commit_bytes=1)
    assert len(place.states()) > 10
    # Incremental models ask for what landed after the latest that they have.
    latest, known = datetime(1, 1, 1, tzinfo=UTC), 0
    for state in place.states():
        condition = f"count(*) filter (_landed_at > '{latest.isoformat()}')"
        [(new, rows, latest)] = select_from(state, f"{condition}, count(*), max(_landed_at)")
        assert new == rows - known > 0
        known = rows


def test_other_iceberg_readers_see_the_table(place):
    place.sell(1, 2)
    place.land()
    table = place.lake.load(RAW.relation)
    assert table is not None
    assert duckdb.from_arrow(table.scan().to_arrow()).count("*").fetchone() == (2,)
