"""Producers and landers that tests kill at any time, on a real broker.

Belongs here: the work of forked processes, and checks of their results. Not here: the kills
(tests/landing/test_chaos.py). The parent never opens a connection, because Kafka's clients do not
survive a fork.
"""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import confluent_kafka  # noqa: F401 - loaded once, in the parent
import kafka  # noqa: F401

from meshhouse.events.kafka.python import arguments
from meshhouse.events.kafka.source import KafkaSource
from meshhouse.lake import Lake
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.landing import LakeStore, Pace
from meshhouse.landing.follow import follow
from meshhouse.landing.land import land
from meshhouse.maintenance import maintain
from meshhouse.repository import Column, RawTable
from tests.support import killing
from tests.support.kafka_topics import Cluster

PARTITIONS = 4
GROUP = "chaos"


def raw_of(topic: str) -> RawTable:
    columns = (Column("id", "bigint", required=True), Column("amount", "decimal(12,2)"))
    return RawTable("shop", "shop_raw", "sales", topic, columns, "", False, Path("topics.yml"), 1)


def produce(cluster: Cluster, topic: str, folder: Path, limit: int) -> None:
    """Sends events until SIGTERM, then writes their number. One in a hundred is not JSON."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    producer = cluster.producer(**{"enable.idempotence": True, "message.timeout.ms": 120_000})
    number = 0
    while number < limit and not stopped.is_set():
        for number in range(number, min(number + 200, limit)):  # noqa: B020
            value = json.dumps({"id": number, "amount": "1.50"}).encode()
            if number % 100 == 7:
                value = b"no json %d" % number
            producer.produce(topic, value, b"%d" % number, number % PARTITIONS)
        number += 1
        producer.flush()
        stopped.wait(0.02)
    assert producer.flush(120) == 0
    (folder / "produced").write_text(str(number))


def land_once(cluster: Cluster, topic: str, home: Path, client: Any) -> None:
    """Lands the topic's events, in small commits so that kills hit many different steps."""
    land(
        KafkaSource(cluster.settings, client),
        LakeStore(Lake(home)),
        raw_of(topic),
        commit_bytes=20_000,
    )


def land_on(cluster: Cluster, topic: str, home: Path, client: Any) -> None:
    """Lands in the group until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    follow(KafkaSource(cluster.settings, client), LakeStore(Lake(home)), raw_of(topic), GROUP, stop,
           Pace(0.2, 2_000))  # fmt: skip


def land_naively(cluster: Cluster, topic: str, home: Path, client: Any) -> None:
    """The wrong way, for comparison: commits rows first, and offsets elsewhere afterwards."""
    from kafka import KafkaConsumer

    lake, raw = Lake(home), raw_of(topic)
    consumer = KafkaConsumer(
        topic, **arguments(cluster.settings, consumer=True), group_id="naive",
        enable_auto_commit=False, auto_offset_reset="earliest", max_poll_records=200,
    )  # fmt: skip
    from datetime import UTC, datetime

    import pyarrow as pa

    from meshhouse.events.kafka.python import events_of
    from meshhouse.lake.schema import iceberg_schema
    from meshhouse.landing.decode import Decoder

    decoder = Decoder(raw)
    for polls in itertools.count(1):
        for place, records in consumer.poll(500).items():
            events = pa.Table.from_batches([events_of(records)])
            decoded = decoder.decode(place.partition, events, datetime.now(UTC))
            table = lake.stage(raw.relation, iceberg_schema(decoder.columns))
            base = table.metadata_location or None
            with table.transaction() as transaction:
                transaction.append(decoded.rows)
            lake.commit([lake.staged(table, base)])
        if polls % 20 == 0:
            consumer.commit()


def left_behind(home: Path, produced: int) -> dict[str, int]:
    """Counts the produced events in both tables, by number and by offset."""
    raw = raw_of("")
    with connect_memory() as connection:
        create_views(connection, Lake(home).states())
        found = connection.execute(
            f"""
            with landed as (
                select id as number, _topic_partition, _offset from {raw.relation}
                union all
                select cast(substr(decode(value), 9) as bigint), _topic_partition, _offset
                from {raw.schema}.{raw.rejected}
            )
            select
                count(*),
                count(distinct number),
                count(distinct (_topic_partition, _offset)),
                min(number),
                max(number),
                count(*) filter (where number % {PARTITIONS} <> _topic_partition)
            from landed
            """
        ).fetchone()
        bad = connection.execute(f"select count(*) from {raw.schema}.{raw.rejected}").fetchone()
    names = ("rows", "numbers", "offsets", "first", "last", "misplaced")
    return {**dict(zip(names, found, strict=True)), "rejected": bad[0], "produced": produced}


def orphans_removed(home: Path) -> int:
    """Maintains both tables as if all files were old; returns the number of removed orphans."""
    raw, at_once = raw_of(""), timedelta(0)
    relations = [raw.relation, f"{raw.schema}.{raw.rejected}"]
    # Snapshots are kept for a day.
    done = maintain(Lake(home), relations, older_than=at_once, retention=timedelta(days=1))
    return sum(each.orphans_removed for each in done)


def rows_and_numbers(home: Path) -> tuple[int, int]:
    """Numbers of rows and of different events in the raw table."""
    with connect_memory() as connection:
        create_views(connection, Lake(home).states())
        return connection.execute(
            "select count(*), count(distinct id) from shop_raw.sales"
        ).fetchone()


def state_of(home: Path) -> str | None:
    """The raw table's metadata location."""
    return Lake(home).states().get(raw_of("").relation)


def landed_offsets(home: Path) -> dict[int, int]:
    """The raw table's offsets, read without the Iceberg library's caches."""
    return killing.offsets(Lake(home))


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.05)
