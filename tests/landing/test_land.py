"""Landing writes each event once, whatever happens meanwhile."""

from __future__ import annotations

import fcntl
import gc
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from meshhouse.errors import MeshError, UsageError
from meshhouse.events import EventLog
from meshhouse.events.errors import CorruptSegment, UnknownTopic
from meshhouse.events.source import EventBatch, Partition, Topic
from meshhouse.lake import Lake
from meshhouse.landing import LakeStore
from meshhouse.landing.lake_table import commit_lock
from meshhouse.landing.land import land
from meshhouse.landing.store import OFFSETS
from meshhouse.landing.target import Fenced
from meshhouse.repository import Column
from tests.support.landing_place import COLUMNS, RAW, Place, sale, select_from


def land_whatever_comes_between(place: Place, **options) -> None:
    """Lands until it succeeds: if the other lander commits at the same time, this one is fenced."""
    while True:
        try:
            place.land(**options)
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
    first, before = place.land(), place.lake.states()
    second = place.land()
    assert (first.rows, second.rows, second.commits) == (50, 0, 0)
    assert second.total_rows == 50
    assert place.lake.states() == before
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
    land(Interrupting(place.log), LakeStore(place.lake), RAW, commit_bytes=1)
    place.sell(*range(30, 40))
    last = place.land()
    states = place.states()
    assert len(states) > 5
    for state in states:
        table = place.lake.load(RAW.relation, state)
        assert table is not None
        numbered = {int(key): end for key, end in json.loads(table.properties[OFFSETS]).items()}
        held = select_from(
            state, "_topic_partition, max(_offset) + 1, count(*)", "group by _topic_partition"
        )
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
    kept = place.select("_topic_partition, _offset, value, reason", "sales__rejected")
    assert [(value, reason) for _, _, value, reason in sorted(kept, key=lambda row: row[3])] == [
        (None, "has no value (a tombstone), which only a changelog accepts"),
        (b"no json", "is not JSON"),
        (b'{"amount": 1}', "misses the required field `sale_id`"),
    ]
    positions = {row[:2] for row in kept} | set(place.select("_topic_partition, _offset"))
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
    """The event log in small batches, with a function that is called before one of them."""

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
        land(rival, LakeStore(place.lake), RAW)
    assert [number for number in place.ids() if number < 100] == list(range(40))
    assert place.land().commits == 0


def test_a_rival_that_comes_between_two_commits_stops_the_second(place):
    place.sell(*range(40))
    rival = Interrupting(place.log, 8, lambda: land_whatever_comes_between(place))
    commits = []
    with pytest.raises(MeshError, match="Another lander"):
        land(rival, LakeStore(place.lake), RAW, progress=commits.append, commit_bytes=1)
    assert commits
    assert place.ids() == list(range(40))


def test_a_landing_that_fails_half_way_goes_on_where_it_committed(place):
    place.sell(*range(40))

    def fail() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        land(Interrupting(place.log, 10, fail), LakeStore(place.lake), RAW, commit_bytes=1)
    landed = len(place.ids())
    assert 0 < landed < 40
    assert place.land().rows == 40 - landed
    assert place.ids() == list(range(40))


def test_a_recreated_topic_stops_landing_with_an_explanation(place):
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
        land(cut, LakeStore(place.lake), RAW)


def test_a_missing_topic_is_named_beside_those_there_are(place):
    with pytest.raises(UnknownTopic, match=r"no topic `shop\.sale` in .*It holds: shop\.sales"):
        place.land(replace(RAW, topic="shop.sale"))
    assert place.lake.states() == {}


def test_a_damaged_segment_stops_landing_and_says_where(place, tmp_path):
    place.sell(*range(10))
    segment = max((tmp_path / "events").glob("*/*/*.seg"), key=lambda path: path.stat().st_size)
    content = bytearray(segment.read_bytes())
    content[-5] ^= 0xFF
    segment.write_bytes(content)
    with pytest.raises(CorruptSegment, match=rf"{segment} is damaged at byte 0: .*Restore"):
        land(EventLog(tmp_path / "events"), LakeStore(place.lake), RAW)


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
    done = land(Interrupting(place.log), LakeStore(place.lake), RAW, commit_bytes=1)
    assert done.commits > 5
    assert place.ids() == list(range(40))
    table = place.lake.load(RAW.relation)
    assert table is not None
    assert len(table.metadata.snapshots) == done.commits


def test_progress_counts_every_event_once(place):
    place.send(*map(sale, range(25)), b"no json")
    seen: list[int] = []
    land(Interrupting(place.log), LakeStore(place.lake), RAW, seen.append, commit_bytes=1)
    assert sum(seen) == 26


def test_landed_at_grows_with_every_commit_even_if_the_clock_does_not(place, monkeypatch):
    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None) -> datetime:
            return datetime(2020, 1, 1, tzinfo=tz)

    # Through sys.modules, because the package's attribute `land` is the function.
    monkeypatch.setattr(sys.modules["meshhouse.landing.land"], "datetime", Stopped)
    for numbers in (range(20), range(20, 40)):
        place.sell(*numbers)
        land(Interrupting(place.log), LakeStore(place.lake), RAW, commit_bytes=1)
    assert len(place.states()) > 10
    # Incremental models read the rows that landed after their newest row.
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


def test_two_landers_that_both_accept_a_new_topic_land_it_once(place, tmp_path):
    place.sell(0, 1)
    place.land()
    other = EventLog(tmp_path / "other")
    other.create_topic(RAW.topic, 2)
    renewed = Place(other, place.lake)
    renewed.sell(*range(100, 140))
    late = Interrupting(
        other, 2, lambda: land_whatever_comes_between(renewed, accept={"new-topic"})
    )
    with pytest.raises(Fenced):
        land(late, LakeStore(place.lake), RAW, accept={"new-topic"})
    assert place.ids() == [0, 1, *range(100, 140)]
    renewed.sell(140)
    assert renewed.land().rows == 1, "accepted once, it is the topic from then on"


def test_a_partition_that_was_empty_at_first_lost_nothing(place, monkeypatch):
    """Retention emptied the partition before the table was created."""
    describe = place.log.describe

    def emptied(topic: str) -> Topic:
        whole = describe(topic)
        partitions = {**whole.partitions, 2: Partition(500, 500)}
        return Topic(whole.name, whole.cluster_id, whole.topic_id, partitions)

    monkeypatch.setattr(place.log, "describe", emptied)
    place.sell(1)
    place.land()
    place.sell(2)
    assert place.land().rows == 1


@pytest.mark.parametrize(
    "poison",
    [
        b'{"sale_id": 1, "deep": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"sale_id": 1, "deep": ' + b'{"a":' * 3_000 + b"1" + b"}" * 3_000 + b"}",
    ],
    ids=["brackets", "objects"],
)
def test_an_event_deeper_than_any_parser_goes_is_rejected_alone(place, poison):
    place.send(sale(1), poison, sale(2))
    done = place.land()
    assert (done.rows, done.rejected) == (2, 1)
    [(reason, value)] = place.select("reason, value", "sales__rejected")
    assert reason == "is nested deeper than 500"
    assert value == poison


def test_brackets_in_text_are_not_depth(place):
    text = json.dumps({"sale_id": 1, "amount": 1.25, "note": '[{"' * 2_000}).encode()
    place.send(text)
    assert place.land().rows == 1


def test_a_number_longer_than_python_reads_is_kept(place):
    place.send(b'{"sale_id": 1, "amount": 1.25, "long": ' + b"9" * 5_000 + b"}")
    done = place.land()
    assert (done.rows, done.new_fields) == (1, ("long",))


@pytest.mark.parametrize(
    "millis", [1_700_000_000_000_000, 1_700_000_000_000_000_000, 253402300800000]
)
def test_a_time_that_no_date_can_hold_does_not_stop_landing(place, millis):
    class Wrong(Interrupting):
        def read(self, topic, ranges, max_bytes):
            for batch in super().read(topic, ranges, max_bytes):
                index = batch.events.schema.get_field_index("timestamp")
                kind = batch.events.schema.field(index).type
                times = pa.array([millis] * batch.events.num_rows, pa.int64()).cast(kind)
                yield replace(batch, events=batch.events.set_column(index, "timestamp", times))

    place.sell(1)
    assert land(Wrong(place.log), LakeStore(place.lake), RAW).rows == 1
    assert place.select("_timestamp") == [(None,)]


def test_the_number_of_remembered_new_fields_is_limited(place):
    for number in range(3):
        fields = {f"made_up_{number}_{each}": 1 for each in range(400)}
        place.send(json.dumps({"sale_id": number, "amount": 1, **fields}).encode())
        place.land()
    table = place.lake.load(RAW.relation)
    assert len(json.loads(table.properties["meshhouse.new-fields"])) == 500


def test_a_lander_that_is_paused_in_its_turn_does_not_hold_up_the_others(place):
    place.sell(1)
    path = commit_lock(place.lake, RAW)
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        place.land()
        assert place.ids() == [1]
        place.sell(2)
        started = time.monotonic()
        place.land()  # does not wait again for the paused lander's lock
        assert time.monotonic() - started < 4
    assert place.ids() == [1, 2]


def test_a_changelog_is_not_landed_behind_the_rows_of_another_topic(place):
    changelog = replace(RAW, changelog=True)
    place.sell(1)
    place.land(changelog)
    place.log.delete_topic(RAW.topic)
    place.log.create_topic(RAW.topic, 2)
    place.sell(2)
    for accept in [], ["new-topic"]:
        with pytest.raises(MeshError, match=r"another name with `topic: shop\.sales`.*a changelog"):
            place.land(changelog, accept=accept)
    assert place.ids() == [1]


def test_landing_leaves_the_interpreter_as_it_was(place):
    before = gc.get_threshold(), sys.getswitchinterval()
    place.sell(1)
    place.land()
    assert (gc.get_threshold(), sys.getswitchinterval()) == before
