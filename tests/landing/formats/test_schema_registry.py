"""An unreachable schema registry stops the landing; only unknown schemas reject events."""

from __future__ import annotations

import base64
import socket

import pytest

from meshhouse.errors import MeshError, UsageError
from meshhouse.landing.decode import Decoder
from meshhouse.landing.formats import schema_registry as client
from meshhouse.landing.formats.schema_registry import SchemaRegistry
from tests.support.registries import decoded, framed, serving, topic

SCHEMA = {"type": "record", "name": "Sale", "fields": [{"name": "id", "type": "long"}]}
EVENT = framed(1, b"\x02")
AWAY = (503, b"")


@pytest.fixture
def served():
    with serving() as registry:
        registry.add(1, SCHEMA)
        yield registry


@pytest.fixture
def waited(monkeypatch):
    """The pauses between attempts; the tests do not wait."""
    pauses: list[float] = []
    monkeypatch.setattr(client.time, "sleep", pauses.append)
    return pauses


def decoder() -> Decoder:
    return Decoder(topic({"id": "bigint"}, "avro"))


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_registry_that_fails_for_a_while_is_asked_again_with_growing_pauses(
    served, waited, status
):
    served.failures = [(status, b"")] * 3
    assert SchemaRegistry(served.url).schema(1).text
    assert waited == [0.5, 1, 2]


def test_a_registry_that_stays_away_stops_the_landing_and_judges_no_event(
    served, waited, monkeypatch
):
    monkeypatch.setenv(client.URL, served.url)
    served.failures = [AWAY] * 6
    with pytest.raises(MeshError, match=r"answers 503, 6 times\. Nothing was landed"):
        decoded(decoder(), EVENT)
    assert len(served.asked) == 6
    assert waited == list(client.PAUSES)


def test_an_address_without_a_server_stops_the_landing(waited, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv(client.URL, f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(MeshError, match=r"cannot be reached \(ConnectionError\), 6 times"):
            decoded(decoder(), EVENT)


def test_a_landing_that_failed_goes_on_when_the_registry_is_back(served, waited, monkeypatch):
    monkeypatch.setenv(client.URL, served.url)
    by = decoder()
    served.failures = [AWAY] * 6
    with pytest.raises(MeshError):
        decoded(by, EVENT)
    assert decoded(by, EVENT).rows["id"].to_pylist() == [1]


def test_of_several_registries_the_next_one_is_asked(served, waited):
    with serving() as away:
        away.failures = [AWAY] * 9
        assert SchemaRegistry(f"{away.url}, {served.url}").schema(1).text
    assert waited == [0.5]


def test_a_schema_is_fetched_once(served):
    registry = SchemaRegistry(served.url)
    assert registry.schema(1) is registry.schema(1)
    assert served.asked == ["/schemas/ids/1"]


def test_references_are_resolved_to_any_depth_and_each_is_fetched_once(served):
    served.add(2, "shared")
    served.add(3, "middle", references={"Shared": 2})
    served.add(4, "top", references={"Middle": 3, "Shared": 2})
    top = SchemaRegistry(served.url).schema(4)
    [middle, shared] = top.references
    assert (middle.name, middle.schema.text) == ("Middle", "middle")
    assert middle.schema.references[0].schema is shared.schema
    # A slash in a subject is part of its name, and a deleted schema is still needed for old events.
    assert sorted(served.asked)[1:] == [
        "/subjects/subject%2F2/versions/1?deleted=true",
        "/subjects/subject%2F3/versions/1?deleted=true",
    ]


def test_a_reference_that_is_gone_stops_the_landing(served):
    served.add(2, "top", references={"Gone": 9})
    with pytest.raises(MeshError, match="refers to version 1 of `subject/9` but does not have it"):
        SchemaRegistry(served.url).schema(2)


def test_a_404_of_another_server_stops_the_landing_instead_of_rejecting_every_event(served):
    with pytest.raises(MeshError, match="answers 404, not as a schema registry does"):
        SchemaRegistry(f"{served.url}/wrong").schema(1)
    served.failures = [(404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}')]
    with pytest.raises(MeshError, match="answers 404, not as a schema registry does"):
        SchemaRegistry(served.url).schema(1)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"schema": 5}'])
def test_an_answer_without_a_schema_stops_the_landing(served, body):
    served.failures = [(200, body)]
    with pytest.raises(MeshError, match="answers 200, not as a schema registry does"):
        SchemaRegistry(served.url).schema(1)


@pytest.mark.parametrize("at", ["environment", "url"])
def test_the_user_reaches_the_registry_and_the_password_no_message(served, waited, monkeypatch, at):
    url = served.url
    if at == "url":
        url = url.replace("://", "://me:geh%3Aeim@")
    else:
        monkeypatch.setenv(client.USER_INFO, "me:geh:eim")
    monkeypatch.setenv(client.URL, url)
    assert decoded(decoder(), EVENT).rows.num_rows == 1
    assert served.users == [f"Basic {base64.b64encode(b'me:geh:eim').decode()}"]
    for failures in ([AWAY] * 6, [(401, b"")], [(404, b"")]):
        served.failures = failures
        with pytest.raises(MeshError) as caught:
            decoded(decoder(), EVENT)
        assert served.url in str(caught.value)
        assert "eim" not in str(caught.value)


def test_settings_that_cannot_work_say_which_without_showing_the_password(monkeypatch):
    for url, user in [("http://[x", None), ("http://x", "geheim"), ("http://me:geheim@[x", None)]:
        with pytest.raises(UsageError, match="SCHEMA_REGISTRY_") as caught:
            SchemaRegistry(url, user)
        assert "geheim" not in str(caught.value)
    with pytest.raises(UsageError, match="must begin with http:// or https:// and name a host"):
        SchemaRegistry("ftp://x")


def test_only_events_need_a_registry_and_then_it_must_be_named(monkeypatch):
    monkeypatch.delenv(client.URL, raising=False)
    by = decoder()
    assert by.columns
    with pytest.raises(UsageError, match=r"topics\.yml:7: .* Set SCHEMA_REGISTRY_URL"):
        decoded(by, EVENT)
