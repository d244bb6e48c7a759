"""The embedded event log stores each event once and in order, even if producers are killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from itertools import chain, pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kafka.partitioner import murmur2 as kafkas_murmur2

from meshhouse.errors import MeshError, UsageError
from meshhouse.events.errors import (
    CorruptSegment,
    LogUnavailable,
    OffsetOutOfRange,
    SequenceGap,
    UnknownTopic,
)
from meshhouse.events.log import partition as partition_module
from meshhouse.events.log.log import EventLog
from meshhouse.events.log.partitioner import murmur2, partition_of
from meshhouse.events.source import EVENT_SCHEMA

BYTES = st.none() | st.binary(max_size=40)
HEADERS = st.none() | st.lists(st.tuples(st.text(max_size=8), BYTES), max_size=3)
EVENTS = st.lists(st.tuples(BYTES, BYTES, st.integers(-(2**45), 2**45), HEADERS), max_size=30)
SOME = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def fresh(tmp_path_factory):
    """Makes an empty log with the topic `t`; hypothesis needs one for each example."""

    def make(partitions: int = 1) -> EventLog:
        log = EventLog(tmp_path_factory.mktemp("log"))
        log.create_topic("t", partitions)
        return log

    return make


@pytest.fixture
def log(fresh) -> EventLog:
    return fresh()


def numbered(begin: int, end: int, size: int = 4) -> pa.RecordBatch:
    """Events with their number as value."""
    numbers = range(begin, end)
    return pa.RecordBatch.from_pydict(
        {
            "timestamp": pa.array(numbers, pa.timestamp("ms", tz="UTC")),
            "value": pa.array([str(n).zfill(size).encode() for n in numbers], pa.binary()),
        }
    )


def batches(log: EventLog, topic: str = "t", max_bytes: int = 1 << 20) -> list:
    held = log.describe(topic).partitions
    ranges = {number: (part.begin, part.end) for number, part in held.items()}
    return list(log.read(topic, ranges, max_bytes))


def contents(log: EventLog, topic: str = "t") -> dict[int, list[dict]]:
    held: dict[int, list[dict]] = {number: [] for number in log.describe(topic).partitions}
    for batch in batches(log, topic):
        times = batch.events.column("timestamp").cast(pa.int64())
        held[batch.partition] += batch.events.set_column(1, "timestamp", times).to_pylist()
    return held


def values(log: EventLog, partition: int = 0) -> list[int]:
    return [int(event["value"]) for event in contents(log)[partition]]


def root_of(log: EventLog) -> Path:
    return log._root


def segments(log: EventLog) -> list[Path]:
    return sorted((root_of(log) / "t" / "0").glob("*.seg"))


def reopened(log: EventLog) -> EventLog:
    return EventLog(root_of(log))


@SOME
@given(events=EVENTS, partitions=st.integers(1, 4))
def test_events_come_back_as_they_were_written(fresh, events, partitions):
    log = fresh(partitions)
    assert log.append_events("t", events, "p") == len(events)

    held = contents(reopened(log))

    for number, part in held.items():
        assert [event["offset"] for event in part] == list(range(len(part)))
        keyed = [event for event in part if event["key"] is not None]
        wanted = [
            e for e in events if e[0] is not None and partition_of(e[0], partitions) == number
        ]
        assert [_plain(event) for event in keyed] == wanted
    everything = [_plain(event) for part in held.values() for event in part]
    assert sorted(map(repr, everything)) == sorted(map(repr, events))


def _plain(event: dict) -> tuple:
    headers = event["headers"]
    pairs = headers if headers is None else [(h["key"], h["value"]) for h in headers]
    return event["key"], event["value"], event["timestamp"], pairs


@SOME
@given(
    offers=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 25), st.booleans()), max_size=12)
)
def test_what_a_producer_repeats_is_stored_once(fresh, offers):
    log, stored = fresh(), 0
    for back, count, restart in offers:
        begin = max(stored - back, 0)
        end = begin + count
        new = log.append("t", 0, numbered(begin, end), "p", begin)
        assert new == max(end - stored, 0)
        stored = max(stored, end)
        assert log.next_sequence("t", 0, "p") == stored
        log = reopened(log) if restart else log
    assert values(log) == list(range(stored))


def test_a_gap_in_a_producers_events_is_refused(log):
    log.append("t", 0, numbered(0, 3), "p", 0)
    with pytest.raises(SequenceGap, match=r"number 5 .* only 3 .* Start again from event number 3"):
        log.append("t", 0, numbered(5, 6), "p", 5)
    assert values(log) == [0, 1, 2]


def test_producers_are_counted_apart(log):
    log.append("t", 0, numbered(0, 3), "p", 0)
    log.append("t", 0, numbered(7, 9), "q", 0)
    assert [log.next_sequence("t", 0, name) for name in ("p", "q", "r")] == [3, 2, 0]
    assert log.producer_position("t", 0, "q").last_timestamp == 8
    assert values(log) == [0, 1, 2, 7, 8]


def test_a_frame_torn_at_any_byte_is_not_part_of_the_log(log):
    log.append("t", 0, numbered(0, 2), "p", 0)
    path = segments(log)[0]
    kept = path.stat().st_size
    log.append("t", 0, numbered(2, 5), "p", 2)
    whole = path.read_bytes()
    for size in range(kept, len(whole)):
        path.write_bytes(whole[:size])
        torn = reopened(log)
        assert torn.describe("t").partitions[0].end == 2
        assert values(torn) == [0, 1]
        assert torn.next_sequence("t", 0, "p") == 2
        if size > kept + 40 and size % 5:
            continue  # appending is slow, and only prefixes are critical
        assert torn.append("t", 0, numbered(2, 4), "p", 2) == 2
        assert values(reopened(torn)) == [0, 1, 2, 3]


def test_no_byte_of_a_long_torn_frame_remains_after_a_short_one(log):
    log.append("t", 0, numbered(0, 5_000), "p", 0)
    path = segments(log)[0]
    path.write_bytes(path.read_bytes()[:-1])
    again = reopened(log)
    assert again.append("t", 0, numbered(0, 1), "p", 0) == 1
    assert again.append("t", 0, numbered(1, 2), "p", 1) == 1
    assert values(reopened(log)) == [0, 1]
    assert path.stat().st_size < 4_000


def test_a_reader_follows_when_a_torn_frame_is_replaced(log):
    log.append("t", 0, numbered(0, 2), "p", 0)
    reader = reopened(log)
    path = segments(log)[0]
    path.write_bytes(path.read_bytes() + path.read_bytes()[:50])
    assert values(reader) == [0, 1]
    reopened(log).append("t", 0, numbered(2, 9), "p", 2)
    assert values(reader) == list(range(9))


def test_a_flipped_byte_anywhere_is_reported_with_file_and_position(log):
    log.append("t", 0, numbered(0, 2), "p", 0)
    path = segments(log)[0]
    second = path.stat().st_size
    log.append("t", 0, numbered(2, 5), "p", 2)
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(CorruptSegment) as caught:
            contents(reopened(log))
        assert caught.value.path == path
        assert caught.value.position == (0 if place < second else second)
        assert f"byte {caught.value.position}" in str(caught.value)
        if place >= second and place % 9 == 0:
            with pytest.raises(CorruptSegment):
                reopened(log).append("t", 0, numbered(5, 6), "p", 5)
            assert path.read_bytes() == damaged, "an append must not cut off damage"


def test_the_remedy_in_the_message_repairs_the_log(log):
    log.append("t", 0, numbered(0, 2), "p", 0)
    log.append("t", 0, numbered(2, 5), "p", 2)
    path = segments(log)[0]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptSegment) as caught:
        contents(reopened(log))
    command = str(caught.value).split("`")[1]
    subprocess.run(command, shell=True, check=True)
    mended = reopened(log)
    assert mended.append("t", 0, numbered(0, 5), "p", 0) == 3
    assert values(mended) == list(range(5))


def test_segments_roll_and_the_newest_one_knows_every_producer(log, monkeypatch):
    monkeypatch.setattr(partition_module, "SEGMENT_BYTES", 2_000)
    log.append("t", 0, numbered(0, 1), "early", 0)
    for begin in range(0, 60, 3):
        log.append("t", 0, numbered(begin, begin + 3), "p", begin)
    paths = segments(log)
    assert len(paths) > 5
    assert values(reopened(log)) == [0, *range(60)]
    for path in paths[:-1]:
        path.unlink()
    shortened = reopened(log)
    assert shortened.next_sequence("t", 0, "early") == 1
    assert shortened.next_sequence("t", 0, "p") == 60
    begin = int(paths[-1].stem)
    assert shortened.describe("t").partitions[0].begin == begin
    assert values(shortened) == list(range(begin - 1, 60))
    with pytest.raises(OffsetOutOfRange, match=rf"{begin} to 61"):
        list(shortened.read("t", {0: (0, 61)}, 100))


def test_a_segment_that_lost_its_end_is_reported(log, monkeypatch):
    monkeypatch.setattr(partition_module, "SEGMENT_BYTES", 2_000)
    for begin in range(20):
        log.append("t", 0, numbered(begin, begin + 1), "p", begin)
    first = segments(log)[0]
    whole = first.read_bytes()
    first.write_bytes(whole[:-1])
    with pytest.raises(CorruptSegment, match="incomplete frame is followed"):
        contents(reopened(log))
    first.write_bytes(b"")
    with pytest.raises(CorruptSegment, match="ends before offset 0, the next one begins at"):
        contents(reopened(log))


def test_an_empty_newest_segment_is_written_on(log, monkeypatch):
    """A producer may be killed after it created a segment and before the first frame."""
    log.append("t", 0, numbered(0, 3), "p", 0)
    monkeypatch.setattr(partition_module, "SEGMENT_BYTES", 1)
    (root_of(log) / "t" / "0" / f"{3:020d}.seg").touch()
    again = reopened(log)
    assert again.next_sequence("t", 0, "p") == 3
    again.append("t", 0, numbered(0, 5), "p", 0)
    assert values(reopened(log)) == list(range(5))
    assert len(segments(log)) == 2


@SOME
@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=40),
    max_bytes=st.integers(1, 700),
    parts=st.integers(1, 5),
)
def test_batches_keep_to_max_bytes_and_hold_every_event(fresh, sizes, max_bytes, parts):
    log = fresh()
    events = [(None, bytes(size) if size else None, 0, None) for size in sizes]
    for part in range(parts):
        log.append_events("t", events[part::parts], "p")
    read = [batch.events for batch in batches(log, max_bytes=max_bytes)]
    assert all(batch.schema == EVENT_SCHEMA for batch in read)
    lengths = [[len(value or b"") for value in b.column("value").to_pylist()] for b in read]
    assert all(sum(each) <= max_bytes or len(each) == 1 for each in lengths)
    assert list(chain(*lengths)) == [size for part in range(parts) for size in sizes[part::parts]]
    for one, next_one in pairwise(map(sum, lengths)):
        assert one + next_one > max_bytes or max(one, next_one) >= min(max_bytes, 1 << 20)


def test_any_range_can_be_read(log):
    for begin in range(0, 30, 3):
        log.append("t", 0, numbered(begin, begin + 3), "p", begin)
    for begin in range(31):
        for end in range(begin, 31):
            read = [batch.events for batch in log.read("t", {0: (begin, end)}, 20)]
            offsets = [offset for batch in read for offset in batch.column("offset").to_pylist()]
            assert offsets == list(range(begin, end))


def test_a_large_append_is_cut_into_frames_that_a_reader_can_hold(log):
    big = numbered(0, 50_000, size=300)
    log.append("t", 0, pa.Table.from_batches([big, numbered(50_000, 50_001)]), "p", 0)
    read = [batch.events for batch in batches(log, max_bytes=64 << 20)]
    assert max(batch.nbytes for batch in read) < 8 << 20
    assert sum(batch.num_rows for batch in read) == 50_001


PRODUCER = """
import os, signal, sys
from pathlib import Path

class WithoutPandas:
    # Arrow looks for it at its first Python value: most of this process's time.
    def find_spec(self, name, *_):
        if name == "pandas":
            raise ImportError(name)

sys.meta_path.insert(0, WithoutPandas())
import pyarrow as pa
from meshhouse.errors import MeshError
from meshhouse.events.log import partition
from meshhouse.events.log.log import EventLog

root, producer, dies_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
write, writes = partition.write_at, 0

def write_and_perhaps_die(descriptor, data, position):
    global writes
    writes += 1
    if writes == dies_at:
        os.pwrite(descriptor, data[: len(data) * (dies_at % 7) // 6], position)
        os.kill(os.getpid(), signal.SIGKILL)
    write(descriptor, data, position)

partition.write_at = write_and_perhaps_die
log = EventLog(root)
try:
    for begin in range(0, 180, 3):
        numbers = range(begin, begin + 3)
        events = pa.RecordBatch.from_pydict({
            "timestamp": pa.array(numbers, pa.timestamp("ms", tz="UTC")),
            "value": pa.array([b"%04d" % n for n in numbers]),
        })
        log.append("t", 0, events, producer, begin)
except MeshError as error:
    sys.exit(str(error))
"""


def start(log: EventLog, producer: str, dies_at: int = 0, **options) -> subprocess.Popen:
    """A process that writes the events 0 to 179, three at a time."""
    repository = Path(__file__).parents[3]
    return subprocess.Popen(
        [sys.executable, "-c", PRODUCER, str(root_of(log)), producer, str(dies_at)],
        env={**os.environ, "PYTHONPATH": str(repository)},
        **options,
    )


def test_producers_in_several_processes_lose_and_repeat_no_event(log):
    """Two processes are the same producer: one was started again while the first still runs."""
    names = ("p", "p", "q")
    running = [start(log, name) for name in names]
    reader, seen = reopened(log), 0
    while any(process.poll() is None for process in running):
        end = reader.describe("t").partitions[0].end
        assert end >= seen
        assert sum(batch.events.num_rows for batch in reader.read("t", {0: (seen, end)}, 99)) == (
            end - seen
        )
        seen = end
    assert [process.returncode for process in running] == [0, 0, 0]
    held = values(log)
    assert len(held) == 360
    for number in range(180):
        assert held.count(number) == 2
    assert log.next_sequence("t", 0, "p") == log.next_sequence("t", 0, "q") == 180


def test_a_producer_killed_while_it_writes_continues_without_loss_or_repetition(log):
    """It is killed at its 1st, 10th and 34th frame, with parts of the frame written."""
    for dies_at in (1, 10, 34):
        assert start(log, "p", dies_at).wait() == -signal.SIGKILL
        held = values(reopened(log))
        assert held == list(range(len(held)))
    assert len(held) == 3 * (0 + 9 + 34)
    assert start(log, "p").wait() == 0
    assert values(log) == list(range(180))


def test_threads_share_one_instance(fresh):
    log = fresh(2)
    work = [
        threading.Thread(target=log.append_events, args=("t", [(None, b"1", n, None)] * 20, "p"))
        for n in range(8)
    ]
    for each in work:
        each.start()
    while any(each.is_alive() for each in work):
        contents(log)
    assert sum(len(part) for part in contents(log).values()) == 160


def test_a_full_disk_is_one_line_and_what_was_stored_stays(log):
    """A limit on the size of files simulates a full disk, so a frame is half-written."""
    process = start(
        log,
        "p",
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    _, message = process.communicate()
    assert process.returncode == 1
    assert "Cannot write to" in message
    assert "run the same command again" in message
    assert message.count("\n") == 1
    held = values(reopened(log))
    assert 0 < len(held) < 180
    assert held == list(range(len(held)))
    assert start(log, "p").wait() == 0
    assert values(log) == list(range(180))


def test_a_failed_write_leaves_no_half_frame_behind(log, monkeypatch):
    log.append("t", 0, numbered(0, 3), "p", 0)
    before = segments(log)[0].read_bytes()

    def full(descriptor: int, data: bytes, position: int) -> None:
        os.pwrite(descriptor, data[: len(data) // 2], position)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(partition_module, "write_at", full)
        with pytest.raises(LogUnavailable, match=r"No space left on device\. Make room"):
            log.append("t", 0, numbered(3, 5), "p", 3)
    assert segments(log)[0].read_bytes() == before
    assert log.append("t", 0, numbered(3, 5), "p", 3) == 2
    assert values(log) == list(range(5))


def test_a_folder_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        LogUnavailable, match=r"Cannot create a topic in .*Make the folder writable"
    ):
        EventLog(tmp_path / "file" / "log").create_topic("t")


def test_an_unknown_topic_names_those_that_exist(log, tmp_path):
    for topic in ("s", "../t", "", "cluster.json"):
        with pytest.raises(UnknownTopic, match=r"It holds: t\. Correct the name"):
            log.describe(topic)
    with pytest.raises(UnknownTopic, match="holds no topic yet"):
        EventLog(tmp_path / "nowhere").describe("t")
    assert EventLog(tmp_path / "nowhere").topics() == []


def test_creating_a_topic_twice_changes_nothing_but_other_partitions_are_refused(log):
    log.create_topic("a.b-c_1", 2)
    before = log.describe("a.b-c_1")
    log.create_topic("a.b-c_1", 2)
    assert log.describe("a.b-c_1") == before
    assert log.topics() == ["a.b-c_1", "t"]
    with pytest.raises(UsageError, match="2 partitions and cannot get 3"):
        log.create_topic("a.b-c_1", 3)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", ".a", "~a", "ä", "a" * 250, "lock"])
def test_a_bad_topic_name_is_refused(log, name):
    with pytest.raises(UsageError, match="cannot be the name of a topic"):
        log.create_topic(name)


def test_a_topic_created_again_is_another_topic_also_for_an_open_log(log):
    log.append("t", 0, numbered(0, 5), "p", 0)
    old = log.describe("t")
    other = reopened(log)
    other.delete_topic("t")
    assert log.topics() == []
    other.create_topic("t", 1)
    new = log.describe("t")
    assert new.topic_id != old.topic_id
    assert new.cluster_id == old.cluster_id
    assert new.partitions[0].end == 0
    assert log.next_sequence("t", 0, "p") == 0
    assert sorted(path.name for path in root_of(log).iterdir()) == ["cluster.json", "lock", "t"]


def test_events_of_the_wrong_shape_are_refused_before_anything_is_written(log):
    good = numbered(0, 1)
    for bad, reason in [
        (good.drop_columns("value"), r"missing: \['value'\]"),
        (good.append_column("offset", pa.array([1])), r"unknown: \['offset'\]"),
        (good.set_column(0, "timestamp", pa.nulls(1, pa.timestamp("ms"))), "needs a timestamp"),
        (good.set_column(1, "value", pa.array([1])), "does not convert"),
    ]:
        with pytest.raises(UsageError, match=reason):
            log.append("t", 0, bad, "p", 0)
    with pytest.raises(UsageError, match="no partition 1; it has 1"):
        log.append("t", 1, good, "p", 0)
    assert segments(log) == []


def test_a_damaged_topic_file_is_explained(log):
    (root_of(log) / "t" / "topic.json").write_text("{")
    with pytest.raises(MeshError, match=r"topic\.json is damaged"):
        log.describe("t")


@given(key=st.binary(max_size=70))
def test_keys_are_hashed_as_kafka_does(key):
    assert murmur2(key) == kafkas_murmur2(key)


def test_events_without_a_key_go_round(fresh):
    log = fresh(3)
    for count in (1, 1, 1, 4):
        log.append_events("t", [(None, b"", 0, None)] * count, "p")
    assert [len(part) for part in contents(log).values()] == [3, 2, 2]
