"""Landing from Kafka, compared with each client's bare loop, and over time.

The broker is a real one on the same cores. Each figure is measured in a separate process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from meshhouse.events.kafka.broker import Broker
from meshhouse.events.kafka.confluent import ConfluentClient, configuration
from meshhouse.events.kafka.python import PythonClient, arguments
from meshhouse.events.kafka.settings import KafkaSettings
from meshhouse.events.kafka.source import KafkaSource
from meshhouse.lake import Lake
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.landing import LakeStore, Pace
from meshhouse.landing.follow import follow
from meshhouse.landing.land import land
from meshhouse.maintenance import maintain, maintain_while_landing
from meshhouse.repository import Column, RawTable

PARTITIONS = 4
CLEAN = "purchases"
DIRTY = "purchases.dirty"
EVENTS = int(os.environ.get("MESH_BENCH_EVENTS", "2000000"))
ROUNDS = int(os.environ.get("MESH_BENCH_ROUNDS", "3"))
LONG = int(os.environ.get("MESH_BENCH_LONG", "5000000"))
COLUMNS = tuple(
    Column(name, kind)
    for name, kind in (
        ("household_id", "bigint"),
        ("store_id", "bigint"),
        ("basket_id", "bigint"),
        ("product_id", "bigint"),
        ("quantity", "bigint"),
        ("sales_value", "decimal(12,2)"),
        ("retail_disc", "decimal(12,2)"),
        ("coupon_disc", "decimal(12,2)"),
        ("coupon_match_disc", "decimal(12,2)"),
        ("week", "bigint"),
        ("transaction_timestamp", "timestamptz"),
    )
)
CLIENTS = {"kafka-python": PythonClient, "confluent-kafka": ConfluentClient}


def raw_of(topic: str) -> RawTable:
    """The raw table for a topic of purchases."""
    return RawTable("sales", "sales_raw", "purchases", topic, COLUMNS, "", False, Path("-"), 1)


def purchase(number: int) -> bytes:
    """One purchase as 250 bytes of JSON."""
    text = json.dumps(
        {
            "household_id": 900 + number % 2500,
            "store_id": 330 + number % 400,
            "basket_id": 31_198_570_044 + number // 10,
            "product_id": 1_095_275 + number % 9000,
            "quantity": 1 + number % 4,
            "sales_value": f"{number % 30}.{number % 100:02d}",
            "retail_disc": f"0.{number % 100:02d}",
            "coupon_disc": "0.00",
            "coupon_match_disc": "0.00",
            "week": 1 + number % 53,
            "transaction_timestamp": f"2017-01-{1 + number % 28:02d}T11:53:26Z",
        },
        separators=(",", ":"),
    )
    return text.encode().ljust(250)


def fill(settings: KafkaSettings, topic: str, events: int, bad_every: int = 0) -> None:
    """Creates a topic with this number of purchases."""
    from confluent_kafka import Producer
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic

    admin = KafkaAdminClient(**arguments(settings))
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    admin.wait_for_topics([topic])
    producer = Producer(
        {**configuration(settings), "linger.ms": 50, "queue.buffering.max.messages": 1_000_000}
    )
    for number in range(events):
        value = purchase(number)
        if bad_every and number % bad_every == 0:
            value = b"{" + value
        while True:
            try:
                producer.produce(topic, value, b"%d" % (number // 10), number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


@contextmanager
def lake() -> Iterator[Lake]:
    """An empty lake that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="mesh-bench-"))
    try:
        yield Lake(folder)
    finally:
        shutil.rmtree(folder)


def bare(settings: KafkaSettings, name: str, events: int) -> dict[str, float]:
    """The rate of a client's bare loop, which only counts events."""
    client = CLIENTS[name](settings, CLEAN, None)
    client.assign(dict.fromkeys(range(PARTITIONS), 0))
    consumer, seen = client._consumer, 0
    started = time.perf_counter()
    while seen < events:
        if name == "kafka-python":
            seen += sum(len(records) for records in consumer.poll(500).values())
        else:
            seen += sum(each.error() is None for each in consumer.consume(10_000, 0.5))
    return {"rate": seen / (time.perf_counter() - started)}


def landed(settings: KafkaSettings, name: str, topic: str) -> dict[str, float]:
    """The rate of landing a topic into typed Iceberg rows."""
    with lake() as target:
        started = time.perf_counter()
        done = land(KafkaSource(settings, CLIENTS[name]), LakeStore(target), raw_of(topic))
        seconds = time.perf_counter() - started
    return {
        "rate": (done.rows + done.rejected) / seconds,
        "rejected": done.rejected,
        "peak_mib": _peak_mib(),
    }


def _peak_mib() -> float:
    # getrusage would be wrong: its peak includes that of the parent process.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def commits(settings: KafkaSettings) -> dict[str, float]:
    """Times of a thousand small commits to a maintained table, and of an aggregate over it."""
    from meshhouse.events import EventLog

    with lake() as target:
        log = EventLog(target.warehouse.parent / "events")
        log.create_topic(CLEAN, 1)
        raw, latencies = raw_of(CLEAN), []
        for number in range(1_000):
            events = [(b"k", purchase(number * 1000 + each), 0, []) for each in range(1_000)]
            log.append_events(CLEAN, events, "bench")
            started = time.perf_counter()
            land(log, LakeStore(target), raw)
            latencies.append(time.perf_counter() - started)
            if number % 25 == 24:
                maintain_while_landing(target, raw.relation)
        assert LakeStore(target).writer(raw).read().total_rows == 1_000_000
        maintain(target, [raw.relation])
        measured = _aggregates(target, raw)
    return {
        "first": median(latencies[:100]),
        "last": median(latencies[900:]),
        **measured,
    }


def layout(settings: KafkaSettings, count: int = 1_000, each: int = 8_000) -> dict[str, float]:
    """Files and bytes of a table after small commits with maintenance, and `mesh maintain`.

    A commit per second for an hour makes 3,600 commits. A thousand commits give the same result,
    except for the number of full-size files.
    """
    from meshhouse.events import EventLog
    from meshhouse.maintenance.compaction import layout as layout_of

    with lake() as target:
        log = EventLog(target.warehouse.parent / "events")
        log.create_topic(CLEAN, 1)
        raw = raw_of(CLEAN)
        for number in range(count):
            events = [(b"k", purchase(number * each + other), 0, []) for other in range(each)]
            log.append_events(CLEAN, events, "bench")
            land(log, LakeStore(target), raw)
            if number % 25 == 24:
                maintain_while_landing(target, raw.relation)
        day = timedelta(0)
        [done] = maintain(target, [raw.relation], older_than=day, retention=day)
        files = layout_of(target.load(raw.relation)).files
        sizes = sorted(file.file_size_in_bytes for file in files)
        on_disk = list((target.warehouse / "sales_raw" / "purchases").rglob("*.parquet"))
    return {
        "files": len(sizes),
        "mib": sum(sizes) / 2**20,
        # Only the newest file may be small.
        "second_smallest_mib": sizes[min(1, len(sizes) - 1)] / 2**20,
        "left_on_disk": len(on_disk) - len(sizes),
        "orphans_removed": done.orphans_removed,
    }


def _aggregates(target: Lake, raw: RawTable) -> dict[str, float]:
    question = "select store_id, sum(sales_value), count(*) from {} group by all"
    with connect_memory() as connection:
        create_views(connection, target.states())
        ideal = str(target.warehouse / "ideal.parquet")
        connection.execute(f"copy {raw.relation} to '{ideal}' (format parquet)")
        took: dict[str, list[float]] = {raw.relation: [], f"read_parquet('{ideal}')": []}
        for _ in range(21):
            for relation, seconds in took.items():
                started = time.perf_counter()
                connection.execute(question.format(relation)).fetchall()
                seconds.append(time.perf_counter() - started)
    ours, best = (median(each) for each in took.values())
    return {"aggregate": ours, "ideal": best}


def freshness(settings: KafkaSettings, rate: float, seconds: float = 30.0) -> dict[str, float]:
    """The delay from an event to its row in `--follow`, with a commit every second."""
    from confluent_kafka import Producer

    topic = f"fresh.{rate:g}"
    fill(settings, topic, 0)
    source = KafkaSource(settings, ConfluentClient)
    with lake() as target:
        stop, delays = threading.Event(), []
        seen: dict[int, int] = {}

        def look(landing: Any) -> None:
            seen.update(landing.offsets)
            arrived.append((time.time(), dict(landing.offsets)))

        arrived: list[tuple[float, dict[int, int]]] = []
        worker = threading.Thread(
            target=follow,
            args=(source, LakeStore(target), raw_of(topic), topic, stop, Pace(1.0), look),
        )
        worker.start()
        producer = Producer({**configuration(settings), "linger.ms": 5})
        sent: dict[tuple[int, int], float] = {}

        def stored(error: object, message: Any) -> None:
            sent[(message.partition(), message.offset())] = message.timestamp()[1] / 1000

        began, number = time.time(), 0
        while time.time() - began < seconds:
            while number <= (time.time() - began) * rate:
                producer.produce(topic, purchase(number), None, number % PARTITIONS,
                                 on_delivery=stored)  # fmt: skip
                number += 1
            producer.poll(0.005 if rate > 100 else 0.05)
        producer.flush()
        wanted = {}
        for partition, offset in sent:
            wanted[partition] = max(wanted.get(partition, 0), offset + 1)
        deadline = time.time() + 30
        while any(seen.get(each, 0) < end for each, end in wanted.items()):
            assert time.time() < deadline, "the last events never landed"
            time.sleep(0.05)
        stop.set()
        worker.join()
        for (partition, offset), sent_at in sent.items():
            if sent_at - began < 3:  # leaves out the time to join the consumer group
                continue
            when = next(at for at, ends in arrived if ends.get(partition, 0) > offset)
            delays.append(when - sent_at)
    return {"p95": quantiles(delays, n=20)[18], "worst": max(delays), "events": len(delays)}


MEASURES: dict[str, Callable[..., dict[str, float]]] = {
    "bare": bare,
    "landed": landed,
    "commits": commits,
    "layout": layout,
    "freshness": freshness,
}


def measured(settings: KafkaSettings, name: str, *arguments: Any) -> dict[str, float]:
    """Runs one measurement in a separate process."""
    command = [sys.executable, "-m", "benchmarks.kafka", settings.bootstrap_servers, name]
    done = subprocess.run(
        [*command, json.dumps(arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name} {arguments}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def alternating(
    settings: KafkaSettings, rounds: int, *measures: tuple[Any, ...]
) -> list[dict[str, float]]:
    """Runs the measurements alternately, `rounds` times; returns the median run of each."""
    runs = [[measured(settings, *each) for each in measures] for _ in range(rounds)]
    return [
        sorted((run[index] for run in runs), key=lambda each: each["rate"])[rounds // 2]
        for index in range(len(measures))
    ]


def rows(rounds: int = ROUNDS) -> Iterator[tuple[str, str, str, str, str]]:
    """Rows of the table: what, measured, beside, ratio, aim."""
    folder = Path(tempfile.mkdtemp(prefix="mesh-bench-"))
    broker = Broker(folder)
    broker.start(port=0)
    settings = KafkaSettings({"bootstrap.servers": broker.status().bootstrap_servers})
    try:
        fill(settings, CLEAN, LONG)
        fill(settings, DIRTY, EVENTS, bad_every=100)
        yield from _throughput(settings, rounds)
        yield from _over_time(settings)
    finally:
        broker.stop()
        shutil.rmtree(folder)


def _throughput(settings: KafkaSettings, rounds: int) -> Iterator[tuple[str, str, str, str, str]]:
    rates = {}
    for name, aim in (
        ("kafka-python", "at least 0.85"),
        ("confluent-kafka", "at least 0.5 and 300,000/s"),
    ):
        loop, ours = alternating(settings, rounds, ("bare", name, LONG), ("landed", name, CLEAN))
        rates[name] = ours["rate"]
        yield (
            f"{name}: {LONG:,} events landed",
            f"{ours['rate']:,.0f}/s, {ours['peak_mib']:.0f} MiB",
            f"its bare loop: {loop['rate']:,.0f}/s",
            f"{ours['rate'] / loop['rate']:.2f}",
            f"{aim}; under 700 MiB",
        )
    [dirty] = alternating(settings, rounds, ("landed", "confluent-kafka", DIRTY))
    clean = rates["confluent-kafka"]
    yield (
        "confluent-kafka: 1 % undecodable",
        f"{dirty['rate']:,.0f}/s",
        f"clean: {clean:,.0f}/s",
        f"{dirty['rate'] / clean:.2f}",
        "at least 0.9",
    )


def _over_time(settings: KafkaSettings) -> Iterator[tuple[str, str, str, str, str]]:
    took = measured(settings, "commits")
    yield (
        "a commit, 900th to 1000th",
        f"{took['last'] * 1000:.0f} ms",
        f"1st to 100th: {took['first'] * 1000:.0f} ms",
        f"{took['last'] / took['first']:.2f}",
        "at most 1.5",
    )
    yield (
        "aggregate over 1,000,000 rows of 1,000 commits",
        f"{took['aggregate'] * 1000:.1f} ms",
        f"one Parquet file: {took['ideal'] * 1000:.1f} ms",
        f"{took['aggregate'] / took['ideal']:.2f}",
        "at most 1.5",
    )
    left = measured(settings, "layout")
    yield (
        "files after 1,000 commits of 8,000 events and `mesh maintain`",
        f"{left['files']:.0f} files, {left['mib']:.0f} MiB",
        f"{left['orphans_removed']:.0f} removed",
        "",
        f"none under 32 MiB but the newest (smallest other: {left['second_smallest_mib']:.0f})",
    )
    for rate in (10_000, 1):
        fresh = measured(settings, "freshness", rate)
        yield (
            f"event to row at {rate:,}/s, p95",
            f"{fresh['p95']:.2f} s",
            "a commit every 1 s",
            f"{fresh['p95']:.2f}",
            f"at most 1.5 (worst, when traffic stops: {fresh['worst']:.2f})",
        )


def main() -> None:
    """Prints the table; with arguments, runs one measurement for it."""
    if len(sys.argv) > 1:
        settings = KafkaSettings({"bootstrap.servers": sys.argv[1]})
        print(json.dumps(MEASURES[sys.argv[2]](settings, *json.loads(sys.argv[3]))))
        return
    for row in rows():
        print(" | ".join(row), flush=True)


if __name__ == "__main__":
    main()
