"""The guide to Kafka works as written: from no broker to a table that follows a topic."""

from __future__ import annotations

import shutil
import socket

import pytest

from meshhouse.events.kafka.settings import kafka_settings
from tests.support.chaos import wait_until
from tests.support.guides import Followed

SECRETS = {"KAFKA_SERVERS": "kafka:9093", "KAFKA_USER": "ana", "KAFKA_PASSWORD": "secret"}


@pytest.mark.server
def test_the_guide_to_kafka_lands_and_follows_a_topic(mesh, tmp_path):
    for folder in ("domains/crm", "models/overview", "models/staging"):
        shutil.rmtree(mesh.root / folder)
    for folder in ("products", "staging"):
        shutil.rmtree(mesh.root / "domains/shop/models" / folder)
    (mesh.root / "domains/shop/models/topics.yml").unlink()
    mesh.write("dependencies.yml", "projects: []\n")
    with socket.create_server(("localhost", 0)) as probe:
        port = str(probe.getsockname()[1])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    here = {"localhost:9092": f"localhost:{port}", "kafka start\n": f"kafka start --port {port}\n"}
    guide = Followed(mesh, scratch, here)
    try:
        started, listed, sent, declared, ran, lag, looked = guide.follow("kafka-from-zero.md")
        settings = kafka_settings(mesh.root, SECRETS)
        (mesh.root / "profiles/kafka.yml").unlink()
        wait_until(lambda: "all landed" in guide.run("mesh topic list\n"), 90, "following")
    finally:
        codes = guide.stop()
        mesh.run("kafka", "stop")
    assert f"Kafka runs on localhost:{port}" in started
    assert "shop.visits" in listed
    assert "3 events sent to shop.visits" in sent
    for data_type in ("decimal(18,2)", "timestamptz"):
        text = (mesh.root / "domains/shop/models/topics.yml").read_text()
        assert f"data_type: {data_type}" in text
    assert "0 findings" in declared
    assert "3 rows" in ran
    assert "all landed" in ran
    assert lag.index("3 to land") < lag.index("all landed")
    assert '"offset": 2' in looked
    assert codes == [0]
    assert settings is not None
    assert settings.properties["sasl.password"] == "secret"
