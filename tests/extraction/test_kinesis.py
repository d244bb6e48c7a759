"""`mesh extract` sends each record of a Kinesis stream to a topic once, in order of each key."""

from __future__ import annotations

import base64
import json
import os
import random
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from meshhouse.errors import MeshError
from meshhouse.events import open_source
from meshhouse.events.tail.tail import LogProducer
from meshhouse.extraction import Extracted, kinesis, run, shards, steps
from meshhouse.extraction.kept import Kept
from meshhouse.extraction.kept_shards import KeptShards
from meshhouse.health.streams import streams
from meshhouse.repository import Repository
from tests.conftest import Mesh
from tests.support.extracting import extract_and_die
from tests.support.kafka_topics import Cluster
from tests.support.kinesis_fake import FakeKinesis, FakeStream, running

TOPICS = "domains/shop/models/topics.yml"
TABLE = "shop_raw.sales"
KEYS = [f"customer {number}" for number in range(6)]
AGGREGATED = b"\xf3\x89\x9a\xc2\n\x0ccustomer one"


@pytest.fixture(scope="module")
def kinesis_server() -> Iterator[FakeKinesis]:
    with running() as fake:
        yield fake


@dataclass
class Flow:
    """A stream, and a mesh that extracts it."""

    mesh: Mesh
    stream: FakeStream
    put_so_far: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    number: int = 0

    def put(self, count: int, *, age: float = 0) -> None:
        """Puts sales of all keys in turn."""
        for _ in range(count):
            key = KEYS[self.number % len(KEYS)]
            self.stream.put(key, sale(self.number), age=age)
            self.put_so_far[key].append(self.number)
            self.number += 1

    @cached_property
    def repository(self) -> Repository:
        """Read once, which halves the time of these tests."""
        return self.mesh.repository

    def extract(self, **options: Any) -> Extracted:
        return steps.extract(self.repository, self.repository.raw_table(TABLE), **options)

    def events(self, column: str) -> list[Any]:
        return events_of(self.mesh, column)

    def arrived(self) -> dict[str, list[int]]:
        """Key -> its sales in the topic, in order."""
        found: dict[str, list[int]] = defaultdict(list)
        for key, value in zip(self.events("key"), self.events("value"), strict=True):
            found[key.decode()].append(json.loads(value)["sale_id"])
        return found

    def passes(self, hours: float) -> None:
        """Makes the last extraction so much earlier."""
        [state] = (self.mesh.home / "extract").glob("*.db")
        with sqlite3.connect(state) as kept:
            kept.execute("update shards set arrived = arrived - ?, read_until = read_until - ?",
                         (hours * 3600, hours * 3600))  # fmt: skip
        kept.close()


def events_of(mesh: Mesh, column: str) -> list[Any]:
    source = open_source(mesh.root, mesh.home)
    held = source.describe("shop.sales").partitions
    ranges = {n: (each.begin, each.end) for n, each in held.items() if each.end}
    batches = source.read("shop.sales", ranges, 1 << 20) if ranges else []
    return [value for batch in batches for value in batch.events[column].to_pylist()]


def sale(number: int) -> bytes:
    return json.dumps({"sale_id": number, "customer_id": 1, "amount": "1.50"}).encode()


def declare(mesh: Mesh, extract: str) -> None:
    mesh.edit(TOPICS, "topic: shop.sales", f"topic: shop.sales, extract: {{{extract}}}")


@pytest.fixture
def flow(mesh, kinesis_server, monkeypatch) -> Flow:
    for name, value in {
        "AWS_ENDPOINT_URL": kinesis_server.url, "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(kinesis, "_BETWEEN_CALLS", 0)
    monkeypatch.setattr(kinesis, "_PAUSES", (0,))
    monkeypatch.setattr(kinesis, "_ATTEMPTS", 1)
    stream = kinesis_server.stream()
    declare(mesh, f"kinesis: {stream.name}, region: eu-west-1")
    return Flow(mesh, stream)


def test_each_key_keeps_its_order_through_splits_and_merges(flow, monkeypatch):
    monkeypatch.setattr(shards, "_RECORDS", 7)
    chance = random.Random(14)  # the same in each run
    for step in range(40):
        flow.put(chance.randrange(8))
        if step % 3 == 0:
            flow.stream.split(chance.choice(flow.stream.open()))
        if step % 5 == 0:
            ordered = sorted(flow.stream.open(), key=lambda each: each.begin)
            place = chance.randrange(len(ordered) - 1)
            flow.stream.merge(ordered[place], ordered[place + 1])
        if step % 9 == 0:
            flow.extract()
    flow.stream.throttled = 9
    flow.stream.expired = 1
    while flow.extract().events:  # a shard that closes meanwhile is left for the next run
        pass
    assert flow.arrived() == flow.put_so_far
    assert flow.extract().events == 0


def test_keys_times_and_places_arrive_with_the_values(flow):
    flow.stream.put("ü 1", b'{"sale_id": 1}', age=60)
    flow.stream.put(None, b"")
    flow.extract()
    [record, other] = flow.stream.shards["shardId-000000000000"].records
    assert flow.events("key") == ["ü 1".encode(), None]
    assert flow.events("value") == [b'{"sale_id": 1}', b""]
    [at, _] = flow.events("timestamp")
    assert abs(at.timestamp() - record["ApproximateArrivalTimestamp"]) < 0.002
    headers = [(each["key"], each["value"]) for each in flow.events("headers")[1]]
    assert headers == [
        ("kinesis.shard", b"shardId-000000000000"),
        ("kinesis.sequence", other["SequenceNumber"].encode()),
    ]


@pytest.mark.server
def test_in_kafka_an_event_has_the_place_of_its_record(flow, broker, monkeypatch):
    cluster = Cluster(broker)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", cluster.settings.bootstrap_servers)
    topic = cluster.create()
    flow.mesh.edit(TOPICS, "topic: shop.sales", f"topic: {topic}")
    for _ in range(2):
        flow.put(3)
        assert flow.extract().events == 3
    source = open_source(flow.mesh.root, flow.mesh.home)
    held = source.describe(topic).partitions
    ranges = {n: (each.begin, each.end) for n, each in held.items() if each.end}
    places = [
        {each["key"]: each["value"] for each in headers}["kinesis.sequence"].decode()
        for batch in source.read(topic, ranges, 1 << 20)
        for headers in batch.events["headers"].to_pylist()
    ]
    [shard] = flow.stream.open()
    assert sorted(places) == [each["SequenceNumber"] for each in shard.records]


STEPS = [
    (run, "write_parcel", 2), (KeptShards, "begin_records", 1), (KeptShards, "_put", 1),
    (KeptShards, "begin", 1), ("target", "append", 1), ("target", "append", 2),
    (Kept, "finish", 1), (Path, "unlink", 1), (KeptShards, "keep", 1),
]  # fmt: skip


def test_a_kill_between_any_two_steps_loses_and_doubles_nothing(flow, monkeypatch):
    # Small pieces and portions, so that a kill also hits records of which a part is sent.
    monkeypatch.setattr("meshhouse.extraction.parcel._EVENTS", 2)
    monkeypatch.setattr(shards, "_RECORDS", 4)
    killed = 0
    for place, name, number in STEPS:
        for is_after in (False, True):
            flow.put(5)
            if killed % 4 == 0:
                flow.stream.split(flow.stream.open()[-1])
            flow.put(4)
            child = os.fork()
            if child == 0:
                extract_and_die(flow.repository, TABLE, place, name, number, is_after)
            killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
            while flow.extract().events:
                pass
            assert flow.arrived() == flow.put_so_far, (name, number, is_after)
    assert killed == 2 * len(STEPS)
    assert list((flow.mesh.home / "extract").glob("*.arrow")) == []


@pytest.mark.parametrize("way", ["stuck", "invalid"])
def test_a_quiet_shard_goes_on_after_its_last_record_is_gone(flow, way):
    flow.stream.expired_sequence = way
    flow.put(3)
    flow.extract()
    flow.passes(23)
    flow.extract()  # nothing is new, and all is read until now
    flow.passes(2)
    flow.stream.open()[0].trimmed = 3
    flow.put(2)
    assert flow.extract().events == 2
    flow.stream.open()[0].trimmed = 5  # before its time
    flow.put(2)
    assert flow.extract().events == 2
    assert flow.arrived() == flow.put_so_far


def doctor(flow: Flow) -> str:
    return flow.mesh.run("doctor", code=None).stdout


def test_a_position_that_is_too_old_is_refused_unless_nothing_was_lost(flow):
    flow.put(3)
    flow.extract()
    flow.passes(25)
    flow.put(2)
    assert flow.extract().events == 2  # the last record is still there, so all after it are
    assert "is extracted until 20" in doctor(flow)
    flow.passes(25)
    assert "Kinesis removes records that were not sent" in doctor(flow)
    flow.stream.open()[0].trimmed = 5
    with pytest.raises(MeshError, match=r"may have removed records of shard .*-000000000000 that"):
        flow.extract()
    flow.put(3)
    flow.stream.open()[0].trimmed = 6
    line = flow.mesh.run("extract", code=1).stderr
    assert "--accept lost-records" in line
    assert flow.number == 8
    assert len(flow.events("value")) == 5
    done = flow.extract(accept=["lost-records"])
    assert done.events == 3
    assert "may have removed records of shard shardId-000000000000" in done.notes[0]
    gap, *rest = flow.events("value")[5:]
    assert gap.startswith(b"\xffmesh extract left out: Kinesis may have removed records")
    assert [json.loads(each)["sale_id"] for each in rest] == [6, 7]
    assert flow.extract().events == 0


def test_shards_that_came_and_went_meanwhile_are_refused(flow):
    flow.put(3)
    flow.extract()
    [first] = flow.stream.open()
    flow.stream.split(first)
    [left, _] = flow.stream.open()
    flow.stream.split(left)
    flow.put(9)
    first.is_listed = False
    with pytest.raises(MeshError, match="the last records of shard shardId-000000000000, which"):
        flow.extract()
    left.is_listed = False
    done = flow.extract(accept=["lost-records"])
    assert any("shards before shard shardId-000000000003" in note for note in done.notes)
    while flow.extract().events:
        pass


def test_a_shard_that_was_not_begun_in_time_is_refused(flow):
    flow.put(1)
    [first] = flow.stream.open()
    flow.stream.split(first)
    flow.extract()
    [state] = (flow.mesh.home / "extract").glob("*.db")
    with sqlite3.connect(state) as kept:  # as after a kill between the parent and its children
        kept.execute("update shards set read_until = null where not is_ended")
    kept.close()
    flow.put(6)
    flow.extract()
    assert flow.arrived() == flow.put_so_far
    with sqlite3.connect(state) as kept:
        kept.execute(
            "update shards set read_until = null, sequence = null, arrived = null "
            "where not is_ended"
        )
    kept.close()
    first.is_listed = False
    with pytest.raises(MeshError, match="the first records of shard shardId-000000000001"):
        flow.extract()


def test_a_run_that_falls_behind_what_the_stream_keeps_stops(flow, monkeypatch):
    real, hours, records = time.time, 0.0, kinesis.Stream.records

    def slowly(*arguments: Any) -> kinesis.Answer:
        nonlocal hours
        answer = records(*arguments)
        hours += 25
        flow.stream.open()[0].trimmed = 4
        return answer

    flow.put(6)
    monkeypatch.setattr(kinesis.Stream, "records", slowly)
    monkeypatch.setattr(shards, "time", SimpleNamespace(time=lambda: real() + hours * 3600))
    with pytest.raises(MeshError, match="may have removed records of shard"):
        flow.extract()
    assert flow.events("value") == []


def test_a_stream_that_was_created_again_is_refused(flow):
    flow.put(2)
    flow.extract()
    flow.stream.created += 1
    flow.put(2)
    [line] = flow.mesh.run("extract", "--quiet", code=1).stderr.splitlines()
    assert f"stream {flow.stream.name} was deleted and created again" in line
    assert "created at 2017-03-01T00:00:00.250000Z" in line
    assert "another topic" in line
    assert len(flow.events("value")) == 2


def test_a_run_that_is_stopped_while_kinesis_throttles_ends_at_once(flow, monkeypatch):
    monkeypatch.setattr(kinesis, "_PAUSES", (300,))
    flow.put(2)
    flow.stream.throttled = 10**6
    calls = iter([False] * 4)
    assert not flow.extract(stopped=lambda: next(calls, True)).complete
    flow.stream.throttled = 0
    assert flow.extract().events == 2
    monkeypatch.setattr(kinesis, "_PATIENCE", 0)
    flow.stream.throttled = 10**6
    with pytest.raises(MeshError, match=r"throttled kinesis:DescribeStreamSummary of stream"):
        flow.extract()


def test_what_cannot_land_is_rejected_by_name(flow, monkeypatch):
    monkeypatch.setattr(LogProducer, "max_event_bytes", 90)
    for value in (
        sale(1), AGGREGATED, b"\x00\xff", b"7", b" " * 90 + sale(2),
    ):  # fmt: skip
        flow.stream.put("customer 1", value)
    done = flow.extract()
    assert done.events == 5
    assert "is longer than the 90 bytes of an event" in done.notes[0]
    assert "1 record of" in done.notes[1]
    said = flow.mesh.run("land", TABLE).stderr
    assert "1 rows landed, 4 events rejected" in said
    reasons = flow.mesh.run("rejected", "show", TABLE).stdout
    assert reasons.count("Kinesis Producer Library") == 1
    assert reasons.count("records that were not extracted") == 1


def test_moto_is_read_as_kinesis(mesh, store, monkeypatch):
    # The store's variables lead to moto.
    client = boto3.client("kinesis", region_name="eu-west-1")
    client.create_stream(StreamName="orders.1", ShardCount=3)
    for number in range(9):
        client.put_record(StreamName="orders.1", PartitionKey=f"c{number}", Data=sale(number))
    declare(mesh, "kinesis: orders.1, region: eu-west-1")
    assert "9 events sent to shop.sales" in mesh.run("extract").stderr
    client.split_shard(
        StreamName="orders.1", ShardToSplit="shardId-000000000000", NewStartingHashKey="10"
    )
    assert "0 events sent to shop.sales" in mesh.run("extract").stderr
    client.merge_shards(
        StreamName="orders.1", ShardToMerge="shardId-000000000003",
        AdjacentShardToMerge="shardId-000000000004",
    )  # fmt: skip
    assert "9 rows landed, 0 events rejected" in mesh.run("land", TABLE).stderr
    client.delete_stream(StreamName="orders.1")
    [line] = mesh.run("extract", code=2).stderr.splitlines()
    assert "There is no stream `orders.1` in eu-west-1" in line


def test_misuse_is_one_line(flow, monkeypatch):
    def said(**environment: str) -> str:
        code = None
        done = flow.mesh.run("extract", code=code, environment=environment)
        assert done.returncode in (1, 2)
        [line] = done.stderr.splitlines()
        assert "secret" not in line
        return line

    assert "does not answer" in said(AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert "holds a user name or a password" in said(AWS_ENDPOINT_URL_KINESIS="http://u:secret@h")
    assert "There are no credentials for Kinesis" in said(
        AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_SHARED_CREDENTIALS_FILE="/dev/null",
        AWS_CONFIG_FILE="/dev/null",
    )  # fmt: skip
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(MeshError, match=r'`make kinesis`, or `pip install "meshhouse\[kinesis\]"`'):
        flow.extract()
    declared = f"kinesis: {flow.stream.name}, region: eu-west-1"
    for wrong, reason in {
        "kinesis: 'a b'": "must be the name of a stream",
        "region: eu-west-1": "must be the name of a stream",
        "kinesis: a, region: 'EU 1'": "must be the name of a region",
        "kinesis: a, key: sale_id": "the record's partition key: remove `key`",
        "kinesis: a, files: 'in/*'": "`files` does not belong to a stream",
        "kinesis: a, table: a.b": "`table` does not belong to a stream",
    }.items():
        flow.mesh.edit(TOPICS, declared, wrong)
        shown = flow.mesh.run("check", code=1).stdout
        assert f"{TOPICS}:" in shown
        assert reason in shown
        flow.mesh.edit(TOPICS, wrong, declared)


def test_a_shard_that_a_stopped_first_run_did_not_read_can_lose_records(flow, monkeypatch):
    [parent] = flow.stream.open()
    flow.stream.split(parent)
    parent.is_listed = False
    flow.put(12)
    sent: list[str] = []
    monkeypatch.setattr(shards, "_RECORDS", 1)
    flow.extract(say=sent.append, stopped=lambda: bool(sent))
    [found] = streams(flow.repository)
    assert "at the latest, Kinesis begins to remove records that were not sent" in found.what
    read = {json.loads(each)["sale_id"] for each in flow.events("value")}
    [unread] = [
        each for each in flow.stream.open()
        if not read & {json.loads(base64.b64decode(r["Data"]))["sale_id"] for r in each.records}
    ]  # fmt: skip
    flow.passes(30)
    unread.trimmed = len(unread.records)
    with pytest.raises(MeshError, match=unread.name):
        flow.extract()
    flow.extract(accept=["lost-records"])
    assert sum(each.startswith(b"{") for each in flow.events("value")) == 12 - unread.trimmed


def test_a_shard_that_disappears_during_a_run_is_a_gap(flow, monkeypatch):
    [parent] = flow.stream.open()
    flow.stream.split(parent)
    parent.is_listed = False
    flow.put(12)
    stays = min(flow.stream.open(), key=lambda each: len(each.records))  # it ends first
    for each in flow.stream.open():
        each.is_closed = True
    listing = kinesis.Stream.shards
    listed: list[int] = []

    def shrinking(stream):
        found = listing(stream)
        listed.append(len(found))
        return found if len(listed) == 1 else {stays.name: found[stays.name]}

    monkeypatch.setattr(kinesis.Stream, "shards", shrinking)
    notes = flow.extract(accept=["lost-records"]).notes
    assert any("which is gone" in each for each in notes)


def test_a_misspelt_stream_creates_no_topic(flow):
    flow.mesh.edit(TOPICS, f"kinesis: {flow.stream.name}", "kinesis: misspelt")
    with pytest.raises(MeshError, match="misspelt"):
        flow.extract()
    assert "shop.sales" not in open_source(flow.mesh.root, flow.mesh.home).topics()
