"""The rate of landing events from memory into committed, typed Iceberg rows.

Run it alone with `python -m benchmarks.landing`.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from meshhouse.demo import retail
from meshhouse.demo.replay import TOPICS
from meshhouse.events.source import EVENT_SCHEMA, EventBatch, Partition, Topic
from meshhouse.lake import Lake
from meshhouse.landing import LakeStore
from meshhouse.landing.land import land
from meshhouse.repository import Repository


class InMemory:
    """A source with the events of one partition in memory, without disk or network."""

    def __init__(self, name: str, events: pa.RecordBatch) -> None:
        self._name = name
        self._events = events

    def topics(self) -> list[str]:
        return [self._name]

    def describe(self, topic: str) -> Topic:
        return Topic(topic, "memory", "memory", {0: Partition(0, self._events.num_rows)})

    def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]], max_bytes: int
    ) -> Iterator[EventBatch]:
        begin, end = ranges[0]
        each = max(1, max_bytes * self._events.num_rows // self._events["value"].nbytes)
        for start in range(begin, end, each):
            yield EventBatch(
                0, self._events.slice(start, min(each, end - start)), min(start + each, end)
            )


def purchases() -> pa.RecordBatch:
    """All 1,469,307 purchases as events."""
    topic = next(each for each in TOPICS if each.name == "sales.transactions")
    with retail.open_retail() as connection:
        table = pa.Table.from_batches(topic.events(connection, None, None)).combine_chunks()
    offsets = pa.array(range(table.num_rows), pa.int64())
    table = table.add_column(0, "offset", offsets).select(EVENT_SCHEMA.names)
    return table.cast(EVENT_SCHEMA).to_batches()[0]


def landing_rate(rounds: int = 3) -> dict[str, float]:
    """The rate of landing from memory, compared with only parsing the JSON.

    Returns:
        Medians: `landed` and `parsed` (Python's `json.loads` of each value, one core) in
        events per second, and `ratio`, landed divided by parsed.
    """
    raw = Repository.find().domain("sales").raw_tables[0]
    events = purchases()
    source = InMemory(raw.topic, events)
    sample = events["value"].slice(0, 200_000).to_pylist()
    landed, parsed = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            done = land(source, LakeStore(Lake(Path(folder))), raw)
            landed.append(done.rows / (time.perf_counter() - started))
            assert done.rows == events.num_rows
        started = time.perf_counter()
        for value in sample:
            json.loads(value)
        parsed.append(len(sample) / (time.perf_counter() - started))
    middle = rounds // 2
    rate, baseline = sorted(landed)[middle], sorted(parsed)[middle]
    return {"landed": rate, "parsed": baseline, "ratio": rate / baseline}


if __name__ == "__main__":
    print(json.dumps(landing_rate(), indent=2))
