"""`mesh extract` sends each new file to a topic once, through kills, changes and bad files."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from meshhouse.events import open_source, open_writer
from meshhouse.events.kafka.writer import KafkaWriter
from meshhouse.extraction import new_files, steps
from meshhouse.extraction.kept import Kept
from tests.conftest import Mesh
from tests.support.extracting import extract_and_die
from tests.support.kafka_topics import Cluster

TOPICS = "domains/shop/models/topics.yml"
TABLE = "shop_raw.sales"
LONG_AGO = time.time() - 100


@dataclass
class Inbox:
    """A mesh whose sales come from files in a folder."""

    mesh: Mesh
    topic: str
    environment: dict[str, str]

    @property
    def folder(self) -> Path:
        return self.mesh.root / "domains" / "shop" / "in"

    def put(self, name: str, numbers: range, *, age: float = 100) -> Path:
        rows = "".join(f"{n},{n % 3},{n}.50\n" for n in numbers)
        return self.write(name, f"sale_id,customer_id,amount\n{rows}".encode(), age=age)

    def write(self, name: str, content: bytes, *, age: float = 100) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (time.time() - age,) * 2)
        return path

    def run(self, *arguments: str, code: int = 0):
        return self.mesh.run("extract", *arguments, code=code, environment=self.environment)

    def numbers(self) -> list[int]:
        """The sales in the topic, in order."""
        return [json.loads(each)["sale_id"] for each in self.values()]

    def values(self) -> list[bytes]:
        source = open_source(self.mesh.root, self.mesh.home)
        held = source.describe(self.topic).partitions
        ranges = {n: (each.begin, each.end) for n, each in held.items() if each.end}
        batches = source.read(self.topic, ranges, 1 << 20) if ranges else []
        return [value for batch in batches for value in batch.events["value"].to_pylist()]


def inbox_in(mesh: Mesh, topic: str, environment: dict[str, str], pattern: str = "in/*.csv"):
    mesh.edit(
        TOPICS, "topic: shop.sales",
        f"topic: {topic}, extract: {{files: '{pattern}', key: sale_id}}",
    )  # fmt: skip
    inbox = Inbox(mesh, topic, environment)
    inbox.folder.mkdir()
    return inbox


@pytest.fixture
def inbox(mesh) -> Inbox:
    return inbox_in(mesh, "shop.sales", {})


@pytest.fixture(params=["log", pytest.param("kafka", marks=pytest.mark.server)])
def anywhere(request, mesh, monkeypatch) -> Inbox:
    environment = {}
    if request.param == "kafka":
        cluster = Cluster(request.getfixturevalue("broker"))
        environment = {"KAFKA_BOOTSTRAP_SERVERS": cluster.settings.bootstrap_servers}
        mesh.run("topic", "list")  # starts the warm process, which must not have the variable
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
    return inbox_in(mesh, f"shop.sales.{os.getpid()}.{time.monotonic_ns()}", environment)


def test_new_files_are_sent_once_in_order_of_names(anywhere):
    anywhere.put("b.csv", range(3, 5))
    anywhere.put("a.csv", range(3))
    said = anywhere.run().stderr
    assert f"{TABLE}: 2 new files, 5 events sent to {anywhere.topic}" in said
    assert anywhere.numbers() == [0, 1, 2, 3, 4]

    anywhere.put("c.csv", range(5, 6))
    [result] = json.loads(anywhere.run("--json").stdout)
    assert (result["files"], result["events"], result["known"]) == (1, 1, 2)
    assert anywhere.numbers() == [0, 1, 2, 3, 4, 5]


STEPS = [
    (new_files, "write_parcel", 2), (Kept, "begin", 1), (Kept, "begin", 2),
    ("target", "append", 1), ("target", "append", 2), ("target", "append", 3),
    (Kept, "finish", 1), (Kept, "finish", 2), (Path, "unlink", 1),
]  # fmt: skip


def test_a_kill_between_any_two_steps_loses_and_doubles_nothing(anywhere, monkeypatch):
    # Small pieces, so that a kill also hits a file of which a part is sent.
    monkeypatch.setattr("meshhouse.extraction.parcel._EVENTS", 2)
    repository = anywhere.mesh.repository
    raw = repository.raw_table(TABLE)
    expected: list[int] = []
    killed = 0
    for place, name, number in STEPS:
        for is_after in (False, True):
            begin = len(expected)
            anywhere.put(f"{begin:05}a.csv", range(begin, begin + 5))
            anywhere.put(f"{begin:05}b.csv", range(begin + 5, begin + 7))
            expected += range(begin, begin + 7)
            child = os.fork()
            if child == 0:
                extract_and_die(repository, TABLE, place, name, number, is_after)
            killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
            steps.extract(repository, raw)
            assert anywhere.numbers() == expected, (name, number, is_after)
    assert killed == 2 * len(STEPS)
    assert list((anywhere.mesh.home / "extract").glob("*.arrow")) == []


def test_the_file_in_flight_may_be_gone_or_changed_after_a_kill(inbox, monkeypatch):
    monkeypatch.setattr("meshhouse.extraction.parcel._EVENTS", 2)
    path = inbox.put("a.csv", range(5))
    repository = inbox.mesh.repository
    child = os.fork()
    if child == 0:
        extract_and_die(repository, TABLE, "target", "append", 2, True)
    os.waitpid(child, 0)
    assert inbox.numbers() == [0, 1, 2, 3]
    path.unlink()
    inbox.run()
    assert inbox.numbers() == [0, 1, 2, 3, 4]


def test_a_changed_file_is_refused_and_new_ones_are_taken(inbox):
    inbox.put("a.csv", range(2))
    inbox.put("b.csv", range(2, 4))
    inbox.run()
    inbox.put("a.csv", range(7), age=50)
    inbox.put("c.csv", range(4, 6))
    [line] = inbox.run("--quiet", code=1).stderr.splitlines()
    assert "changed after they were taken" in line
    assert "in/a.csv." in line
    assert "another name" in line
    assert inbox.numbers() == [0, 1, 2, 3, 4, 5]
    assert "in/a.csv" in inbox.run(code=1).stderr
    # The same content with a later time, such as after a copy, is the same file.
    inbox.put("a.csv", range(2), age=40)
    inbox.run()
    # As large as before, but with other content.
    inbox.put("a.csv", range(1, 3), age=30)
    assert "in/a.csv" in inbox.run(code=1).stderr
    assert inbox.numbers() == [0, 1, 2, 3, 4, 5]


def test_a_bad_file_stops_before_it_and_says_where(inbox):
    inbox.put("a.csv", range(1))
    inbox.write("b.csv", b"sale_id,amount\n1,2\n3\n")
    inbox.put("c.csv", range(4, 5))
    line = inbox.run("--quiet", code=1).stderr
    assert "in/b.csv:3 has 1 cells, and the header has 2" in line
    assert "Nothing of this file was sent, and no file after it" in line
    assert inbox.numbers() == [0]
    inbox.put("b.csv", range(1, 4))
    inbox.run()
    assert inbox.numbers() == [0, 1, 2, 3, 4]


def test_forms_empty_files_and_hostile_names(mesh):
    inbox = inbox_in(mesh, "shop.sales", {}, pattern="in/**/*")
    row = {"sale_id": 1, "amount": 1.5}
    inbox.write("1 ' \" ü [red];drop.jsonl", json.dumps(row).encode())
    inbox.write("deep/er/2.csv.gz", gzip.compress(b"sale_id\n2\n"))
    inbox.write("deep/_half.csv", b"sale_id\n99\n")
    inbox.write("deep/.hidden.csv", b"sale_id\n99\n")
    inbox.write("_temporary/0.csv", b"sale_id\n99\n")
    inbox.write("empty.csv", b"")
    inbox.write("header.csv", b"sale_id,amount\n")
    pq.write_table(pa.table({"sale_id": [3]}), inbox.folder / "z.parquet")
    inbox.run()
    assert sorted(inbox.numbers()) == [1, 2, 3]
    inbox.write("damaged.csv.gz", gzip.compress(b"sale_id\n4\n" * 9)[:-9])
    assert "in/damaged.csv.gz cannot be read" in inbox.run(code=1).stderr
    (inbox.folder / "damaged.csv.gz").unlink()
    inbox.write("what", b"{}")
    assert "in/what does not say what it holds" in inbox.run(code=2).stderr
    assert sorted(inbox.numbers()) == [1, 2, 3]


def test_a_file_that_is_being_written_waits(inbox, monkeypatch):
    path = inbox.put("a.csv", range(2), age=0)
    inbox.put("b.csv", range(9, 10))
    repository = inbox.mesh.repository
    raw = repository.raw_table(TABLE)

    def meanwhile(seconds: float) -> None:
        with path.open("a") as file:
            file.write("2,2,2.50\n")

    monkeypatch.setattr(new_files.time, "sleep", meanwhile)
    done = steps.extract(repository, raw)
    assert done.unsettled == ("in/a.csv",)
    assert inbox.numbers() == []  # b.csv comes after it
    monkeypatch.setattr(new_files.time, "sleep", lambda seconds: None)
    steps.extract(repository, raw)
    assert inbox.numbers() == [0, 1, 2, 9]


def test_a_topic_or_a_state_that_does_not_fit_is_refused(anywhere):
    anywhere.put("a.csv", range(2))
    anywhere.run()
    [state] = (anywhere.mesh.home / "extract").glob("*.db")
    kept = state.read_bytes()
    state.unlink()
    assert "holds 2 extracted events" in anywhere.run(code=1).stderr
    state.write_bytes(b"not a database" * 99)
    assert f"{state} cannot be used" in anywhere.run(code=1).stderr
    state.write_bytes(kept)
    with sqlite3.connect(state) as damaged:
        damaged.execute("update sent set events = 7")
    damaged.close()
    assert "Restore the missing one" in anywhere.run(code=1).stderr
    assert anywhere.numbers() == [0, 1]


@pytest.mark.server
def test_in_kafka_another_producer_in_the_topic_is_refused(mesh, broker, monkeypatch):
    cluster = Cluster(broker)
    mesh.run("topic", "list")  # as above
    servers = cluster.settings.bootstrap_servers
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    inbox = inbox_in(mesh, cluster.create(), {"KAFKA_BOOTSTRAP_SERVERS": servers})
    inbox.put("a.csv", range(2))
    inbox.run()
    cluster.send(inbox.topic, [b'{"sale_id": 7}'])
    inbox.put("b.csv", range(2, 4))
    assert "did not write, so its position is unknown" in inbox.run(code=1).stderr
    assert inbox.numbers() == [0, 1, 7]
    assert isinstance(open_writer(mesh.root, mesh.home), KafkaWriter)


def test_files_in_an_object_store(mesh, store):
    bucket = store.bucket()
    inbox = inbox_in(mesh, "shop.sales", {}, pattern=f"s3://{bucket}/in/*/*.csv")
    inbox.folder.rmdir()

    def put(key: str, content: bytes) -> None:
        store.client.put_object(Bucket=bucket, Key=key, Body=content)

    put("in/mon/a.csv", b"sale_id\n1\n")
    put("in/tue/b b'.csv", b"sale_id\n2\n")
    put("in/tue/deep/no.csv", b"sale_id\n99\n")
    put("in/top.csv", b"sale_id\n99\n")
    said = inbox.run().stderr
    assert f"s3://{bucket}/in/tue/b b'.csv, events: 1" in said
    put("in/mon/a.csv", b"sale_id\n1\n")
    inbox.run()
    put("in/mon/a.csv", b"sale_id\n3\n")
    assert f"s3://{bucket}/in/mon/a.csv" in inbox.run(code=1).stderr
    assert inbox.numbers() == [1, 2]
    mesh.edit(TOPICS, bucket, "no-such-bucket")
    line = inbox.run(code=1).stderr
    assert "no bucket `no-such-bucket`" in line
    assert "Traceback" not in line


def test_misuse_is_one_line(inbox):
    inbox.folder.rmdir()
    [line] = inbox.run(code=2).stderr.splitlines()
    assert "There is no folder" in line
    assert "files: in/*.csv" in line
    inbox.folder.mkdir()
    link = inbox.folder / "a.csv"
    link.symlink_to("nowhere.csv")
    [line] = inbox.run(code=2).stderr.splitlines()
    assert "in/a.csv is a link to a file that does not exist" in line
    link.unlink()
    os.mkfifo(link)
    [line] = inbox.run(code=2).stderr.splitlines()
    assert "in/a.csv is not a regular file" in line
    link.unlink()
    os.close(os.open(os.fsencode(inbox.folder) + b"/\xff.csv", os.O_CREAT))
    [line] = inbox.run(code=2).stderr.splitlines()
    assert "is not UTF-8. Rename it." in line
    inbox.mesh.edit(TOPICS, "key: sale_id", "key: nothing, format: xml")
    said = inbox.mesh.run("check", code=1)
    text = said.stdout + said.stderr
    assert f"{TOPICS}:" in text
    assert "the key `nothing` is not a column" in text
    assert "`xml` is not one of jsonl, csv, parquet" in text
    inbox.mesh.edit(TOPICS, "{files: 'in/*.csv', key: nothing, format: xml}", "{fils: x}")
    assert "`files`" in inbox.mesh.run("check", code=1).stdout


def test_a_mesh_without_extraction_says_what_to_declare(mesh):
    [line] = mesh.run("extract", code=2).stderr.splitlines()
    assert "config.meta.extract" in line


def test_a_run_extracts_before_it_lands(inbox):
    inbox.put("a.csv", range(4))
    inbox.mesh.run("run", "shop")
    shown = json.loads(inbox.mesh.run("topic", "show", inbox.topic, "--json").stdout)
    assert shown["events"] == 4
    assert [(each["landed"], each["lag"]) for each in shown["raw_tables"]] == [(True, 0)]


def test_a_restored_mesh_knows_which_files_were_taken(inbox, tmp_path):
    inbox.put("a.csv", range(3))
    inbox.run()
    inbox.mesh.run("land", "shop_raw.sales")
    inbox.mesh.run("backup", str(tmp_path / "copy"))
    shutil.rmtree(inbox.mesh.home)
    inbox.mesh.run("restore", str(tmp_path / "copy"))
    inbox.put("b.csv", range(3, 5))
    inbox.run()
    assert inbox.numbers() == [0, 1, 2, 3, 4]
