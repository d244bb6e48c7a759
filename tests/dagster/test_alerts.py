"""Alerts reach a real HTTP server and a real SMTP server, once for each event, without secrets."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from unittest.mock import Mock

import dagster as dg
import pytest

from meshhouse.dagster.alerts import failure_sensor, late_sensor
from meshhouse.dagster.delivery import Alert, deliver
from meshhouse.errors import MeshError, UsageError
from orchestration.alerts import alerts


class Hook(BaseHTTPRequestHandler):
    """A receiver of webhooks; fails for the path /broken, and once for /flaky."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(json.loads(body))
        is_first = len(self.server.got) == 1
        fails = self.path.endswith("broken") or (self.path.endswith("flaky") and is_first)
        self.send_response(500 if fails else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


class Post(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs to hand over a message."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                message = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.got.append(message.decode())
            self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 ok\r\n")


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[tuple[int, list]]:
    server.got = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], server.got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def received(monkeypatch) -> Iterator[tuple[list, list]]:
    """What a webhook and a mail server got."""
    with (
        serving(HTTPServer(("127.0.0.1", 0), Hook)) as (hook, posted),
        serving(socketserver.TCPServer(("127.0.0.1", 0), Post)) as (post, mailed),
    ):
        for name, value in {
            "MESH_ALERT_WEBHOOK": f"http://127.0.0.1:{hook}/secret-token",
            "MESH_ALERT_EMAIL_TO": "team@mesh.example, boss@mesh.example",
            "MESH_ALERT_EMAIL_FROM": "mesh@mesh.example",
            "MESH_SMTP_HOST": "127.0.0.1",
            "MESH_SMTP_PORT": str(post),
            "MESH_SMTP_SECURITY": "none",
            "MESH_DAGSTER_URL": "https://dagster.example/",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("meshhouse.dagster.delivery._WAITS", (0, 0))
        yield posted, mailed


@dg.asset
def broken() -> None:
    raise dg.Failure("Not published; consumers keep what they had.")


def test_a_failed_run_is_told_with_its_reason_and_a_link(received):
    posted, mailed = received
    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.Definitions(assets=[broken]).get_implicit_global_asset_job_def()
        done = job.execute_in_process(instance=instance, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            "a_run_failed", done.get_run_failure_event(), instance, done.dagster_run
        ).for_run_failure()
        failure_sensor("a_run_failed")(context)
    [hook] = posted
    assert hook["kind"] == "run_failed"
    assert hook["failures"] == ["broken: Not published; consumers keep what they had."]
    assert f"https://dagster.example/runs/{done.run_id}" in hook["text"]
    [mail] = mailed
    assert f"Subject: Mesh: run {done.run_id[:8]} failed" in mail
    assert "To: team@mesh.example, boss@mesh.example" in mail
    assert "Not published; consumers keep what they had." in mail


def test_a_late_product_is_told_once_until_it_is_refreshed(sold, received, monkeypatch):
    posted, _ = received
    sensor = late_sensor(sold.repository, "a_product_is_late", 300)

    def look(cursor: str | None) -> str | None:
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(instance=instance, cursor=cursor)
            return sensor.evaluate_tick(context).cursor

    cursor = look(None)
    assert posted == []
    later = datetime.now(UTC) + timedelta(hours=26)

    class Later(datetime):
        @classmethod
        def now(cls, tz=None) -> datetime:
            return later

    monkeypatch.setattr("meshhouse.dagster.alerts.datetime", Later)
    cursor = look(cursor)
    assert [each["products"] for each in posted] == [["shop.orders"]]
    assert "shop.orders: refreshed 1 d ago, promised every 24 hours" in posted[0]["text"]
    look(cursor)
    assert len(posted) == 1


def test_a_channel_that_fails_is_named_without_its_address_and_the_other_gets_the_alert(
    received, monkeypatch
):
    _, mailed = received
    monkeypatch.setenv("MESH_ALERT_WEBHOOK", f"{os.environ['MESH_ALERT_WEBHOOK']}/broken")
    with pytest.raises(MeshError) as failed:
        deliver(Alert("run_failed", "Title\r\nBcc: x@y.example", ("line",)))
    assert str(failed.value) == (
        "An alert was not delivered. MESH_ALERT_WEBHOOK: HTTP 500. Check these settings."
    )
    assert len(mailed) == 1
    assert "\nBcc:" not in mailed[0].partition("\r\n\r\n")[0]


def test_alerts_are_off_and_say_so_where_nobody_receives_them(mesh, monkeypatch):
    assert all(
        each.default_status is dg.DefaultSensorStatus.STOPPED for each in alerts(mesh.repository)
    )
    with pytest.raises(UsageError, match="set MESH_ALERT_WEBHOOK or MESH_ALERT_EMAIL_TO"):
        deliver(Alert("run_failed", "Title", ()))
    monkeypatch.setenv("MESH_ALERT_WEBHOOK", "file:///etc/passwd")
    with pytest.raises(MeshError, match="begins with https"):
        deliver(Alert("run_failed", "Title", ()))


def test_a_channel_that_fails_once_is_asked_again(received, monkeypatch):
    posted, mailed = received
    monkeypatch.setenv("MESH_ALERT_WEBHOOK", f"{os.environ['MESH_ALERT_WEBHOOK']}/flaky")
    deliver(Alert("run_failed", "Title", ()))
    assert (len(posted), len(mailed)) == (2, 1)


def test_a_late_product_is_not_told_twice_because_one_of_two_channels_fails(
    sold, received, monkeypatch
):
    _, mailed = received
    monkeypatch.setenv("MESH_ALERT_WEBHOOK", f"{os.environ['MESH_ALERT_WEBHOOK']}/broken")
    sensor = late_sensor(sold.repository, "a_product_is_late", 300)
    later = datetime.now(UTC) + timedelta(hours=26)
    monkeypatch.setattr("meshhouse.dagster.alerts.datetime", Mock(now=lambda zone: later))
    cursor = None
    for _ in range(2):
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(instance=instance, cursor=cursor)
            cursor = sensor.evaluate_tick(context).cursor
    assert len(mailed) == 1
