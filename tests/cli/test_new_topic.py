"""`mesh new topic` declares a topic from samples; the domain lands it at once."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from meshhouse.lake import Lake
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.scaffold.write import editing
from tests.cli.test_topic import Place, place  # noqa: F401 - a fixture
from tests.conftest import Mesh

TOPICS = "domains/shop/models/topics.yml"
STAGING = "domains/shop/models/staging"
VISITS = [
    {"visitId": 1, "customer_id": 7, "amount": 12.5, "at": "2017-01-01T12:00:00Z", "note": None},
    {"visitId": 2, "customer_id": 8, "amount": "9.90", "at": "2017-01-01T12:00:00+02:00"},
    {"visitId": 3, "customer_id": 8, "amount": 7, "at": "2017-01-02T12:00:00Z", "page": "/"},
]


def lines(*events: dict) -> str:
    return "".join(f"{json.dumps(each)}\n" for each in events)


def raw_rows(mesh: Mesh, sql: str) -> list[dict]:
    """Rows of raw tables; every value as text."""
    with connect_memory() as connection:
        create_views(connection, Lake(mesh.home).states())
        found = connection.execute(sql)
        names = [each[0] for each in found.description]
        return [dict(zip(names, map(str, row), strict=True)) for row in found.fetchall()]


def declared(mesh: Mesh, table: str) -> dict:
    content = yaml.safe_load((mesh.root / TOPICS).read_text())
    [found] = [each for each in content["sources"][0]["tables"] if each["name"] == table]
    return found


def test_a_topic_is_declared_from_its_events_and_lands(place: Place):  # noqa: F811
    mesh, topic = place.mesh, f"shop.{place.new()}"
    mesh.write("visits.jsonl", lines(*VISITS))
    place.run("create", topic)
    place.run("produce", topic, str(mesh.root / "visits.jsonl"), "--key", "customer_id")
    arguments = ["new", "topic", "shop.visits", "--from", topic, "--key", "customer_id"]
    said = mesh.run(*arguments, environment=place.environment).stderr
    assert f"read      3 events of topic {topic}" in said
    assert f"changed   {TOPICS}" in said
    assert f"wrote     {STAGING}/stg_visits.sql" in said
    assert "uncertain amount: decimal(18,2); 1 of 3 events have text" in said
    assert "uncertain note: string; no value in 3 events" in said
    assert "created" not in said
    columns = {each["name"]: each for each in declared(mesh, "visits")["columns"]}
    assert {name: each["data_type"] for name, each in columns.items()} == {
        "visitId": "bigint", "customer_id": "bigint", "amount": "decimal(18,2)",
        "at": "timestamptz", "note": "string", "page": "string",
    }  # fmt: skip
    assert "required" not in str(columns["page"])
    # Only the new topic: the test of the tiny mesh's products needs events of the other one.
    mesh.edit(TOPICS, "topic: shop.sales", f"topic: {topic}")
    mesh.run("check")
    landed = mesh.run("land", "shop_raw.visits", "--json", environment=place.environment)
    assert [(each["rows"], each["rejected"]) for each in json.loads(landed.stdout)] == [(3, 0)]
    staged = (mesh.root / STAGING / "stg_visits.sql").read_text()
    assert "visitId as visit_id," in staged
    assert "{{ adapter.quote('at') }} as at_value," in staged


def test_files_of_each_form_are_samples_and_the_domain_runs_at_once(mesh):
    mesh.sell(1)
    mesh.write("visits.csv", "visit_id,paid,day\n1,12.50,2017-01-01\n2,,2017-01-02\n")
    said = mesh.run("new", "topic", "shop.visits", "--from", "visits.csv").stderr
    assert "created   topic shop.visits with 1 partition, in the event log" in said
    assert "1. `mesh topic produce shop.visits visits.csv`" in said
    other = mesh.run("new", "topic", "shop.sold", "--from", "shop.sales", "--topic", "shop.sold")
    assert "topic produce" not in other.stderr  # a topic cannot be sent as a file
    types = [each["data_type"] for each in declared(mesh, "visits")["columns"]]
    assert types == ["bigint", "decimal(18,2)", "date"]
    mesh.run("topic", "produce", "shop.visits", "visits.csv")
    mesh.run("check")
    mesh.run("run", "shop")
    found = raw_rows(mesh, "select visit_id, paid, day from shop_raw.visits order by 1")
    assert found[0] == {"visit_id": "1", "paid": "12.50", "day": "2017-01-01"}


def test_comments_and_layout_stay(mesh):
    before = (mesh.root / TOPICS).read_text()
    written = before.replace("version: 2\n", "# By the shop team.\nversion: 2\n") + (
        "          # The till adds nothing else.\n\n# The end.\n"
    )
    mesh.write(TOPICS, written)
    mesh.write("v.jsonl", lines(*VISITS))
    for table in ("visits", "more"):
        mesh.run("new", "topic", f"shop.{table}", "--from", "v.jsonl")
    after = (mesh.root / TOPICS).read_text()
    added = after.splitlines()
    for line in written.splitlines():
        assert line in added
        added = added[added.index(line) + 1 :]
    till = after.index("# The till adds nothing else.")
    assert after.index("name: sold_at") < till < after.index("- name: visits")
    assert after.index("- name: more") < after.index("# The end.")
    tables = yaml.safe_load(after)["sources"][0]["tables"]
    assert [each["name"] for each in tables] == ["sales", "visits", "more"]
    mesh.run("check")


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "# Nothing yet.\n",
        "version: 2\r\nsources:\r\n- name: other\r\n  schema: shop_raw\r\n",
        "sources:\n  - name: elsewhere\n    schema: shop_raw\n    tables:\n"
        "        -   name: old\n            config: {meta: {topic: shop.old}}\n"
        "            columns: [{name: a, data_type: bigint}]",
        "models: []\n",
    ],
)
def test_every_file_can_be_extended(mesh, content):
    path = mesh.root / TOPICS
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode())
    for name in ("products", "staging"):
        for each in (mesh.root / "domains/shop/models" / name).iterdir():
            each.unlink()
    mesh.write("v.jsonl", lines(*VISITS))
    mesh.run("new", "topic", "shop.visits", "--from", "v.jsonl")
    after = path.read_bytes().decode()
    sources = yaml.safe_load(after)["sources"]
    assert [each["name"] for each in sources[-1]["tables"]][-1] == "visits"
    assert after.count("\r\n") in (0, after.count("\n"))
    [raw] = [each for each in mesh.repository.reading("shop").raw_tables if each.name == "visits"]
    assert raw.topic == "shop.visits"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["shop.sales", "--from", "v.jsonl"], f"shop_raw.sales is declared in {TOPICS}:7"),
        (["shop.Visits", "--from", "v.jsonl"], "`Visits` cannot name a raw table"),
        (["nowhere.visits", "--from", "v.jsonl"], "There is no domain `nowhere`"),
        (["visits", "--from", "v.jsonl"], "`visits` is not a raw table"),
        (["shop.visits"], "There is no topic `shop.visits` to take samples from"),
        (["shop.visits", "--from", "nowhere"], "`nowhere` is neither a file nor a topic"),
        (["shop.visits", "--from", "none.jsonl"], "There is no file none.jsonl"),
        (["shop.visits", "--from", "empty.jsonl"], "empty.jsonl holds no event"),
        (["shop.visits", "--from", "v.jsonl", "--key", "x"], "The samples have no field `x`"),
        (["shop.visits", "--from", "v.jsonl", "--topic", "a b"], "cannot be the name of a topic"),
        (["shop.taken", "--from", "v.jsonl"], f"{STAGING}/stg_taken.yml exists already"),
        (["shop.model", "--from", "v.jsonl"], "is a model `stg_model` already"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(mesh, arguments, problem):
    mesh.write("v.jsonl", lines(*VISITS))
    mesh.write("empty.jsonl", "\n")
    mesh.write(f"{STAGING}/stg_taken.yml", "models: []\n")
    mesh.write("domains/shop/models/products/stg_model.sql", "select 1 as a\n")
    files = {
        path: path.read_bytes() for path in (mesh.root / "domains").rglob("*") if path.is_file()
    }
    done = mesh.run("new", "topic", *arguments, code=2)
    [line] = done.stderr.splitlines()
    assert problem in line
    now = {path: path.read_bytes() for path in (mesh.root / "domains").rglob("*") if path.is_file()}
    assert now == files


def test_a_declaration_in_brackets_is_not_edited(mesh):
    mesh.write("v.jsonl", lines(*VISITS))
    text = (mesh.root / TOPICS).read_text()
    content = yaml.safe_load(text)
    mesh.write(TOPICS, yaml.safe_dump(content, default_flow_style=True))
    line = mesh.run("new", "topic", "shop.visits", "--from", "v.jsonl", code=2).stderr
    assert "so it cannot be extended" in line


def test_hostile_names_are_declared_or_left_out_and_still_land(mesh):
    event = {
        "order": 1, "ORDER": 2, "null": 3, "1e3": 4, "on": 5, "größe": 6, "x: y": 7, "# c": 8,
        "{{ a }}": 9, "it's": 10, "_offset": 11, "\x1b[31m": 12, "select": 13, "-": 14, "@a": 15,
        "landed_at": 16, "event_at": 17,
    }  # fmt: skip
    mesh.sell(1)
    mesh.write("v.jsonl", lines(event))
    said = mesh.run("new", "topic", "shop.visits", "--from", "v.jsonl").stderr
    assert said.replace("\n", "").isprintable()
    assert "ORDER: not a column, because `order` differs in case only" in said
    mesh.run("topic", "produce", "shop.visits", "v.jsonl")
    mesh.run("check")
    mesh.run("run", "shop")
    [row] = raw_rows(mesh, "select * from shop_raw.visits")
    assert (row["order"], row["null"], row["1e3"], row["x: y"], row["größe"]) == (
        "1", "3", "4", "7", "6",
    )  # fmt: skip
    assert json.loads(row["_rescued"]).keys() == {"ORDER", "{{ a }}", "it's", "_offset", "\x1b[31m"}


def test_deletions_in_a_topic_make_it_a_changelog(mesh):
    mesh.send(
        "shop.visits", [(b"1", b'{"id": 1}'), (b"2", b'{"id": 2}'), (b"1", None), (b"3", b"x")]
    )
    said = mesh.run("new", "topic", "shop.visits").stderr
    assert "changelog: true, because 1 events have no value" in said
    assert "1 events are not JSON objects" in said
    mesh.sell(1)
    mesh.run("check")
    mesh.run("run", "shop")
    assert declared(mesh, "visits")["config"]["meta"]["changelog"] is True


def test_a_call_waits_for_another_edit_and_keeps_it(mesh):
    mesh.write("v.jsonl", lines(*VISITS))
    arguments = mesh.command("new", "topic", "shop.visits", "--from", "v.jsonl")
    with editing(mesh.repository):
        before = (mesh.root / TOPICS).read_text()
        call = subprocess.Popen(
            arguments, cwd=mesh.root, env=mesh.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        descriptors = Path(f"/proc/{call.pid}/fd")
        while call.poll() is None and not any(
            os.path.realpath(each).endswith("/declarations.lock") for each in descriptors.iterdir()
        ):
            time.sleep(0.02)
        other = "- {name: other, config: {meta: {topic: shop.other}}, columns: [%s]}\n"
        added = other % "{name: a, data_type: bigint}"
        mesh.write(TOPICS, before + indented_like(before, added))
    said, _ = call.communicate(timeout=120)
    assert call.returncode == 0, said
    assert declared(mesh, "other")
    assert declared(mesh, "visits")


def indented_like(text: str, entry: str) -> str:
    """An entry with the indentation of the first table of a declaration."""
    [dash] = [line.index("-") for line in text.splitlines() if "- name: sales" in line]
    return " " * dash + entry
