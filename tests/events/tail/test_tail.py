"""`mesh tail` ships each line of a growing file once, through rotations, kills and failures."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import select
import shutil
import signal
import threading
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshhouse.errors import MeshError, UsageError
from meshhouse.events.errors import LogUnavailable
from meshhouse.events.log.log import EventLog
from meshhouse.events.source import SKIPPED, Outgoing
from meshhouse.events.tail.lines import SETTLED_SECONDS
from meshhouse.events.tail.tail import LogProducer, Tailed, tail
from tests.support import killing

TOPIC = "app.lines"
KILLS = 25
LINES = 20_000


class Logs:
    """A log file that programs and logrotate change, and its shipped lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "logs"
        self.folder.mkdir(parents=True)
        self.path = self.folder / "app.log"
        self.home = folder / "home"
        self.log = EventLog(self.home / "events")
        self.said: list[str] = []

    def write(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def _shift(self) -> None:
        """app.log.1 becomes app.log.2, and so on."""
        counts = [int(each.suffix[1:]) for each in self.folder.glob("app.log.*")]
        for count in sorted(counts, reverse=True):
            (self.folder / f"app.log.{count}").rename(self.folder / f"app.log.{count + 1}")

    def rotate(self) -> None:
        """logrotate's `create`."""
        self._shift()
        self.path.rename(self.folder / "app.log.1")
        self.path.touch()

    def copytruncate(self) -> None:
        self._shift()
        shutil.copyfile(self.path, self.folder / "app.log.1")
        os.truncate(self.path, 0)

    def ship(self, sink: object = None, **options) -> Tailed:
        """Ships the present lines, as a separate process would."""
        options = {"once": True, "say": self.said.append, **options}
        sink = sink or LogProducer(EventLog(self.home / "events"))
        return tail(self.path, TOPIC, sink, self.home, **options)

    @property
    def events(self) -> list[dict]:
        held = self.log.describe(TOPIC).partitions
        ranges = {number: (each.begin, each.end) for number, each in held.items()}
        batches = self.log.read(TOPIC, ranges, 1 << 20)
        return [event for batch in batches for event in batch.events.to_pylist()]

    @property
    def shipped(self) -> list[bytes]:
        return [event["value"] for event in self.events]

    @property
    def end(self) -> int:
        return self.log.describe(TOPIC).partitions[0].end

    @property
    def position(self) -> Path:
        [path] = (self.home / "tail").glob("*.json")
        return path


class Running:
    """A tail in a thread of this process, until the block ends."""

    def __init__(self, logs: Logs, sink: object = None, **options) -> None:
        self._told = threading.Event()
        self._failure: BaseException | None = None
        self._options = {"once": False, "stopped": self._told.is_set, **options}
        self._logs, self._sink = logs, sink
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._logs.ship(self._sink, **self._options)
        except BaseException as error:
            self._failure = error

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._told.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._failure:
            raise self._failure


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Waits until a condition is true; fails after `seconds`."""
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        select.select([], [], [], 0.005)
    raise AssertionError("the condition did not become true")


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def numbered(begin: int, end: int) -> bytes:
    return b"".join(b"line %06d\n" % number for number in range(begin, end))


WIDTH = len(numbered(0, 1))


def expected(end: int) -> list[bytes]:
    return numbered(0, end).splitlines()


def test_lines_appear_while_the_file_grows_through_both_kinds_of_rotation(logs):
    logs.write(numbered(0, 3))
    with Running(logs):
        until(lambda: TOPIC in logs.log.topics() and len(logs.shipped) == 3)
        logs.write(numbered(3, 5) + b"line 0000")
        until(lambda: len(logs.shipped) == 5)
        logs.write(b"05\n")
        until(lambda: len(logs.shipped) == 6)
        logs.rotate()
        logs.write(numbered(6, 9))
        until(lambda: len(logs.shipped) == 9)
        logs.copytruncate()
        logs.write(numbered(9, 30))
        until(lambda: len(logs.shipped) == 30)
    assert logs.shipped == expected(30)
    assert logs.said == []


def test_an_event_says_where_its_line_was(logs):
    logs.write(b"one\r\n\ntwo\n")
    assert logs.ship().lines == 3
    logs.rotate()
    logs.write(b"three\n")
    logs.ship()
    assert logs.shipped == [b"one\r", b"", b"two", b"three"]
    headers = [{each["key"]: each["value"] for each in event["headers"]} for event in logs.events]
    assert [each["tail.offset"] for each in headers] == [b"0", b"5", b"6", b"0"]
    assert {each["tail.file"] for each in headers} == {bytes(logs.path)}
    generations = [each["tail.generation"] for each in headers]
    assert generations[0] == generations[1] == generations[2] != generations[3]


def test_lines_of_one_file_keep_their_order_in_a_topic_of_many_partitions(logs):
    logs.write(numbered(0, 2_500))
    logs.ship(partitions=4)
    assert logs.shipped == expected(2_500)
    with pytest.raises(UsageError, match="4 partitions and cannot get 2"):
        logs.ship(partitions=2)


@pytest.mark.parametrize("rotate", [Logs.rotate, Logs.copytruncate])
def test_several_rotations_between_two_runs_are_read_oldest_first(logs, rotate):
    logs.write(numbered(0, 10))
    logs.ship()
    for begin in range(10, 50, 10):
        logs.write(numbered(begin, begin + 10))
        _a_tick_passes(logs.path)
        rotate(logs)
    logs.write(numbered(50, 55))
    logs.ship()
    assert logs.shipped == expected(55)
    assert logs.said == []


@pytest.mark.parametrize("kinds", product([Logs.rotate, Logs.copytruncate], repeat=2))
def test_a_file_that_was_empty_at_the_last_run_is_found_after_any_rotation(logs, kinds):
    logs.path.touch()
    logs.ship()
    _a_tick_passes(logs.path)
    for begin, rotate in zip((0, 4), kinds, strict=True):
        logs.write(numbered(begin, begin + 4))
        _a_tick_passes(logs.path)
        rotate(logs)
    logs.write(numbered(8, 9))
    logs.ship()
    assert logs.shipped == expected(9)


def _a_tick_passes(path: Path) -> None:
    """Waits for the next tick of the file system's clock, which is coarser than these tests."""
    before, probe = path.stat().st_mtime_ns, path.parent.parent / "probe"

    def passed() -> bool:
        probe.write_bytes(b"")
        probe.touch()
        return probe.stat().st_mtime_ns > before

    until(passed)


def test_a_line_without_newline_waits_until_its_file_is_rotated_away_and_left(logs):
    logs.write(b"whole\nhalf")
    logs.ship()
    assert logs.shipped == [b"whole"]
    logs.rotate()
    logs.ship()
    assert logs.shipped == [b"whole"], "its program may still write to the old file"
    with (logs.folder / "app.log.1").open("ab") as file:
        file.write(b" and half")
    logs.write(b"new\n")
    logs.ship()
    assert logs.shipped == [b"whole", b"half and half", b"new"]


def test_a_rotated_file_without_recent_writes_is_complete(logs):
    logs.write(b"half")
    logs.ship()
    logs.rotate()
    rotated = logs.folder / "app.log.1"
    earlier = rotated.stat().st_mtime - SETTLED_SECONDS - 1
    os.utime(rotated, (earlier, earlier))
    logs.ship()
    assert logs.shipped == [b"half"]


def test_a_file_that_is_renamed_to_any_name_is_read_to_its_end(logs):
    logs.write(numbered(0, 4))
    logs.ship()
    logs.write(numbered(4, 8))
    logs.path.rename(logs.folder / "put away")
    logs.write(numbered(8, 9))
    logs.ship()
    assert logs.shipped == expected(9)


def test_a_truncated_file_is_read_from_its_start_and_reported_once(logs):
    logs.write(numbered(0, 4))
    with Running(logs):
        until(lambda: TOPIC in logs.log.topics() and len(logs.shipped) == 4)
        os.truncate(logs.path, 0)
        until(lambda: len(logs.said) == 1)
        logs.write(numbered(4, 5))
        until(lambda: len(logs.shipped) == 5)
    assert logs.shipped == expected(5)
    [line] = logs.said
    assert f"{logs.path} was truncated or replaced" in line
    assert "after byte 48" in line


def test_another_file_that_got_the_same_inode_is_another_file(logs):
    logs.write(numbered(0, 2))
    logs.ship()
    inode = logs.path.stat().st_ino
    # Overwritten in place: the same inode, longer than the shipped part, other first bytes.
    logs.path.write_bytes(numbered(2, 9))
    assert logs.path.stat().st_ino == inode
    logs.ship()
    assert logs.shipped == expected(9)


def test_from_end_skips_present_lines_but_not_an_incomplete_one(logs):
    logs.write(b"old\nbeg")
    logs.ship(from_end=True)
    logs.write(b"un\nnew\n")
    logs.ship(from_end=True)
    assert logs.shipped == [b"begun", b"new"]


def test_a_long_line_is_shipped_whole(logs):
    long = [
        bytes([65 + number]) * size for number, size in enumerate((3 << 20, 1 << 20, 5, 9 << 20))
    ]
    logs.write(b"\n".join(long) + b"\n")
    logs.ship()
    assert logs.shipped == long


class Small(LogProducer):
    max_event_bytes = 300


def test_a_line_longer_than_an_event_is_skipped_with_a_notice_of_its_place(logs):
    logs.write(b"first\n" + b"x" * 300 + b"\n" + b"y" * 301 + b"\nlast\n")
    assert (logs.ship(Small(logs.log)).lines, logs.shipped[:2]) == (3, [b"first", b"x" * 300])
    notice, last = logs.shipped[2:]
    assert last == b"last"
    assert notice.startswith(SKIPPED + b"the line at bytes 307 to 609 of ")
    assert b"is longer than the 300 bytes" in notice
    assert notice.endswith(b"y")
    assert len(notice) <= Small.max_event_bytes
    assert len(logs.said) == 1
    assert {each["key"]: each["value"] for each in logs.events[2]["headers"]} == {
        "tail.file": os.fsencode(logs.path),
        "tail.generation": logs.events[0]["headers"][1]["value"],
        "tail.offset": b"307",
    }


def test_a_line_of_17_mib_is_skipped_and_what_follows_is_shipped(logs):
    logs.write(b"a\n" + b"z" * (17 << 20) + b"\nb\n")
    shipped = logs.ship()
    assert (shipped.lines, shipped.skipped, shipped.bytes) == (2, 1, (17 << 20) + 5)
    assert [logs.shipped[0], logs.shipped[2]] == [b"a", b"b"]


def test_a_line_that_is_too_long_already_is_skipped_once_it_has_ended(logs):
    logs.write(b"y" * 2_000_000)
    assert (logs.ship(Small(logs.log)).skipped, logs.said) == (0, [])
    logs.write(b"y" * 500)
    assert logs.ship(Small(logs.log)).skipped == 0
    logs.write(b"y\nlast\n")
    assert logs.ship(Small(logs.log)).skipped == 1
    assert b"the line at bytes 0 to 2000502 of" in logs.shipped[0]
    assert logs.shipped[1:] == [b"last"]


def test_a_missing_file_is_an_error_once_and_awaited_otherwise(logs):
    with pytest.raises(UsageError, match=r"There is no file .*app\.log\. Correct its name"):
        logs.ship()
    with Running(logs, from_end=True):
        until(lambda: bool(logs.said))
        logs.write(numbered(0, 2))
        until(lambda: len(logs.shipped) == 2)
    assert logs.said == [f"waiting for {logs.path}, which does not exist yet"]
    with pytest.raises(UsageError, match="is not a regular file"):
        tail(logs.folder, TOPIC, LogProducer(logs.log), logs.home)


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"done": 1}', '{"done": {"offset": 1}, "sending": null}']
)
def test_a_damaged_position_says_what_to_do(logs, damage):
    logs.write(numbered(0, 2))
    logs.ship()
    logs.position.write_text(damage)
    with pytest.raises(MeshError, match=r"is damaged.*Delete it, then start with --from-start"):
        logs.ship()
    logs.position.unlink()
    logs.ship()
    assert logs.shipped == expected(2) * 2


def test_a_topic_created_again_is_not_taken_for_the_one_that_holds_the_lines(logs):
    logs.write(numbered(0, 2))
    logs.ship()
    logs.log.delete_topic(TOPIC)
    with pytest.raises(MeshError, match=r"holds 0 lines of .* says 2: the topic was created"):
        logs.ship()


def test_a_second_tail_of_the_same_file_and_topic_stops(logs):
    logs.write(numbered(0, 2))
    with Running(logs):
        until(lambda: TOPIC in logs.log.topics() and len(logs.shipped) == 2)
        with pytest.raises(MeshError, match=rf"by another `mesh tail` \(process {os.getpid()}\)"):
            logs.ship()
        other = tail(logs.path, "another", LogProducer(logs.log), logs.home, once=True)
    assert other.lines == 2


class Away:
    """A sink that is sometimes unreachable and, like Kafka, does not count events."""

    max_event_bytes = 1 << 20

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.events: list[Outgoing] = []

    def _perhaps(self) -> None:
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("The broker is away.")

    def ensure_topic(self, topic: str, partitions: int | None) -> None:
        self._perhaps()

    def next_sequence(self, topic: str, producer: str) -> None:
        return None

    def append(self, topic: str, events: list[Outgoing], producer: str, sequence: int) -> None:
        self._perhaps()
        self.events += events

    @property
    def values(self) -> list[bytes | None]:
        return [value for _, value, _, _ in self.events]


def test_an_unreachable_sink_is_reported_once_and_nothing_is_lost(logs):
    sink = Away(2)
    logs.write(numbered(0, 1_500))
    with Running(logs, sink):
        until(lambda: len(sink.events) == 1_500)
        sink.failures = 1
        logs.write(numbered(1_500, 1_503))
        until(lambda: len(sink.events) == 1_503)
    assert sink.values == expected(1_503)
    away = "The broker is away. Trying again until it works; no line is lost."
    assert logs.said == [away, "it works again; going on"] * 2


def test_after_a_stop_while_the_sink_was_unreachable_no_line_is_lost(logs):
    logs.write(numbered(0, 3))
    sink = Away(0)
    logs.ship(sink)
    logs.write(numbered(3, 5))
    sink.failures = 1_000
    with Running(logs, sink):
        until(lambda: bool(logs.said))
    with pytest.raises(LogUnavailable):
        logs.ship(sink)
    sink.failures = 0
    logs.ship(sink)
    assert sink.values == expected(5)


def test_a_sink_that_does_not_count_gets_no_more_than_a_batch_twice(logs):
    """Killed after the sink stored a batch and before the position was saved."""

    class Dies(Away):
        def append(self, *arguments) -> None:
            super().append(*arguments)
            if len(self.events) == 2_000:
                raise KeyboardInterrupt

    logs.write(numbered(0, 2_500))
    sink = Dies(0)
    with pytest.raises(KeyboardInterrupt):
        logs.ship(sink)
    logs.ship(sink)
    assert sink.values == expected(2_000) + expected(2_500)[1_000:]
    where = [(each[3]["tail.generation"], each[3]["tail.offset"]) for each in sink.events]
    assert len(set(where)) == 2_500, "repeated events can be recognised"


class Race:
    """Counters that a writing process and the process that kills it share."""

    def __init__(self) -> None:
        self.written, self.kills = multiprocessing.Value("q"), multiprocessing.Value("q")


def write_and_rotate(logs: Logs, seed: int, race: Race) -> None:
    """Appends lines in arbitrary pieces, never far ahead of the shipped ones, and rotates the file.

    The last lines wait for the last kill, so that slow machines have as many kills.
    """
    chance, data, done = random.Random(seed), numbered(0, LINES), 0
    size_of_all = len(data)
    while done < size_of_all:
        race.written.value = done
        until(lambda near=done - 400 * WIDTH: logs.end * WIDTH > near)
        until(lambda least=done * KILLS // size_of_all: race.kills.value >= least)
        size = chance.randrange(1, 100 * WIDTH)
        logs.write(data[done : done + size])
        done = min(done + size, len(data))
        # Rotation must not split a line: the halves would be two lines.
        if done % WIDTH == 0 or chance.random() > 0.2:
            continue
        logs.write(data[done : done + WIDTH - done % WIDTH])
        done += WIDTH - done % WIDTH
        _a_tick_passes(logs.path)
        chance.choice([logs.rotate, logs.copytruncate])()


@pytest.mark.parametrize("seed", [20170101])
def test_killed_in_a_loop_it_ships_every_line_once_and_in_order(logs, seed):
    moments, race = random.Random(seed), Race()
    logs.path.touch()
    logs.ship()
    writer = killing.forked(lambda: write_and_rotate(logs, seed, race))
    while not _ended_within(writer, 0):
        worker = killing.forked(lambda: logs.ship(once=False, say=_fail))
        if race.kills.value % 4 == 3:  # progress even on a slow machine
            until(
                lambda shipped=logs.end: (
                    logs.end > shipped
                    or (logs.end + 1) * WIDTH > race.written.value
                    or _ended_within(writer, 0)
                )
            )
        assert not _ended_within(worker, moments.uniform(0.01, 0.08))
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        race.kills.value += 1
    assert os.waitpid(writer, 0)[1] == 0
    logs.ship(say=_fail)
    assert race.kills.value >= KILLS
    assert logs.shipped == expected(LINES)
    assert len(list(logs.folder.iterdir())) > 5, "the file was rotated more than a few times"


def _fail(line: str) -> None:
    raise AssertionError(line)


def _ended_within(worker: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(worker)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def test_killed_between_the_append_and_the_position_it_repeats_nothing(logs):
    """Also if the file is copied and truncated before the next start."""

    class Dies(LogProducer):
        def append(self, *arguments) -> None:
            super().append(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)

    for rotate in (lambda: None, logs.rotate, logs.copytruncate):
        begin = len(logs.shipped) if TOPIC in logs.log.topics() else 0
        logs.write(numbered(begin, begin + 10))
        worker = killing.forked(lambda: logs.ship(Dies(EventLog(logs.home / "events"))))
        assert os.waitpid(worker, 0)[1] == signal.SIGKILL
        assert logs.shipped == expected(begin + 10)
        _a_tick_passes(logs.path)
        rotate()
        logs.write(numbered(begin + 10, begin + 15))
        logs.ship()
        assert logs.shipped == expected(begin + 15)


STEPS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.binary(min_size=1, max_size=3).map(lambda data: data * 200),
        st.just(b"\n"),
        st.sampled_from(["rotate", "copytruncate", "ship", "ship"]),
    ),
    max_size=30,
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_any_sequence_of_writes_rotations_and_restarts_ships_all_lines(tmp_path_factory, steps):
    logs, files = Logs(tmp_path_factory.mktemp("any")), [b""]
    sink = Small(logs.log)
    logs.path.touch()
    logs.ship(sink)
    for number, step in enumerate(steps):
        if step == "ship":
            logs.ship(sink)
        elif isinstance(step, bytes):
            # Each file begins with a different line, because the first bytes identify a file.
            data = step if files[-1] else b"file %d %d\n" % (number, len(files)) + step
            logs.write(data)
            files[-1] += data
        elif files[-1]:
            if len(files) == 1:
                logs.ship(sink)
            _a_tick_passes(logs.path)
            getattr(logs, step)()
            files.append(b"")
    logs.write(b"the end\n")
    files[-1] += b"the end\n"
    logs.ship(sink)
    written = [line for data in files for line in _lines(data)]
    assert len(logs.shipped) == len(written)
    for shipped, line in zip(logs.shipped, written, strict=True):
        if len(line) > Small.max_event_bytes:
            assert shipped.startswith(SKIPPED)
        else:
            assert shipped == line


def _lines(data: bytes) -> list[bytes]:
    *lines, rest = data.split(b"\n")
    return [*lines, rest] if rest else lines


def test_the_command_ships_once_prints_json_and_stops_cleanly(mesh, tmp_path):
    file = tmp_path / "chat.log"
    done = mesh.run("tail", str(file), "--topic", TOPIC, "--once", code=2)
    assert done.stderr.startswith(f"mesh: There is no file {file}.")
    file.write_bytes(numbered(0, 3))
    done = mesh.run("tail", str(file), "--topic", TOPIC, "--once", "--json")
    assert json.loads(done.stdout) == {
        "file": str(file), "topic": TOPIC, "lines": 3, "bytes": 36, "skipped": 0,
    }  # fmt: skip
    for number, each in enumerate((signal.SIGTERM, signal.SIGINT)):
        with file.open("ab") as output:
            output.write(numbered(3 + number, 4 + number))
        process = mesh.start("tail", str(file), "--topic", TOPIC)
        log = EventLog(mesh.home / "events")
        until(lambda log=log, end=4 + number: log.describe(TOPIC).partitions[0].end == end)
        process.send_signal(each)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0
        assert said == f"{TOPIC}: 1 lines shipped\n"
