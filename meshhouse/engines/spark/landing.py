"""Landing with Spark: a cluster reads the topic and writes files, this process commits them.

Belongs here: a streaming query with one commit per batch, its restarts and its end. Not here: the
work of executors (executor.py), or the contents of a commit (landing/target.py).

The query starts from the offsets in the raw table. Spark's checkpoint is a temporary folder that is
deleted after the query: a second record of offsets could only contradict the first.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshhouse.engines.spark.executor import DESCRIPTION, EVENT_COLUMNS, Described, Task, described
from meshhouse.engines.spark.session import session
from meshhouse.errors import MeshError, UsageError
from meshhouse.events.errors import SourceAway
from meshhouse.events.kafka.java import java_properties
from meshhouse.events.kafka.settings import KafkaSettings, kafka_settings
from meshhouse.events.source import Source, Topic
from meshhouse.lake import Lake
from meshhouse.lake.files import remove_files
from meshhouse.landing.follow import OnLanded, Pace
from meshhouse.landing.lake_table import LakeTableWriter, Overtaken
from meshhouse.landing.land import Landing, Progress
from meshhouse.landing.pending import Committed, Pending, Plan
from meshhouse.landing.service import Mirror
from meshhouse.landing.target import Accept, Fenced, RawTarget
from meshhouse.ledger import Conflict
from meshhouse.repository import RawTable, Repository

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

COMMIT_EVENTS = 5_000_000
"""Events per commit of a bounded landing, so the most that a failure can cost."""
_PACE = Pace()
_ATTEMPTS = 5
_FAILURES = 3
"""Failures in a row, without a commit in between, after which following gives up."""
_LOOK_SECONDS = 0.2
_AWAY_SECONDS = 1.0
_BATCH_BYTES = 8 * 1024 * 1024
"""Size of event values in one Arrow batch; Spark's default limits only the number of rows."""
_FETCHING = {
    # Twice as fast as Kafka's defaults of 500 records and 1 MiB.
    "kafka.max.poll.records": "5000",
    "kafka.max.partition.fetch.bytes": str(4 * 1024 * 1024),
}

OnCommit = Callable[[Pending, Committed], None]


class QueryFailed(MeshError):
    """Spark stopped reading a topic, and neither the cluster nor the table explains why."""


@dataclass(frozen=True)
class SparkLander:
    """Lands from Kafka into the lake with Spark; see `meshhouse.landing.service.Lander`."""

    settings: KafkaSettings
    """Spark's settings for the cluster that the source asks."""
    lake: Lake
    """Holds the raw table; executors must have its folder at the same path."""
    commit_events: int = COMMIT_EVENTS
    """Events per commit of a bounded landing."""

    @classmethod
    def of(cls, repository: Repository, lake: Lake) -> SparkLander:
        """The lander of a mesh; connects to nothing.

        Raises:
            UsageError: topics are in the embedded event log.
        """
        settings = kafka_settings(repository.root)
        if settings is None:
            raise UsageError(
                "Spark reads topics from Kafka, and the topics of this mesh are in the embedded "
                "event log. Leave out `--engine spark`, or set KAFKA_BOOTSTRAP_SERVERS."
            )
        return cls(settings, lake)

    def land(
        self,
        source: Source,
        raw: RawTable,
        progress: Progress = lambda events: None,
        accept: Accept = (),
        mirror: Mirror = lambda offsets: None,
    ) -> Landing:
        """Lands the events that a topic holds now, as `meshhouse.landing.land.land` does.

        Args:
            source: the Kafka cluster, for questions about the topic.
            raw: the raw table to land.
            progress: is called with the number of events after each commit.
            accept: see `meshhouse.landing.target.Accept`.
            mirror: is called with the offsets after each commit.

        Raises:
            UsageError: Spark cannot be used here; or see `land`.
            QueryFailed: Spark could not read the topic.
            MeshError: see `land`.
        """
        lander = _Lander(source, self.settings, self.lake, raw, accept, mirror)
        landing = lander.landing
        topic = lander.prepare()
        landing.ends = {number: each.end for number, each in topic.partitions.items()}

        def committed(pending: Pending, done: Committed) -> None:
            progress(pending.events)

        if any(lander.positions[number] < end for number, end in landing.ends.items()):
            bounds = {"maxOffsetsPerTrigger": str(self.commit_events)}
            lander.run(bounds, {"availableNow": True}, committed)
        landing.total_rows = lander.target.total_rows
        landing.finished_at = datetime.now(UTC)
        return landing

    def follow(
        self,
        source: Source,
        raw: RawTable,
        stop: threading.Event,
        pace: Pace = _PACE,
        on_landed: OnLanded = lambda landing: None,
        accept: Accept = (),
        mirror: Mirror = lambda offsets: None,
    ) -> Landing:
        """Lands new events of a topic until `stop` is set; the current batch is finished first.

        It lands all partitions: one process commits the whole topic, and Spark divides the work. A
        second lander of the same topic is fenced by this one, or fences it. While the cluster is
        unavailable it waits, as `meshhouse.landing.follow.follow` does.

        Raises:
            QueryFailed: Spark failed several times in a row.
            MeshError: see `meshhouse.landing.follow.follow`.
        """
        lander = _Lander(source, self.settings, self.lake, raw, accept, mirror)
        landing = lander.landing
        # Together: a commit at so many events, or after this delay if there are fewer.
        bounds = {
            "minOffsetsPerTrigger": str(pace.events),
            "maxOffsetsPerTrigger": str(pace.events),
            "maxTriggerDelay": f"{max(1, round(pace.seconds * 1000))}ms",
        }
        trigger = {"processingTime": f"{max(1, round(min(pace.seconds, 1.0) * 1000))} milliseconds"}

        def committed(pending: Pending, done: Committed) -> None:
            on_landed(landing)

        failures = 0
        while not stop.is_set():
            commits = landing.commits
            try:
                lander.prepare()
                lander.run(bounds, trigger, committed, stop)
            except (QueryFailed, SourceAway) as error:
                failures = failures + 1 if landing.commits == commits else 1
                if failures >= _FAILURES and isinstance(error, QueryFailed):
                    raise
                stop.wait(_AWAY_SECONDS)
        return landing


@dataclass
class _Lander:
    """Lands one topic into one raw table, with one or more queries."""

    source: Source
    settings: KafkaSettings
    lake: Lake
    raw: RawTable
    accept: Accept
    mirror: Mirror
    positions: dict[int, int] = field(default_factory=dict)
    """Partition -> the next offset to land, according to the table."""

    def __post_init__(self) -> None:
        # First, because a wrong topic name should fail before Spark takes seconds to start.
        topic = self.source.describe(self.raw.topic)
        self.writer = LakeTableWriter(self.lake, self.raw)
        self.target = RawTarget(self.raw, topic, self.writer, self.accept)
        self.spark = _session(self.lake.warehouse.parent)
        self.landing = Landing(self.raw, offsets=self.target.offsets)
        self.landing.snapshot_id = self.target.snapshot_id

    def prepare(self) -> Topic:
        """Finds the offsets to start from; first commits changed properties of the table."""
        self.target.refresh()
        topic = self.source.describe(self.raw.topic)
        self.target.starts(topic, self.accept)
        if self.target.has_news:
            self._count(self.target.commit(Pending()))
        self.positions = self.target.starts(topic, self.accept)
        return topic

    def run(
        self,
        bounds: Mapping[str, str],
        trigger: Mapping[str, Any],
        on_commit: OnCommit,
        stop: threading.Event | None = None,
    ) -> None:
        """Runs a query until it ends, or until `stop` is set.

        Raises:
            QueryFailed: the query failed.
            MeshError: a commit was refused.
        """
        with tempfile.TemporaryDirectory(prefix="meshhouse-landing-") as checkpoint:
            batches = _Batches(self, Path(checkpoint), on_commit)
            query: StreamingQuery | None = None
            try:
                query = (
                    self._events(bounds)
                    .writeStream.foreachBatch(batches.land)
                    .option("checkpointLocation", f"file://{checkpoint}")
                    .trigger(**trigger)
                    .start()
                )
                while not query.awaitTermination(_LOOK_SECONDS):
                    if stop is not None and stop.is_set():
                        break
            except Exception as error:
                raise self._explained(batches.failure or error) from error
            finally:
                batches.finish()
                if query is not None:
                    _stop(query)
        if batches.failure is not None:
            raise self._explained(batches.failure)

    def _events(self, bounds: Mapping[str, str]) -> DataFrame:
        begin = {self.raw.topic: {str(each): at for each, at in self.positions.items()}}
        options = {
            **{f"kafka.{name}": value for name, value in java_properties(self.settings).items()},
            "kafka.isolation.level": "read_committed",
            "subscribe": self.raw.topic,
            "startingOffsets": json.dumps(begin),
            "failOnDataLoss": "true",
            **_FETCHING,
            **bounds,
        }
        events = self.spark.readStream.format("kafka").options(**options).load()
        return events.select(*EVENT_COLUMNS)

    def land(
        self, events: DataFrame, starts: Mapping[int, int], ends: Mapping[int, int], run: str
    ) -> tuple[Pending, Committed]:
        """Lands one batch of events; tries again if the table was changed meanwhile."""
        for attempt in range(1, _ATTEMPTS + 1):
            # A topic that was deleted and created again would pass unnoticed once it is as long.
            self.target.recognise(self.source.describe(self.raw.topic))
            pending = Pending(self._plan())
            for each in self._written(events, Task.of(self.raw, run, pending.plan)):
                self._check(each, starts, ends)
                pending.add_written(each.written, starts, ends)
            pending.starts.update(starts)
            pending.offsets.update(ends)
            try:
                done = self.target.commit(pending)
            except (Fenced, Overtaken, Conflict) as refused:
                for each in pending.written:
                    remove_files([*each.files, *each.rejected_files])
                if isinstance(refused, Overtaken) and attempt < _ATTEMPTS:
                    continue
                raise
            self.positions.update(ends)
            self._count(done)
            return pending, done
        raise AssertionError("unreachable")

    def _plan(self) -> Plan:
        """The plan for the files of the next commit."""
        self.target.refresh()
        return self.writer.plan(self.target.next_landed_at)

    def _written(self, events: DataFrame, task: Task) -> Iterator[Described]:
        for row in events.mapInArrow(task.write, DESCRIPTION).collect():
            yield described(bytes(row["description"]))

    def _check(self, each: Described, starts: Mapping[int, int], ends: Mapping[int, int]) -> None:
        for partition, (first, last) in each.read.items():
            if not starts.get(partition, 0) <= first <= last < ends.get(partition, 0):
                raise MeshError(
                    f"Spark read events {first} to {last} of partition {partition} of topic "
                    f"`{self.raw.topic}`, which do not belong to this batch. Nothing of the batch "
                    "was landed. Leave out `--engine spark`, and report this."
                )

    def _count(self, done: Committed) -> None:
        self.landing.count(done)
        self.landing.total_rows = self.target.total_rows
        if done.offsets:
            self.mirror(done.offsets)

    def _explained(self, error: BaseException) -> MeshError:
        if isinstance(error, MeshError):
            return error
        text = self.settings.without_secrets(str(error))
        # An error raised in a task arrives as the text of its traceback.
        raised_by_meshhouse = re.search(r"^meshhouse\.[\w.]+: (.+)$", text, re.MULTILINE)
        if raised_by_meshhouse:
            return MeshError(raised_by_meshhouse[1])
        try:  # the cluster or the table may give a better reason
            self.target.refresh()
            self.target.starts(self.source.describe(self.raw.topic), self.accept)
        except MeshError as better:
            return better
        return QueryFailed(
            f"Spark could not land {self.raw.relation}: {_reason(text)}. Earlier commits are kept. "
            "Run the same command again, or without `--engine spark`."
        )


class _Batches:
    """Receives each batch of one query; Spark calls it in a separate thread."""

    def __init__(self, lander: _Lander, checkpoint: Path, on_commit: OnCommit) -> None:
        self.failure: BaseException | None = None
        self._lander = lander
        self._checkpoint = checkpoint
        self._on_commit = on_commit
        self._run = uuid.uuid4().hex
        self._idle = threading.Lock()
        self._is_over = False

    def land(self, events: DataFrame, number: int) -> None:
        """Lands one batch."""
        with self._idle:
            if self._is_over:
                return  # the query is about to stop; the next one starts from the table's offsets
            try:
                self._land(events, number)
            except BaseException as error:
                # Kept, because Spark passes on only the error's text.
                self.failure = error
                self._is_over = True
                raise

    def finish(self) -> None:
        """Waits for the current batch, and lets no other one start."""
        with self._idle:
            self._is_over = True

    def _land(self, events: DataFrame, number: int) -> None:
        ends = _ends(self._checkpoint, number, self._lander.raw.topic)
        known = self._lander.positions
        # A new partition starts at 0; Spark fails if its first events are already gone.
        starts = {each: known.get(each, 0) for each in ends}
        moved = [each for each, end in ends.items() if end > starts[each]]
        if moved:
            done = self._lander.land(
                events,
                {each: starts[each] for each in moved},
                {each: ends[each] for each in moved},
                self._run,
            )
            self._on_commit(*done)


def _ends(checkpoint: Path, number: int, topic: str) -> dict[int, int]:
    """The end offsets of a batch, from the checkpoint that Spark writes before it reads the batch.

    The events themselves are not enough: a batch may end with offsets that consumers never receive
    (transaction markers, compacted events), and landing would never get past them.
    """
    text = (checkpoint / "offsets" / str(number)).read_text()
    return {int(each): end for each, end in json.loads(text.splitlines()[-1])[topic].items()}


def _stop(query: StreamingQuery) -> None:
    from py4j.protocol import Py4JError

    # If Spark itself has ended, there is nothing to stop, and the reason is already reported.
    with suppress(Py4JError):
        query.stop()


def _session(home: Path) -> SparkSession:
    """A session with its own settings; Spark's log is a file in the mesh's folder."""
    spark = session(log=home / "logs" / "spark.log").newSession()
    spark.conf.set("spark.sql.execution.arrow.maxBytesPerBatch", str(_BATCH_BYTES))
    # Streaming does not support it and would log a warning.
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    return spark


def _reason(text: str) -> str:
    """The root cause in Spark's message, or its first line."""
    causes = re.findall(r"^Caused by: (.+)$", text, re.MULTILINE)
    lines = [line.strip(" :") for line in text.splitlines() if line.strip(" :")]
    lines = [line for line in lines if not line.startswith("An error occurred while calling")]
    reason = causes[-1] if causes else (lines or ["it gave no reason"])[0]
    return re.sub(r"\s*SQLSTATE: \w+$", "", reason).rstrip(". ")
