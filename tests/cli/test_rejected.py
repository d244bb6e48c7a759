"""`mesh rejected` shows rejected events, whatever they contain, and replays or discards them."""

from __future__ import annotations

import json
import os
import pty
import subprocess

import pytest

from tests.conftest import Mesh, sale

TOPICS = "domains/shop/models/topics.yml"
NO_CUSTOMER = "misses the required field `customer_id`"
HOSTILE = "\x1b[2J\x1b]0;gone\x07 [red]x[/red] [/] \\[bold] :smile: \u202e\x9b31m\r\n\x00".encode()


def without_customer(number: int) -> tuple[bytes, bytes]:
    return b"k", json.dumps({"sale_id": number}).encode()


@pytest.fixture(scope="module")
def landed(new_mesh) -> Mesh:
    """Two landed sales, and six events rejected for four reasons. Tests do not change it."""
    mesh = new_mesh()
    mesh.sell(1, 2)
    mesh.send("shop.sales", [without_customer(number) for number in range(10, 13)])
    mesh.send("shop.sales", [(b"[red]\n\x1b", HOSTILE), (None, b"\xff\x00\xfe")])
    long = json.dumps({"sale_id": 1, "customer_id": 1, "amount": "x" * 300}).encode()
    mesh.send("shop.sales", [(b"k", long)])
    mesh.run("land")
    return mesh


def test_list_counts_by_table_and_reason(landed):
    shown = landed.run("rejected", "list").stdout
    assert "shop_raw.sales  shop.sales         6" in shown
    assert f"3 {NO_CUSTOMER}" in shown
    [only] = json.loads(landed.run("rejected", "list", "shop", "--json").stdout)
    assert (only["table"], only["topic"], only["rejected"]) == ("shop_raw.sales", "shop.sales", 6)
    assert only["newest"]
    assert {each["reason"]: each["rejected"] for each in only["reasons"]} == {
        NO_CUSTOMER: 3,
        "is not JSON": 1,
        "is not valid UTF-8": 1,
        "field `amount`: `…` is not a valid decimal(12,2)": 1,
    }


def test_show_escapes_what_a_terminal_or_rich_would_act_on(landed):
    shown = landed.run("rejected", "show", "shop_raw.sales", "--reason", "not JSON").stdout
    assert shown.replace("\n", "").isprintable()
    header, line = shown.splitlines()
    assert header.split() == ["position", "time", "key", "reason", "value"]
    assert r"[red]\n\x1b" in line
    assert r"\x1b[2J\x1b]0;gone\x07 [red]x[/red] [/] \[bold] :smile: \u202e\x9b31m\r\n\x00" in line


def test_show_has_hexadecimal_digits_for_bytes_and_cuts_what_is_long(landed):
    shown = landed.run("rejected", "show", "shop_raw.sales").stdout
    assert "0xff00fe" in shown
    assert "x" * 300 not in shown
    assert max(len(line) for line in shown.splitlines()) < 300


def test_show_as_json_holds_every_byte(landed):
    shown = json.loads(landed.run("rejected", "show", "shop_raw.sales", "--json").stdout)
    by_reason = {each["reason"]: each for each in shown}
    assert by_reason["is not JSON"]["value"] == HOSTILE.decode()
    assert by_reason["is not valid UTF-8"]["value"] is None
    assert by_reason["is not valid UTF-8"]["value_base64"] == "/wD+"
    assert {"partition", "offset", "timestamp", "key", "landed_at"} <= shown[0].keys()


def test_show_says_how_many_more_there_are(landed):
    done = landed.run("rejected", "show", "shop_raw.sales", "--reason", "customer", "--limit", "2")
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == "2 of 3 events; --limit shows more\n"


@pytest.mark.parametrize("command", ["list", "show", "replay", "discard"])
def test_an_unknown_table_is_exit_code_2_with_those_there_are(landed, command):
    done = landed.run("rejected", command, "shop_raw.zzz", code=2)
    assert done.stderr == (
        "mesh: `shop_raw.zzz` is neither a domain with topics nor a raw table. Raw tables: "
        "shop_raw.sales.\n"
    )


@pytest.mark.parametrize("command", ["show", "replay", "discard"])
def test_a_domain_is_not_a_raw_table(landed, command):
    done = landed.run("rejected", command, "shop", code=2)
    assert done.stderr == (
        "mesh: `shop` is a domain, not a raw table. Raw tables: shop_raw.sales.\n"
    )


def test_a_raw_table_that_two_names_mean_is_listed_and_landed_once(landed):
    listed = json.loads(landed.run("rejected", "list", "shop", "shop_raw.sales", "--json").stdout)
    assert [each["table"] for each in listed] == ["shop_raw.sales"]
    landing = json.loads(landed.run("land", "shop_raw.sales", "shop", "--json").stdout)
    assert [each["table"] for each in landing] == ["shop_raw.sales"]


@pytest.mark.parametrize("command", ["show", "replay", "discard"])
def test_nothing_rejected_is_said_and_no_failure(landed, command):
    done = landed.run("rejected", command, "shop_raw.sales", "--reason", "zzz")
    assert done.stderr == (
        "Nothing of shop_raw.sales is rejected for a reason that contains `zzz`.\n"
    )


def test_without_a_subcommand_it_says_which_there_are(landed):
    shown = landed.run("rejected").stdout
    assert all(f"\n  {name} " in shown for name in ("list", "show", "replay", "discard"))


def test_a_table_that_was_never_landed_is_one_line(mesh):
    assert "(never landed)" in mesh.run("rejected", "list").stdout
    for command in ("show", "replay", "discard"):
        [line] = mesh.run("rejected", command, "shop_raw.sales", code=2).stderr.splitlines()
        assert "shop_raw.sales does not exist yet" in line
        assert "Run `mesh land shop` first." in line


def test_discard_without_a_terminal_needs_yes(landed):
    done = landed.run("rejected", "discard", "shop_raw.sales", code=2)
    assert done.stderr == (
        "mesh: This would remove 6 rejected events of shop_raw.sales for good; add --yes.\n"
    )


def test_events_that_were_rejected_by_mistake_reach_a_product(mesh):
    mesh.sell(1)
    mesh.send("shop.sales", [(b"k", sale(2)[1]), without_customer(3), (b"k", b"no json")])
    mesh.run("run", "shop")
    mesh.edit(
        TOPICS,
        "description: Who bought., config: {meta: {required: true}}",
        "description: Who bought.",
    )
    done = mesh.run("rejected", "replay", "shop_raw.sales")
    assert done.stderr == "1 events moved into shop_raw.sales, 1 are still rejected\n"
    done = mesh.run("rejected", "replay", "shop_raw.sales")
    assert done.stderr == "0 events moved into shop_raw.sales, 1 are still rejected\n"
    assert "0 rows landed" in mesh.run("land").stderr
    done = mesh.run("rejected", "discard", "shop_raw.sales", "--yes")
    assert done.stderr == "1 rejected events of shop_raw.sales removed\n"
    assert "Nothing is rejected." in mesh.run("rejected", "list").stderr


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 1), (b"y\n", 0)])
def test_discard_asks_at_a_terminal(mesh, answer, left):
    mesh.send("shop.sales", [(b"k", b"no json")])
    mesh.run("land")
    outer, inner = pty.openpty()
    os.write(outer, answer)
    done = subprocess.run(
        mesh.command("rejected", "discard", "shop_raw.sales"),
        cwd=mesh.root,
        env=mesh.environment,
        stdin=inner,
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(inner)
    os.close(outer)
    assert done.returncode == 0, done.stderr
    assert "Remove 1 rejected events of shop_raw.sales for good? [y/N]" in done.stderr
    [summary] = json.loads(mesh.run("rejected", "list", "--json").stdout)
    assert summary["rejected"] == left
