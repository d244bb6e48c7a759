"""A schema registry for tests, and events in the framing of its clients."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa

from meshhouse.events.batches import from_rows, with_offsets
from meshhouse.landing.decode import Decoded, Decoder
from meshhouse.repository import Column, RawTable

LANDED_AT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)


def topic(columns: dict[str, str], format_: str, **settings: Any) -> RawTable:
    """A raw table with `columns` as name -> type; a `!` after the type means required."""
    declared = tuple(
        Column(name, kind.rstrip("!"), required=kind.endswith("!"))
        for name, kind in columns.items()
    )
    path = Path("models/topics.yml")
    settings = {"changelog": False, "format": format_, **settings}
    changelog = settings.pop("changelog")
    return RawTable("shop", "raw", "sales", "sales", declared, "", changelog, path, 7, **settings)


def decoded(by: Decoder, *values: bytes | None) -> Decoded:
    events = with_offsets(from_rows([(b"k", value, 1_000, None) for value in values]), 100)
    return by.decode(3, pa.Table.from_batches([events]), LANDED_AT)


def row(by: Decoder, value: bytes) -> dict[str, Any]:
    """The row of one event, without metadata columns except a filled `_rescued`."""
    done = decoded(by, value)
    assert done.rejected["reason"].to_pylist() == []
    [found] = done.rows.to_pylist()
    return {k: v for k, v in found.items() if not k.startswith("_") or (k == "_rescued" and v)}


def reason(by: Decoder, value: bytes | None) -> str:
    """The reason why an event is rejected; checks that its bytes are kept."""
    [rejected] = decoded(by, value).rejected.to_pylist()
    assert rejected["value"] == value
    return rejected["reason"]


def framed(schema_id: int, payload: bytes) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + payload


class Registry:
    """A schema registry on this machine.

    It answers the two requests of consumers as the API reference of Confluent's Schema Registry
    describes: `GET /schemas/ids/{id}` and `GET /subjects/{subject}/versions/{version}`. For Avro,
    `schemaType` is left out; without references, `references` is left out. Protobuf schemas come
    as source, or with `?format=serialized` as a descriptor in base64. An unknown schema gives a
    404 with `error_code` 40403 or 40402. No test uses a real registry.
    """

    def __init__(self) -> None:
        self.by_id: dict[int, dict[str, Any]] = {}
        self.by_version: dict[tuple[str, int], dict[str, Any]] = {}
        self.asked: list[str] = []
        self.users: list[str | None] = []
        self.failures: list[tuple[int, bytes]] = []
        """Statuses and bodies with which the next requests fail."""
        self.url = ""

    def add(
        self,
        schema_id: int,
        schema: Any,
        kind: str = "AVRO",
        references: dict[str, int] | None = None,
    ) -> None:
        """Registers a schema, also as version 1 of the subject `subject/<id>`."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        answer: dict[str, Any] = {"schema": text}
        if kind != "AVRO":
            answer["schemaType"] = kind
        if references:
            answer["references"] = [
                {"name": name, "subject": f"subject/{referred}", "version": 1}
                for name, referred in references.items()
            ]
        self.by_id[schema_id] = answer
        subject = f"subject/{schema_id}"
        self.by_version[subject, 1] = {**answer, "subject": subject, "version": 1, "id": schema_id}

    def answer(self, path: str) -> tuple[int, bytes]:
        if self.failures:
            return self.failures.pop(0)
        url = urlsplit(path)
        match [unquote(part) for part in url.path.split("/")[1:]]:
            case ["schemas", "ids", schema_id]:
                found, code = self.by_id.get(int(schema_id)), 40403
            case ["subjects", subject, "versions", version]:
                found, code = self.by_version.get((subject, int(version))), 40402
            case _:
                return 404, b"<html>Not found</html>"
        if found is None:
            return 404, json.dumps({"error_code": code, "message": "not found"}).encode()
        source = found.get("schemaType") == "PROTOBUF"
        if source and parse_qs(url.query).get("format") != ["serialized"]:
            found = {**found, "schema": 'syntax = "proto3";'}
        return 200, json.dumps(found).encode()


@contextmanager
def serving() -> Iterator[Registry]:
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked.append(self.path)
            registry.users.append(self.headers.get("Authorization"))
            status, body = registry.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    registry.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
