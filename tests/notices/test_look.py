"""A look at a real mesh: a cause opens and closes once, consumers hear of changes, none is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from meshhouse.engines import engine
from meshhouse.errors import MeshError, UsageError
from meshhouse.notices import Look, look, outbox_of
from meshhouse.notices.deliver import addressed
from meshhouse.notices.message import NOTICE, Message
from tests.conftest import Mesh
from tests.support.receivers import Receiver, Request, hook_server
from tests.support.versioned import two_versions

ORDERS = "domains/shop/models/products/orders.yml"


@pytest.fixture
def hook(monkeypatch) -> Iterator[Receiver]:
    with hook_server() as receiver:
        monkeypatch.setenv("MESH_ALERT_WEBHOOK", address(receiver, "all"))
        yield receiver


def address(receiver: Receiver, path: str) -> str:
    return f"http://127.0.0.1:{receiver.port}/{path}"


def look_at(mesh: Mesh, hours: float = 0, jobs=None) -> Look:
    repository = mesh.repository
    now = datetime.now(UTC) + timedelta(hours=hours)
    return look(repository, engine(repository), jobs, now)


def run(mesh: Mesh, domain: str, outcome: str) -> None:
    """Runs a domain in this process, which is faster than the command."""
    from meshhouse.runs.run import run_domain

    repository = mesh.repository
    done = run_domain(repository, engine(repository), repository.domain(domain))
    assert done.outcome == outcome, done.message


def due_now(mesh: Mesh) -> None:
    """Makes the next attempt of what waits due at once."""
    with closing(sqlite3.connect(mesh.home / "notices" / "outbox.sqlite")) as database, database:
        database.execute("update messages set next_at = '2000-01-01T00:00:00.000000+00:00'")


def said(requests: list[Request]) -> list[tuple[str, str, str]]:
    return [(each.json["kind"], each.json["state"], each.json["domain"]) for each in requests]


def test_a_late_product_opens_once_and_closes_once(sold: Mesh, hook, monkeypatch):
    run(sold, "crm", "published")
    monkeypatch.setenv("MESH_ALERT_WEBHOOK_CRM", address(hook, "crm"))
    monkeypatch.setenv("MESH_ALERT_PING", address(hook, "ping"))
    monkeypatch.setenv("MESH_CATALOG_URL", "https://catalog.example/")
    assert look_at(sold).begun == []
    for _ in range(3):
        look_at(sold, hours=26)
    own, consumer = hook.posted
    assert (own.path, consumer.path) == ("/all", "/crm")  # what concerns crm alone goes to crm
    assert said(hook.posted) == [("late", "open", "shop"), ("breach", "open", "crm")]
    assert own.json["link"] == "https://catalog.example/products/shop/orders.html"
    assert consumer.json["facts"]["models"] == {
        "crm.customers": ["customer_id"],
        "crm.stg_shop__orders": ["amount", "customer_id", "order_id"],
    }
    for _ in range(2):
        look_at(sold)  # it is fresh again
    assert said(hook.posted[2:]) == [("late", "closed", "shop"), ("recovery", "closed", "crm")]
    assert hook.posted[2].json["key"] == own.json["key"]
    assert len(hook.pinged) == 6


def test_a_cause_that_comes_back_with_the_same_begin_is_sent_again(sold: Mesh, hook):
    for hours in (26, 0, 26, 27, 0, 26):  # the clock is set back twice
        look_at(sold, hours)
    assert said(hook.posted) == [
        ("late", state, "shop") for state in ("open", "closed", "open", "closed", "open")
    ]
    keys = [each.json["key"] for each in hook.posted]
    assert (keys[0], keys[2]) == (keys[1], keys[3])
    assert len({each.json["id"] for each in hook.posted}) == 5


def test_a_failure_stays_one_cause_for_months_until_a_run_publishes(sold: Mesh, hook):
    sold.edit("domains/shop/models/products/orders.sql", "select", "select 1 / 'x' as wrong,")
    run(sold, "shop", "failed")
    for days in (0, 31, 32, 100, 101):  # an error budget counts 30 days
        look_at(sold, 24 * days)
    states = [each.json["state"] for each in hook.posted if each.json["kind"] == "failed"]
    assert states == ["open"]


def test_publications_after_a_look_with_a_clock_that_was_ahead_are_sent(sold: Mesh, hook):
    run(sold, "crm", "published")
    look_at(sold, 24 * 365)  # it remembers the time
    hook.posted.clear()
    sold.edit(ORDERS, "    config:\n", "    deprecation_date: 2099-12-31\n    config:\n")
    run(sold, "shop", "published")
    look_at(sold)
    assert ("deprecation", "notice", "crm") in said(hook.posted)


def test_consumers_hear_of_publications_that_concern_them(sold: Mesh, hook):
    run(sold, "crm", "published")
    assert look_at(sold).changes == []  # what is published is known
    run(sold, "shop", "unchanged")
    assert look_at(sold).changes == []
    sold.edit(ORDERS, "    config:\n", "    deprecation_date: 2099-12-31\n    config:\n")
    run(sold, "shop", "published")
    for _ in range(2):
        look_at(sold)
    assert said(hook.posted) == [("deprecation", "notice", "crm")]
    assert "promised until 2099-12-31" in hook.posted[0].json["title"]
    sold.run("rollback", "shop.orders")
    look_at(sold)
    sold.edit(ORDERS, "2099-12-31", "2099-11-30")  # what was rolled back waits for a change
    run(sold, "shop", "published")
    look_at(sold)
    assert said(hook.posted[1:]) == [
        ("rollback", "notice", "crm"),
        ("deprecation", "notice", "crm"),
    ]
    assert hook.posted[2].json["facts"]["kinds"] == ["deprecation", "recovery"]


def test_readers_of_a_product_hear_of_its_second_version(sold: Mesh, hook):
    run(sold, "crm", "published")
    look_at(sold)
    two_versions(sold, latest=1)
    sold.run("run", "shop")
    look_at(sold)
    assert said(hook.posted) == [("renaming", "notice", "crm"), ("new_version", "notice", "crm")]
    renamed, version = (each.json["title"] for each in hook.posted)
    assert renamed.startswith("shop.orders is called shop.orders_v1 now.")
    assert version == "Version 2 of shop.orders was published as shop.orders_v2."


def test_a_failed_run_is_sent_with_its_reason_until_a_run_publishes(sold: Mesh, hook):
    look_at(sold)
    sold.edit("domains/shop/models/products/orders.sql", "select", "select 1 / 'x' as wrong,")
    run(sold, "shop", "failed")
    for _ in range(2):
        look_at(sold)
    [request] = hook.posted
    assert request.json["title"].startswith("shop.orders")
    assert request.json["facts"]["reason"]
    sold.edit("domains/shop/models/products/orders.sql", "select 1 / 'x' as wrong,", "select")
    run(sold, "shop", "unchanged")
    look_at(sold)
    assert [each.json["state"] for each in hook.posted] == ["open", "closed"]


def test_rejected_events_above_the_threshold(sold: Mesh, hook):
    from meshhouse.landing import land_table

    look_at(sold)
    sold.send("shop.sales", [(b"1", b"no sale")])
    repository = sold.repository
    [raw] = repository.domain("shop").raw_tables
    land_table(repository, engine(repository).store, raw)
    look_at(sold)
    [request] = hook.posted
    assert (request.json["kind"], request.json["facts"]["rejected"]) == ("rejected", 1)
    sold.edit("domains/shop/models/topics.yml", "format: json", "max_rejected_percent: 60")
    look_at(sold)
    assert hook.posted[1].json["state"] == "closed"


def test_a_kill_between_sending_and_recording_sends_the_same_message_again(sold: Mesh, hook):
    look_at(sold)
    hook.answers["/all"] = 503
    look_at(sold, hours=26)
    hook.posted.clear()
    hook.answers.clear()
    environment = {**sold.environment, "MESH_ALERT_WEBHOOK": address(hook, "all")}
    due_now(sold)
    process = subprocess.Popen(
        sold.command("notices", "send"), cwd=sold.root, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    hook.before_answer = lambda: os.kill(process.pid, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    hook.before_answer = lambda: None
    [killed] = hook.posted
    waiting, _ = outbox_of(sold.repository).waiting()  # and a second one that it is over
    due_now(sold)
    sold.run("notices", "send", environment={"MESH_ALERT_WEBHOOK": address(hook, "all")})
    _, again, over = hook.posted
    assert again.body == killed.body
    assert again.json["id"] == waiting.identity
    assert (over.json["key"], over.json["state"]) == (again.json["key"], "closed")
    assert outbox_of(sold.repository).waiting() == []


def test_what_waits_is_sent_though_the_mesh_cannot_be_read(sold: Mesh, hook, monkeypatch):
    look_at(sold)
    hook.answers["/all"] = 503
    look_at(sold, hours=26)
    hook.posted.clear()
    hook.answers.clear()
    monkeypatch.setenv("MESH_ALERT_PING", address(hook, "ping"))

    def broken(*_: object) -> None:
        raise OSError("the lake is gone")

    monkeypatch.setattr("meshhouse.notices.gather.product_statuses", broken)
    with pytest.raises(OSError, match="the lake is gone"):
        look_at(sold, hours=27)
    assert len(hook.posted) == 1
    assert hook.pinged == []  # nobody looked, so the dead man's switch must not be held


def test_an_outbox_that_cannot_be_written_does_not_hide_why_the_mesh_cannot_be_read(
    sold: Mesh, hook, monkeypatch
):
    def gone(*_: object) -> None:
        raise OSError("the lake is gone")

    def full(*_: object) -> None:
        raise MeshError("The disk is full.")

    monkeypatch.setattr("meshhouse.notices.gather.product_statuses", gone)
    monkeypatch.setattr("meshhouse.notices.outbox.Outbox.waiting", full)
    with pytest.raises(OSError, match="the lake is gone"):
        look_at(sold)


def test_no_ping_while_a_message_waits_for_long(sold: Mesh, hook, monkeypatch):
    monkeypatch.setenv("MESH_ALERT_PING", address(hook, "ping"))
    look_at(sold)
    hook.answers["/all"] = 500
    look_at(sold, hours=26)
    assert len(hook.pinged) == 2
    look_at(sold, hours=27)
    assert len(hook.pinged) == 2
    hook.answers["/ping"] = 500
    hook.answers.pop("/all")
    assert look_at(sold, hours=29).delivery.problems == ["MESH_ALERT_PING: HTTP 500."]


def test_the_command_looks_sends_and_lists(mesh: Mesh, hook):
    environment = {"MESH_ALERT_WEBHOOK": address(hook, "all")}
    assert "run `mesh notices send`" in mesh.run("notices").stderr
    assert not (mesh.home / "notices").exists()
    alone = mesh.run("notices", "send", code=2).stderr
    assert alone == (
        "mesh: Nobody receives alerts: set MESH_ALERT_WEBHOOK, MESH_ALERT_SLACK or "
        "MESH_ALERT_EMAIL_TO.\n"
    )
    done = mesh.run("notices", "send", "--quiet", environment=environment)
    assert (done.stdout, done.stderr) == ("", "")
    assert json.loads(mesh.run("notices", "--json").stdout) == {
        "open": [], "waiting": [], "sent": [],
    }  # fmt: skip
    assert "Nothing is wrong." in mesh.run("notices").stderr
    mesh.run("notices", "test", environment=environment)
    assert hook.posted[-1].json["kind"] == "test"
    assert "No message webhook waits" in mesh.run("notices", "drop", "webhook", code=2).stderr
    message = Message("k", NOTICE, "change", "shop", "It changed")
    ones = addressed([message], lambda _: ["slack"], lambda _: 0, datetime.now(UTC))
    outbox_of(mesh.repository).decide([], [], ones, {}, datetime.now(UTC))
    assert message.identity in mesh.run("notices", environment={"COLUMNS": "250"}).stdout
    dropped = mesh.run("notices", "drop", message.identity).stderr
    assert dropped == "dropped for slack: It changed\n"
    hook.answers["/all"] = 403
    failed = mesh.run("notices", "test", "--quiet", environment=environment, code=1)
    assert failed.stderr == (
        "mesh: webhook did not get the message: MESH_ALERT_WEBHOOK: HTTP 403.\n"
    )


def test_an_environment_sends_nothing(mesh: Mesh, hook, monkeypatch):
    monkeypatch.setenv("MESH_ENV", "ann")
    with pytest.raises(UsageError, match="Unset MESH_ENV"):
        look_at(mesh)


def test_two_looks_at_once_are_one(mesh: Mesh, hook):
    from meshhouse.locks import lock

    with lock(mesh.home / "notices" / "lock"):
        assert look_at(mesh).busy == str(os.getpid())


def test_a_setting_for_a_domain_that_does_not_exist_is_refused(mesh: Mesh, hook, monkeypatch):
    monkeypatch.setenv("MESH_ALERT_WEBHOOK_SHOPP", address(hook, "shop"))
    with pytest.raises(UsageError, match=r"^MESH_ALERT_WEBHOOK_SHOPP: .*no domain"):
        look_at(mesh)


def test_an_outbox_that_is_newer_than_a_restored_lake_begins_again(sold: Mesh, hook):
    run(sold, "crm", "published")
    look_at(sold)
    outbox = outbox_of(sold.repository)
    memory = {**outbox.memory("changes"), "position": 1_000}
    outbox.decide([], [], [], {"changes": memory}, datetime.now(UTC))
    look_at(sold)
    sold.run("rollback", "shop.orders", code=1)  # the only publication
    sold.edit(ORDERS, "    config:\n", "    deprecation_date: 2099-12-31\n    config:\n")
    run(sold, "shop", "published")
    look_at(sold)
    assert said(hook.posted) == [("deprecation", "notice", "crm")]


def test_a_number_that_comes_again_after_a_restore_is_another_publication(
    sold: Mesh, hook, tmp_path
):
    def deprecated(day: str) -> None:
        sold.edit(ORDERS, "    config:\n", f"    deprecation_date: {day}\n    config:\n")
        run(sold, "shop", "published")

    run(sold, "crm", "published")
    look_at(sold)
    shutil.copytree(sold.home / "lake", tmp_path / "backup")
    declared = (sold.root / ORDERS).read_text()
    deprecated("2099-12-31")
    first = sold.history("shop.orders")[0]
    look_at(sold)
    shutil.rmtree(sold.home / "lake")
    shutil.copytree(tmp_path / "backup", sold.home / "lake")
    sold.write(ORDERS, declared)
    deprecated("2098-01-01")
    assert sold.history("shop.orders")[0]["number"] == first["number"]
    look_at(sold)
    look_at(sold)
    assert [each.json["title"][-11:] for each in hook.posted] == ["2099-12-31.", "2098-01-01."]
    assert len({each.json["id"] for each in hook.posted}) == 2


def test_what_nobody_receives_is_said(sold: Mesh, hook, monkeypatch):
    monkeypatch.delenv("MESH_ALERT_WEBHOOK")
    monkeypatch.setenv("MESH_ALERT_WEBHOOK_CRM", address(hook, "crm"))
    assert look_at(sold, hours=26).unreceived == ["shop.orders is late"]
