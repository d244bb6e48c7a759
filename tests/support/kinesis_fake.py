"""Kinesis as AWS's API reference of 2013-12-02 describes it, for what moto does not show.

Belongs here: shards that are split and merged, answers in pages and without records, iterators and
records that expire, throttling. Not here: what must hold.

moto 5.2.5 numbers records 1, 2, 3, never ends a closed shard, and never throttles. This server
speaks the same protocol, so that boto3 itself is what reads it.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_KEYS = 2**128
_FIRST = 49590338271490256608559692538361571095921575989136588898
"""A sequence number as Kinesis writes them: more than any integer of a database."""


class Refused(Exception):
    """An error of Kinesis, by its name."""


@dataclass
class FakeShard:
    """One shard; `trimmed` of its records are too old."""

    name: str
    begin: int
    end: int
    parents: tuple[str, ...] = ()
    records: list[dict[str, Any]] = field(default_factory=list)
    trimmed: int = 0
    is_closed: bool = False
    is_listed: bool = True


@dataclass
class FakeStream:
    """One stream."""

    name: str
    created: float = 1_488_326_400.25
    retention: int = 24
    page: int = 2
    """The most records of an answer, and shards of a listing."""
    throttled: int = 0
    """How many further calls are throttled."""
    expired: int = 0
    """How many further iterators have expired."""
    expired_sequence: str = "stuck"
    """What a position that is gone does: `stuck` gives empty answers, `invalid` is refused."""
    shards: dict[str, FakeShard] = field(default_factory=dict)
    calls: int = 0
    _sequence: int = _FIRST

    def __post_init__(self) -> None:
        self._add(0, _KEYS)

    def put(self, key: str | None, value: bytes, *, age: float = 0) -> str:
        """Puts a record into the open shard of its key; returns the shard."""
        place = int.from_bytes(md5((key or "").encode(), usedforsecurity=False).digest())
        [shard] = [each for each in self.open() if each.begin <= place < each.end]
        self._sequence += 2**70 + 3
        record = {
            "SequenceNumber": str(self._sequence), "Data": base64.b64encode(value).decode(),
            "ApproximateArrivalTimestamp": time.time() - age,
        }  # fmt: skip
        shard.records.append(record if key is None else record | {"PartitionKey": key})
        return shard.name

    def open(self) -> list[FakeShard]:
        return [each for each in self.shards.values() if not each.is_closed]

    def split(self, shard: FakeShard) -> None:
        middle = (shard.begin + shard.end) // 2
        shard.is_closed = True
        self._add(shard.begin, middle, shard.name)
        self._add(middle, shard.end, shard.name)

    def merge(self, left: FakeShard, right: FakeShard) -> None:
        assert left.end == right.begin
        left.is_closed = right.is_closed = True
        self._add(left.begin, right.end, left.name, right.name)

    def _add(self, begin: int, end: int, *parents: str) -> None:
        name = f"shardId-{len(self.shards):012}"
        self.shards[name] = FakeShard(name, begin, end, parents)

    def describe_stream_summary(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"StreamDescriptionSummary": {
            "StreamName": self.name, "StreamStatus": "ACTIVE", "OpenShardCount": len(self.open()),
            "StreamARN": f"arn:aws:kinesis:eu-west-1:123456789012:stream/{self.name}",
            "RetentionPeriodHours": self.retention, "StreamCreationTimestamp": self.created,
            "EnhancedMonitoring": [],
        }}  # fmt: skip

    def list_shards(self, asked: dict[str, Any]) -> dict[str, Any]:
        first = int(asked.get("NextToken", f"{self.name}/0").partition("/")[2])
        listed = [each for each in self.shards.values() if each.is_listed]
        found = {"Shards": [_listed(each) for each in listed[first : first + self.page]]}
        following = first + self.page
        return found | (
            {"NextToken": f"{self.name}/{following}"} if following < len(listed) else {}
        )

    def get_shard_iterator(self, asked: dict[str, Any]) -> dict[str, Any]:
        shard = self.shards[asked["ShardId"]]
        begin = shard.trimmed
        if asked["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER":
            after = asked["StartingSequenceNumber"]
            [place] = [n for n, r in enumerate(shard.records) if r["SequenceNumber"] == after]
            if place < shard.trimmed and self.expired_sequence == "invalid":
                raise Refused("InvalidArgumentException")
            begin = -1 if place < shard.trimmed else place + 1
        return {"ShardIterator": f"{self.name}/{shard.name}/{begin}/full"}

    def get_records(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self.expired:
            self.expired -= 1
            raise Refused("ExpiredIteratorException")
        name, begin, state = asked["ShardIterator"].split("/")[1:]
        shard, first = self.shards[name], int(begin)
        if first < 0:
            return {
                "Records": [], "NextShardIterator": asked["ShardIterator"],
                "MillisBehindLatest": self.retention * 3_600_000,
            }  # fmt: skip
        # Every second answer is empty, although more follows.
        last = first if state == "empty" else min(first + self.page, len(shard.records))
        records = shard.records[first:last]
        rest = shard.records[last:]
        behind = 0
        if rest:
            behind = max(1, int((time.time() - rest[0]["ApproximateArrivalTimestamp"]) * 1000))
        found = {"Records": records, "MillisBehindLatest": behind}
        if shard.is_closed and not rest and not records:
            children = [each for each in self.shards.values() if name in each.parents]
            return found | {"ChildShards": [
                {"ShardId": each.name, "ParentShards": list(each.parents),
                 "HashKeyRange": _range(each)} for each in children
            ]}  # fmt: skip
        state = "full" if state == "empty" else "empty"
        return found | {"NextShardIterator": f"{self.name}/{name}/{last}/{state}"}


def _range(shard: FakeShard) -> dict[str, str]:
    return {"StartingHashKey": str(shard.begin), "EndingHashKey": str(shard.end - 1)}


def _listed(shard: FakeShard) -> dict[str, Any]:
    numbers = {"StartingSequenceNumber": str(_FIRST)}
    if shard.is_closed:
        numbers["EndingSequenceNumber"] = str(_FIRST + 2**100)
    names = zip(("ParentShardId", "AdjacentParentShardId"), shard.parents, strict=False)
    return {"ShardId": shard.name, "HashKeyRange": _range(shard), "SequenceNumberRange": numbers,
            **dict(names)}  # fmt: skip


@dataclass
class FakeKinesis:
    """A server of streams."""

    url: str = ""
    streams: dict[str, FakeStream] = field(default_factory=dict)

    def stream(self) -> FakeStream:
        """Makes a stream with one shard."""
        made = FakeStream(f"orders-{len(self.streams)}")
        self.streams[made.name] = made
        return made

    def answer(self, call: str, asked: dict[str, Any]) -> dict[str, Any]:
        named = asked.get("StreamName") or (asked.get("NextToken") or asked["ShardIterator"])
        stream = self.streams.get(named.partition("/")[0])
        if stream is None:
            raise Refused("ResourceNotFoundException")
        stream.calls += 1
        if stream.throttled:
            stream.throttled -= 1
            raise Refused("ProvisionedThroughputExceededException")
        return {
            "DescribeStreamSummary": stream.describe_stream_summary,
            "ListShards": stream.list_shards,
            "GetShardIterator": stream.get_shard_iterator,
            "GetRecords": stream.get_records,
        }[call](asked)


@contextmanager
def running() -> Iterator[FakeKinesis]:
    """Serves streams."""
    fake = FakeKinesis()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # one packet an answer: two cost 40 ms each

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            call = self.headers["X-Amz-Target"].partition(".")[2]
            try:
                status, found = 200, fake.answer(call, asked)
            except Refused as refused:
                status, found = 400, {"__type": str(refused), "message": "as the test wants"}
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
