"""Sinks as their users see them: declarations, `mesh run`, `mesh sinks`, `mesh check`."""

from __future__ import annotations

import json
import re

from meshhouse.dagster.sinks import has_sinks, sinks_job
from meshhouse.events import event_log
from meshhouse.lint.rules import check
from tests.conftest import Mesh

ORDERS = "domains/shop/models/products/orders.yml"
GRAIN = "        grain: [order_id]\n"


def declare(mesh: Mesh, *sinks: str) -> None:
    """Gives the product these sinks, in place of those that it has."""
    text = re.sub(r"        sinks:\n(          - .*\n)+", "", (mesh.root / ORDERS).read_text())
    lines = "".join(f"          - {each}\n" for each in sinks)
    mesh.write(ORDERS, text.replace(GRAIN, f"{GRAIN}        sinks:\n{lines}"))


def findings(mesh: Mesh) -> str:
    """What `mesh check` finds in the declarations of products."""
    found = [each for each in check(mesh.repository) if each.path == mesh.root / ORDERS]
    return "\n".join(f"{each.problem} {each.remedy}" for each in found)


def test_a_run_delivers_after_it_published_and_a_broken_sink_stops_nothing(sold: Mesh):
    declare(sold, "kafka: {topic: published.orders}", "python: {file: sinks/crm.py}",
            "postgres: {table: analytics.orders, connection: NOT_SET_PG}")  # fmt: skip
    sold.write(
        "sinks/crm.py",
        "from pathlib import Path\n"
        "def deliver(publication, rows):\n"
        "    lines = [f'{publication.product} {each.kind} {each.key}' for each in rows]\n"
        "    Path('received.txt').write_text('\\n'.join(lines))\n",
    )
    done = sold.run("run", "shop")
    assert "shop.orders to kafka:published.orders: publication" in done.stderr + done.stdout
    assert "3 rows in all" in done.stderr + done.stdout
    assert "NOT_SET_PG is not set" in done.stderr
    assert len((sold.root / "received.txt").read_text().splitlines()) == 3
    states = {each["sink"].partition(":")[0]: each
              for each in json.loads(sold.run("sinks", "--json").stdout)}  # fmt: skip
    assert [states[kind]["waiting"] for kind in ("kafka", "python", "postgres")] == [0, 0, 2]
    assert "NOT_SET_PG" in states["postgres"]["problem"]
    status = sold.run("status")
    lines = {" ".join(line.split()[:3]): line for line in status.stdout.splitlines()}
    [current] = {each["current"] for each in states.values()}
    assert lines[f"shop.orders kafka:published.orders {current}"].endswith(" 0")
    assert lines["shop.orders postgres:analytics.orders@NOT_SET_PG none"].endswith(" 2")
    assert (
        "not delivered to postgres:analytics.orders@NOT_SET_PG: the environment var"
        in status.stderr
    )
    [orders] = [each for each in json.loads(sold.run("status", "--json").stdout)
                if each["product"] == "shop.orders"]  # fmt: skip
    assert {each["sink"]: each["waiting"] for each in orders["sinks"]} == {
        each["sink"]: each["waiting"] for each in states.values()
    }
    doctor = sold.run("doctor").stdout
    assert f"shop.orders to kafka:published.orders has publication {current}" in doctor
    assert "failed, and 2 publications wait: the environment variable" in doctor
    assert "`mesh sinks --deliver shop.orders`" in doctor
    assert "NOT_SET_PG is not set" in sold.run("sinks", "--deliver", code=1).stderr
    sold.sell(4)
    sold.run("run", "shop")
    log = event_log(sold.home)
    ends = {
        n: (each.begin, each.end) for n, each in log.describe("published.orders").partitions.items()
    }
    assert sum(end - begin for begin, end in ends.values()) == 4
    assert "shop.orders added {'order_id': 4}" in (sold.root / "received.txt").read_text()
    sold.run("sinks", "--deliver", environment={"MESH_ENV": "mine"}, code=2)
    sold.run("sinks", "--deliver", "--full", code=2)
    sold.run("sinks", "crm", code=2)
    sold.run("sinks", "nowhere.orders", code=2)
    assert sinks_job(sold.repository).execute_in_process(raise_on_error=False).success is False
    assert has_sinks(sold.repository)


def test_what_is_wrong_with_a_declaration_is_said(mesh: Mesh):
    wrong = {
        "kafka: {topic: 'a b'}": "a topic's name has at most",
        "kafka: {topik: a}": "topik",
        "postgres: {table: orders, connection: PG}": "write `schema.table`",
        "cassandra: {table: orders, connection: C}": "write `keyspace.table`",
        f"cassandra: {{table: shop.{'o' * 49}, connection: C}}": "at most 48 each",
        "cassandra: {table: a.b, connection: 'cassandra://me:hunter2@host'}":
            "must be the name of an environment variable",
        "postgres: {table: a.b, connection: 'postgresql://me:hunter2@host/db'}":
            "must be the name of an environment variable",
        "python: {file: ../evil.py}": "functions are loaded from Python files in sinks/",
        "python: {file: sinks/none.py}": "there is no file `sinks/none.py`",
        "kafka: {topic: a, clear: [nobody]}": "names `nobody`, which is not a column",
        "kafka: {topic: a, without: [order_id]}": "which is its key",
        "nothing: {x: 1}": "nothing",
        "just a text": "a mapping",
    }  # fmt: skip
    for line, expected in wrong.items():
        declare(mesh, line)
        said = findings(mesh)
        assert expected in said, line
        assert "hunter2" not in said


def test_personal_columns_must_be_named(mesh: Mesh):
    old = "{name: customer_id, data_type: bigint,"
    mesh.edit(ORDERS, old, old.replace("{", "{config: {meta: {classification: personal}}, "))
    declare(mesh, "kafka: {topic: a}")
    assert "would receive personal data: customer_id" in findings(mesh)
    declare(mesh, "kafka: {topic: a, clear: [customer_id]}")
    assert "personal data" not in findings(mesh)
    declare(mesh, "kafka: {topic: a, without: [customer_id]}")
    assert "personal data" not in findings(mesh)
