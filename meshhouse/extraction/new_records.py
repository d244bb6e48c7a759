"""New records of a Kinesis stream.

Belongs here: events of records, and in what portions they are sent. Not here: the order of shards
(shards.py), calls to Kinesis (kinesis.py), or what was sent (kept_shards.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from meshhouse.errors import MeshError
from meshhouse.events.batches import Event
from meshhouse.events.source import AGGREGATED, LEFT_OUT
from meshhouse.extraction.kept import Sending, Taken
from meshhouse.extraction.kept_shards import KeptShards
from meshhouse.extraction.kinesis import Facts, Record, Stream
from meshhouse.extraction.run import Extracted, Run, StoppedError, Task
from meshhouse.extraction.shards import Gap, LostError, Reading

LOST_RECORDS = "lost-records"
"""What a user accepts to go on after records that are gone."""
_CREATED = " created "


class StreamRun(Run[KeptShards]):
    """One run for one raw table with a stream."""

    def __init__(self, task: Task[KeptShards]) -> None:
        super().__init__(task)
        assert task.spec.stream is not None
        self._source = task.spec.stream
        self._accepts_loss = LOST_RECORDS in task.accept
        self._notes: list[str] = []
        self._aggregated = 0

    def all(self) -> Extracted:
        """Sends the records that arrived before the run."""
        with self._named():
            try:
                complete = self._finish_begun() and self._read()
            except StoppedError:
                complete = False
            except LostError as error:
                raise MeshError(
                    f"{error} No later record was sent. Extract more often, or let the stream keep "
                    "records for longer. To go on without them: "
                    f"`mesh extract {self._raw.relation} --accept {LOST_RECORDS}`."
                ) from error
        if self._aggregated:
            is_one = self._aggregated == 1
            self._notes.append(
                f"{self._aggregated:,} {'record' if is_one else 'records'} of {self._source.name} "
                f"{'is' if is_one else 'are'} aggregated by the Kinesis Producer Library, and "
                f"{'is' if is_one else 'are'} rejected when {'it lands' if is_one else 'they land'}"
                ". Switch aggregation off in the producer."
            )
        return Extracted(
            self._raw, 0, self._events, 0, (), (), complete, tuple(dict.fromkeys(self._notes))
        )

    def _read(self) -> bool:
        stream = Stream(self._source, self._stopped)
        facts = stream.facts()
        self._check_origin(facts)
        reading = Reading(stream, facts.retention, self._kept.positions(), self._accepts_loss)
        while True:
            path = self._new_parcel()
            pieces = self._written(path, self._events_of(reading.portion()))
            if pieces is None:
                return False
            if not pieces:
                path.unlink()
                self._kept.keep(reading.changed(), facts.retention)
                return True
            events = sum(each[1] for each in pieces)
            taken = Taken(self._source.name, 0, str(time.time()), "", events)
            sending = Sending(taken, path.name, pieces)
            self._kept.begin_records(sending, reading.changed(), facts.retention)
            if not self._send(sending):
                return False

    def _check_origin(self, facts: Facts) -> None:
        """Refuses to go on with another stream than before, of the same name or not."""
        created = datetime.fromtimestamp(facts.created, UTC)
        identity = f"{facts.arn}{_CREATED}{created:%Y-%m-%dT%H:%M:%S.%fZ}"
        before = self._kept.origin_before(identity)
        if before in (None, identity):
            return
        arn, _, time_before = before.partition(_CREATED)
        if arn == facts.arn:
            raise MeshError(
                f"stream {self._source.name} was deleted and created again: the records sent so "
                f"far came from one that was created at {time_before}, and this one was created "
                f"at {identity.partition(_CREATED)[2]}. Declare a raw table with another topic for "
                f"this one. {self._kept.start_again()}"
            )
        raise MeshError(
            f"the records sent so far came from {arn}, and now it is {facts.arn}. Restore "
            "`kinesis`, `region` or the credentials, or declare a raw table with another topic. "
            f"{self._kept.start_again()}"
        )

    def _events_of(self, records: Iterator[Record | Gap]) -> Iterator[Event]:
        for each in records:
            if isinstance(each, Gap):
                yield self._left_out(None, time.time(), each.said)
                continue
            key = None if each.key is None else each.key.encode()
            if len(each.value) + len(key or b"") > self._longest:
                yield self._left_out(
                    key, each.arrived,
                    f"Record {each.sequence} of shard {each.shard} is longer than the "
                    f"{self._longest:,} bytes of an event",
                )  # fmt: skip
                continue
            self._aggregated += each.value.startswith(AGGREGATED)
            headers = {
                "kinesis.shard": each.shard.encode(), "kinesis.sequence": each.sequence.encode()
            }  # fmt: skip
            yield key, each.value, round(each.arrived * 1000), headers

    def _left_out(self, key: bytes | None, at: float, why: str) -> Event:
        self._notes.append(f"{why}. An event that is rejected replaces it.")
        return key, LEFT_OUT + why.encode(), round(at * 1000), None
