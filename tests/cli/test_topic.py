"""`mesh topic` creates, fills, shows and reads topics: the same in the event log and in Kafka."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from meshhouse.events import event_log
from meshhouse.events.kafka.source import KafkaSource
from meshhouse.locks import folder_lock
from tests.conftest import WARM, Mesh
from tests.support.chaos import wait_until
from tests.support.kafka_topics import Cluster

TOPICS = "domains/shop/models/topics.yml"
HOSTILE = "\x1b[2J[red]x[/red] :smile: \u202e\x00"
_numbers = count()


@dataclass
class Place:
    """A mesh whose topics are in the event log or in Kafka."""

    mesh: Mesh
    environment: dict[str, str]
    where: str
    source: object

    def run(self, *arguments: str, code: int = 0):
        return self.mesh.run("topic", *arguments, code=code, environment=self.environment)

    def refused(self, *arguments: str) -> str:
        """The one line of a command that is refused."""
        done = self.run(*arguments, code=2)
        [line] = done.stderr.splitlines()
        return line

    def new(self) -> str:
        """A name that no topic has."""
        return f"t{os.getpid()}.{next(_numbers)}"

    def created(self, partitions: int = 1) -> str:
        name = self.new()
        self.run("create", name, "--partitions", str(partitions))
        return name

    def file(self, name: str, content: str | bytes) -> str:
        path = self.mesh.root / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def events(self, topic: str) -> list[dict]:
        """What the topic holds, as its source reads it."""
        partitions = self.source.describe(topic).partitions
        ranges = {n: (each.begin, each.end) for n, each in partitions.items() if each.end}
        batches = list(self.source.read(topic, ranges, 1 << 20)) if ranges else []
        found = [
            {**event, "partition": batch.partition}
            for batch in batches
            for event in batch.events.to_pylist()
        ]
        return sorted(found, key=lambda each: (each["partition"], each["offset"]))


@pytest.fixture(params=["log", pytest.param("kafka", marks=pytest.mark.server)])
def place(request, mesh) -> Iterator[Place]:
    if request.param == "log":
        yield Place(mesh, {}, "the event log .mesh/events", event_log(mesh.home))
        return
    cluster = Cluster(request.getfixturevalue("broker"))
    servers = cluster.settings.bootstrap_servers
    source = KafkaSource(cluster.settings)
    yield Place(mesh, {"KAFKA_BOOTSTRAP_SERVERS": servers}, f"Kafka at {servers}", source)
    source.close()


def test_a_topic_is_created_filled_shown_and_read(place):
    name = place.new()
    assert (
        f"created   {name} with 2 partitions, in {place.where}"
        in place.run("create", name, "--partitions", "2").stderr
    )
    assert f"Topic `{name}` exists in {place.where}" in place.refused("create", name)
    sales = [{"sale_id": n, "customer_id": n % 3, "amount": 1.25} for n in range(9)]
    lines = "".join(f"{json.dumps(each)}\n" for each in sales)
    file = place.file("sales.jsonl", lines)
    said = place.run("produce", name, file, "--key", "customer_id").stderr
    assert f"9 events sent to {name}" in said
    assert f"`mesh new topic DOMAIN.TABLE --from {name}`" in said

    held = place.events(name)
    assert sorted(each["value"].decode() for each in held) == sorted(lines.splitlines())
    assert {each["key"] for each in held} == {b"0", b"1", b"2"}

    place.mesh.edit(TOPICS, "topic: shop.sales", f"topic: {name}")
    shown = json.loads(place.run("show", name, "--json", "--limit", "3").stdout)
    assert shown["events"] == 9
    assert shown["raw_tables"] == [
        {"raw_table": "shop_raw.sales", "lag": 9, "landed": False, "declared_in": f"{TOPICS}:7"}
    ]
    assert [each["next_offset"] for each in shown["partitions"]] == [
        sum(each["partition"] == number for each in held) for number in (0, 1)
    ]
    assert len(shown["newest"]) == 3
    place.mesh.run("land", "shop", environment=place.environment)
    place.run("produce", name, file)
    shown = place.run("show", name).stdout
    assert f"{name}: 18 events, in {place.where}" in shown
    assert f"shop_raw.sales: 9 to land; declared in {TOPICS}:7" in shown
    listed = {each["topic"]: each for each in json.loads(place.run("list", "--json").stdout)}
    assert listed[name]["raw_tables"][0]["lag"] == 9

    printed = place.run("consume", name, "--json").stdout.splitlines()
    assert len(printed) == 18
    assert json.loads(printed[0]).keys() == {
        "partition", "offset", "timestamp", "key", "key_base64", "headers", "value",
        "value_base64",
    }  # fmt: skip
    limited = place.run("consume", name, "--limit", "2", "--partition", "0").stdout.splitlines()
    assert [line.split("\t")[0] for line in limited] == ["0/0", "0/1"]


@pytest.mark.parametrize("key", [b"7", "schlüssel".encode(), b"true", b"1.50"])
def test_a_key_has_the_partition_of_kafkas_default_partitioner(place, key):
    from kafka.partitioner.default import murmur2

    name = place.created(partitions=5)
    text = key.decode()
    value = text if text in ("7", "true", "1.50") else json.dumps(text)
    place.run("produce", name, place.file("e.jsonl", f'{{"k": {value}}}\n'), "--key", "k")
    [event] = place.events(name)
    assert (event["key"], event["partition"]) == (key, (murmur2(key) & 0x7FFFFFFF) % 5)


def test_events_without_a_key_are_distributed_or_go_where_they_are_sent(place):
    name = place.created(partitions=3)
    file = place.file("e.jsonl", '{"a": 1}\n' * 6)
    place.run("produce", name, file)
    assert [each["partition"] for each in place.events(name)] == [0, 0, 1, 1, 2, 2]
    place.run("produce", name, file, "--partition", "2", "--skip", "2")
    assert [each["partition"] for each in place.events(name)].count(2) == 6
    assert "has no partition 3" in place.refused("produce", name, file, "--partition", "3")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"a": 1}\n{"a": \n', "e.jsonl:2 is not JSON"),
        ('{"a": 1}\n\n[1]\n', "e.jsonl:3 is JSON, but not an object"),
        ('{"a": 1}\n{"a": NaN}\n', "e.jsonl:2 is not JSON: NaN is not a number"),
        ('{"a": 1, "a": 2}\n', "e.jsonl:1 has the field `a` more than once"),
        (b'{"a": 1}\n{"a": "\xff"}\n', "e.jsonl:2 is not UTF-8"),
        ('{"a": 1}\n{"a": "\\ud800"}\n', "e.jsonl:2 has half of a surrogate pair"),
        ('{"a": 1}\n{"b": 1}\n', "e.jsonl:2 has no `a`, which is the key"),
        ('{"a": {"b": 1}}\n', "e.jsonl:1: `a` is nested"),
    ],
)
def test_one_bad_line_sends_nothing_and_is_named(place, content, problem):
    name = place.created()
    line = place.refused("produce", name, place.file("e.jsonl", content), "--key", "a")
    assert problem in line
    assert "Nothing was sent" in line
    assert place.events(name) == []


def test_a_csv_file_keeps_the_text_of_every_cell(place):
    name = place.created()
    content = (
        "\ufeffid;amount;code;ok;note\r\n"
        '1;12.50;007;true;"two\nlines; and ""quotes"""\r\n'
        "\r\n"
        "2;;12;;schön\r\n"
    )
    place.run("produce", name, place.file("e.csv", content), "--key", "code")
    held = place.events(name)
    assert [each["value"].decode() for each in held] == [
        '{"id":1,"amount":12.50,"code":"007","ok":true,"note":"two\\nlines; and \\"quotes\\""}',
        '{"id":2,"amount":null,"code":"12","ok":null,"note":"schön"}',
    ]
    assert [each["key"] for each in held] == [b"007", b"12"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,b\n1,2\n3\n", "e.csv:3 has 1 cells, and the header has 2"),
        ('a,b\n1,"2\n', "e.csv:2 is not CSV"),
        ("a,a\n1,2\n", "names the column `a` twice"),
        ("a,\n1,2\n", "has an empty name"),
        (b"a,b\n1,\xff\n", "is not UTF-8"),
    ],
)
def test_a_bad_csv_file_sends_nothing(place, content, problem):
    name = place.created()
    assert problem in place.refused("produce", name, place.file("e.csv", content))
    assert place.events(name) == []


def test_a_parquet_file_keeps_every_value(place):
    name = place.created()
    zone = datetime(2017, 1, 1, 12, 0, 0, 123456, UTC)
    rows = pa.table(
        {
            "id": pa.array([2**53 + 1, None], pa.int64()),
            "amount": pa.array([Decimal("1234567890123456.70"), None], pa.decimal128(18, 2)),
            "rate": pa.array([0.1, 1e300]),
            "day": pa.array([date(2017, 1, 1), None]),
            "at": pa.array([zone, None], pa.timestamp("ns", "UTC")),
            "tags": pa.array([["a", None], []], pa.list_(pa.string())),
            "place": pa.array([{"x": 1}, None], pa.struct([("x", pa.int32())])),
            "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
        }
    )
    path = place.mesh.root / "e.parquet"
    pq.write_table(rows, path)
    place.run("produce", name, str(path))
    first, second = (each["value"].decode() for each in place.events(name))
    assert first == (
        '{"id":9007199254740993,"amount":1234567890123456.70,"rate":0.1,"day":"2017-01-01",'
        '"at":"2017-01-01T12:00:00.123456+00:00","tags":["a",null],"place":{"x":1},"map":{"k":1}}'
    )
    assert json.loads(second)["rate"] == 1e300
    bad = place.file("bad.parquet", b"PAR1 and more")
    assert "cannot be read as Parquet" in place.refused("produce", name, bad)


def test_a_topic_that_is_absent_is_refused_with_the_command_that_creates_it(place):
    name, file = place.new(), place.file("e.jsonl", '{"a": 1}\n')
    for command in (["produce", name, file], ["show", name], ["consume", name]):
        line = place.refused(*command)
        assert f"There is no topic `{name}`" in line
        assert f"`mesh topic create {name}`" in line
    # A topic that is declared, but absent, is listed.
    place.mesh.edit(TOPICS, "topic: shop.sales", f"topic: {name}")
    assert f"Create: `mesh topic create {name}`" in place.run("list").stderr


def test_what_events_hold_is_escaped_for_the_terminal(place):
    name = place.created()
    file = place.file("e.jsonl", json.dumps({"k": HOSTILE, "a": HOSTILE}, ensure_ascii=True))
    raw = file.replace("e.jsonl", "raw.jsonl")
    Path(raw).write_bytes('{"k": "\u202e:smile:", "a": "[red]x[/red]"}\n'.encode())
    place.run("produce", name, file, "--key", "k")
    place.run("produce", name, raw, "--key", "k")
    for command in (["show", name], ["consume", name], ["consume", name, "--json"]):
        shown = place.run(*command).stdout
        assert shown.replace("\n", "").replace("\t", "").isprintable(), command
        assert ":smile:" in shown
        assert "[red]x[/red]" in shown


def test_reading_can_begin_anywhere(place):
    name = place.created()
    place.run("produce", name, place.file("e.jsonl", "".join(f'{{"n": {n}}}\n' for n in range(5))))

    def read(*arguments: str) -> list[int]:
        lines = place.run("consume", name, "--json", *arguments).stdout.splitlines()
        return [json.loads(json.loads(line)["value"])["n"] for line in lines]

    assert read() == read("--from", "beginning") == [0, 1, 2, 3, 4]
    assert read("--from", "3") == [3, 4]
    assert read("--from", "end") == []
    assert read("--from", "2017-01-01T00:00:00Z", "--limit", "1") == [0]
    assert read("--from", "2999-01-01") == []
    assert "does not hold offset 6; it holds 0 to 5" in place.refused(
        "consume", name, "--from", "6"
    )
    assert "`x` is neither an offset nor a time" in place.refused("consume", name, "--from", "x")


def test_following_prints_new_events_until_it_is_stopped(place, tmp_path):
    name = place.created()
    file = place.file("e.jsonl", '{"n": 1}\n')
    place.run("produce", name, file)
    output = tmp_path / "out", tmp_path / "err"
    environment = {**place.mesh.environment, **place.environment}
    output[0].touch()
    arguments = ["topic", "consume", name, "--follow", "--from", "0"]
    process = WARM.start(arguments, place.mesh.root, environment, output)
    try:
        wait_until(lambda: '{"n": 1}' in output[0].read_text(), 60, "the first event")
        place.run("produce", name, place.file("f.jsonl", '{"n": 2}\n'))
        wait_until(lambda: '{"n": 2}' in output[0].read_text(), 60, "the new event")
    finally:
        os.kill(process, signal.SIGTERM)
    assert WARM.wait(process, 60) == 0
    assert output[1].read_text() == ""


def test_standard_input_is_sent_when_it_ends(place):
    import subprocess

    name = place.created()
    done = subprocess.run(
        place.mesh.command("topic", "produce", name, "-", "--json"),
        cwd=place.mesh.root, env={**place.mesh.environment, **place.environment},
        input=b'{"a": 1}\n{"a": 2}', capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["events"] == 2
    assert [each["value"] for each in place.events(name)] == [b'{"a": 1}', b'{"a": 2}']


def test_a_name_that_cannot_name_a_topic_is_refused(place):
    for name in ("a b", ".hidden", "a/b", "__consumer_offsets", "x" * 250):
        place.refused("create", name)


def test_json_is_not_sent_to_a_topic_that_declares_another_format(place):
    name = place.created()
    place.mesh.edit(TOPICS, "{topic: shop.sales, format: json}", f"{{topic: {name}, format: avro}}")
    line = place.refused("produce", name, place.file("e.jsonl", "{}"))
    assert "shop_raw.sales declares that topic" in line


def test_an_interrupted_command_says_what_it_sent_and_how_to_send_the_rest(mesh, tmp_path):
    mesh.run("topic", "create", "many")
    mesh.write("e.jsonl", "".join(f'{{"n": {n}}}\n' for n in range(25_000)))
    held = mesh.home / "events" / "many" / "0" / "lock"
    output = tmp_path / "out", tmp_path / "err"
    with folder_lock(held):  # the command waits for its first batch to be stored
        arguments = ["topic", "produce", "many", "e.jsonl"]
        process = WARM.start(arguments, mesh.root, mesh.environment, output)
        wait_until(lambda: opened(process, held), 60, "the first batch")
        os.kill(process, signal.SIGINT)
    assert WARM.wait(process, 60) == 130
    last = output[1].read_text().splitlines()[-1]
    assert "Interrupted: 10,000 of 25,000 events of e.jsonl were sent." in last
    assert "`--skip 10000`" in last
    mesh.run("topic", "produce", "many", "e.jsonl", "--skip", "10000")
    values = [
        json.loads(value)["n"]
        for batch in event_log(mesh.home).read("many", {0: (0, 25_000)}, 1 << 20)
        for value in batch.events["value"].to_pylist()
    ]
    assert values == list(range(25_000))


@pytest.mark.server
def test_what_the_cluster_refuses_is_said_with_what_was_sent(mesh, broker):
    cluster = Cluster(broker)
    name, servers = cluster.create(), cluster.settings.bootstrap_servers
    large = json.dumps({"text": "x" * 5_000_000})
    mesh.write("e.jsonl", '{"n": 1}\n' * 10_000 + f"{large}\n")
    environment = {"KAFKA_BOOTSTRAP_SERVERS": servers}
    done = mesh.run("topic", "produce", name, "e.jsonl", environment=environment, code=1)
    [line] = done.stderr.splitlines()
    assert line.startswith(f"mesh: Kafka at {servers}: ")
    assert "again" not in line
    assert "Of e.jsonl, 10,000 events were sent. Of the next 1, some may have been" in line
    assert "`--skip 10000` sends the rest." in line
    source = KafkaSource(cluster.settings)
    assert source.describe(name).partitions[0].end == 10_000
    source.close()


def opened(process: int, path: Path) -> bool:
    """Whether a process has opened a file."""
    links = [each.readlink() for each in Path(f"/proc/{process}/fd").iterdir() if each.is_symlink()]
    return path in links
