"""Both Kafka clients read the same events from every topic."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from kafka.errors import UnknownBrokerIdError

from meshhouse.errors import MeshError
from meshhouse.events.errors import SourceAway, UnknownTopic
from meshhouse.events.kafka.confluent import ConfluentClient
from meshhouse.events.kafka.python import PythonClient, explained
from meshhouse.events.kafka.settings import KafkaSettings
from meshhouse.events.kafka.source import KafkaSource
from meshhouse.events.source import EVENT_SCHEMA
from tests.support.kafka_topics import Cluster

BIG = 10_000_000


@pytest.fixture(scope="module")
def cluster(broker) -> Cluster:
    return Cluster(broker)


@pytest.fixture(params=[PythonClient, ConfluentClient])
def source(request, cluster):
    made = KafkaSource(cluster.settings, request.param)
    yield made
    made.close()


def read_all(source: KafkaSource, topic: str, max_bytes: int = BIG) -> dict[int, pa.Table]:
    held = source.describe(topic).partitions
    ranges = {number: (each.begin, each.end) for number, each in held.items() if each.end}
    found: dict[int, list[pa.RecordBatch]] = {}
    stands = {number: begin for number, (begin, _) in ranges.items()}
    for batch in source.read(topic, ranges, max_bytes):
        assert batch.next_offset > stands[batch.partition]
        stands[batch.partition] = batch.next_offset
        found.setdefault(batch.partition, []).append(batch.events)
    assert stands == {number: end for number, (_, end) in ranges.items()}
    return {
        number: pa.Table.from_batches(each, EVENT_SCHEMA) for number, each in sorted(found.items())
    }


def values(source: KafkaSource, topic: str) -> list[bytes | None]:
    tables = read_all(source, topic).values()
    return [each for table in tables for each in table["value"].to_pylist()]


def test_events_arrive_with_offset_time_key_value_and_headers(cluster, source) -> None:
    topic = cluster.create(partitions=2)
    producer = cluster.producer()
    headers = [("trace", b"1"), ("trace", None), ("empty", b"")]
    producer.produce(topic, b"{}", b"k", 1, timestamp=1_500_000_000_123, headers=headers)
    producer.produce(topic, None, b"k", 1, timestamp=1_500_000_000_124)
    producer.produce(topic, b"", None, 1, timestamp=1_500_000_000_125)
    producer.flush()
    rows = read_all(source, topic)[1].to_pylist()
    moment = datetime.fromtimestamp(1_500_000_000, UTC)
    assert rows[0] == {
        "offset": 0,
        "timestamp": moment.replace(microsecond=123_000),
        "key": b"k",
        "value": b"{}",
        "headers": [{"key": key, "value": value} for key, value in headers],
    }
    assert [(row["key"], row["value"]) for row in rows[1:]] == [(b"k", None), (None, b"")]
    assert not any(row["headers"] for row in rows[1:])


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_is_read(cluster, source, codec) -> None:
    topic = cluster.create()
    sent = [json.dumps({"n": number, "pad": "x" * 50}).encode() for number in range(2_000)]
    cluster.send(topic, sent, **{"compression.type": codec, "linger.ms": 50})
    assert values(source, topic) == sent


def test_messages_of_one_mebibyte_are_read(cluster, source) -> None:
    topic = cluster.create(**{"max.message.bytes": str(2 * 1024 * 1024)})
    sent = [bytes([number]) * 1024 * 1024 for number in range(3)]
    cluster.send(topic, sent, **{"message.max.bytes": 3 * 1024 * 1024})
    assert values(source, topic) == sent


def test_only_what_transactions_committed_is_read_and_reading_ends_behind_their_marks(
    cluster, source
) -> None:
    topic = cluster.create()
    producer = cluster.producer(**{"transactional.id": f"{topic}.{source._client.__name__}"})
    producer.init_transactions()
    for number, keep in enumerate([True, False, True, False]):
        producer.begin_transaction()
        producer.produce(topic, b"%d" % number, partition=0)
        producer.flush()
        (producer.commit_transaction if keep else producer.abort_transaction)()
    held = source.describe(topic).partitions[0]
    assert values(source, topic) == [b"0", b"2"]
    assert held.end == 8  # four events and four marks of transactions


def test_an_open_transaction_holds_the_end_back(cluster, source) -> None:
    topic = cluster.create()
    producer = cluster.producer(**{"transactional.id": f"{topic}.{source._client.__name__}"})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(topic, b"undecided", partition=0)
    producer.flush()
    assert source.describe(topic).partitions[0].end == 0
    producer.abort_transaction()


def test_ranges_are_kept_to_and_batches_are_bounded(cluster, source) -> None:
    topic = cluster.create()
    cluster.send(topic, [b"x" * 1000] * 500)
    batches = list(source.read(topic, {0: (100, 300)}, 50_000))
    offsets = [each for batch in batches for each in batch.events["offset"].to_pylist()]
    assert offsets == list(range(100, 300))


def test_an_unknown_topic_is_named_with_those_that_exist(cluster, source) -> None:
    known = cluster.create(name=f"known.{source._client.__name__}")
    with pytest.raises(UnknownTopic, match=rf"no topic `nowhere` in Kafka at localhost.*{known}"):
        source.describe("nowhere")


def test_an_unreachable_cluster_gives_one_line_without_the_password(source) -> None:
    away = KafkaSource(
        KafkaSettings(
            {
                "bootstrap.servers": "localhost:1",
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "PLAIN",
                "sasl.username": "ana",
                "sasl.password": "hunter2",
                "request.timeout.ms": "2000",
            }
        ),
        source._client,
    )
    with pytest.raises(MeshError) as caught:
        away.describe("any")
    assert "Kafka at localhost:1" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value) + repr(away._settings)


def test_offsets_at_a_timestamp_are_those_of_the_first_event_after_it(cluster, source) -> None:
    topic = cluster.create()
    producer = cluster.producer()
    for number in range(10):
        producer.produce(topic, b"x", partition=0, timestamp=1_500_000_000_000 + number * 1000)
    producer.flush()
    moment = datetime.fromtimestamp(1_500_000_004, UTC)
    assert source.offsets_at(topic, moment) == {0: 4}
    assert source.offsets_at(topic, datetime(2099, 1, 1, tzinfo=UTC)) == {0: 10}


def test_a_partition_without_a_leader_is_away_and_not_an_error_for_good():
    with (
        pytest.raises(SourceAway, match="a partition has no leader now"),
        explained(KafkaSettings({"bootstrap.servers": "localhost:9"})),
    ):
        raise UnknownBrokerIdError(-1)
