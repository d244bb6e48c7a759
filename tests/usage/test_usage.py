"""What recorded reads and publications say about products, and when one counts as unused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import meshhouse
from meshhouse.engines import engine
from meshhouse.usage import Kept, Read, usage_of, usages
from meshhouse.usage.reads import UNKNOWN

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=200)


@pytest.fixture(scope="module")
def products(new_mesh):
    return new_mesh().repository.domain("shop").products


def read(days=0, product="shop.orders", columns=("amount",), count=1, **fields):
    about = {"user": "ann", "consumer": "", "via": "python", **fields}
    return Read(NOW - timedelta(days=days), product, columns, count=count, **about)


def orders(products, *reads, since=LONG_AGO, published=LONG_AGO, built=()):
    kept = Kept(since, reads)
    dates = {} if published is None else {"shop.orders": published}
    return usage_of(products, kept, built, dates, NOW)["shop.orders"]


def test_reads_are_counted_by_consumer_column_and_age(products):
    found = orders(
        products,
        read(1, columns=("amount", "order_id"), count=3, consumer="finance"),
        read(40, columns=("amount",), consumer="finance"),
        read(89, columns=None),
        read(91),
        read(1, product="shop.other"),
        built=[read(2, columns=("order_id",), consumer="crm", via="build")],
    )
    assert (found.reads_30_days, found.reads_90_days) == (4, 6)
    assert [
        (name, each.reads_30_days, each.reads_90_days) for name, each in found.consumers.items()
    ] == [("finance", 3, 4), ("crm", 1, 1), ("user ann", 0, 1)]
    assert found.columns_30_days == {"order_id": 4, "amount": 3}
    assert found.columns_90_days == {"amount": 4, "order_id": 4}
    assert found.unknown_columns_90_days == 1
    assert found.last_read == NOW - timedelta(days=1)
    assert found.state == "used"


def test_names_count_whatever_their_case(products):
    assert orders(products, read(product="SHOP.Orders")).reads_30_days == 1


@pytest.mark.parametrize(
    ("change", "state", "why"),
    [
        ({}, "unused", "none was of it in 90 days"),
        ({"since": NOW - timedelta(days=89)}, "not proved", "recorded since 2 Sep 2026"),
        ({"since": None}, "not proved", "No reads are recorded"),
        ({"published": NOW - timedelta(days=89)}, "not proved", "first published on 2 Sep 2026"),
        ({"published": None}, "not proved", "never published"),
    ],
)
def test_unused_is_only_said_where_it_is_proved(products, change, state, why):
    found = orders(products, read(100), **change)
    assert found.state == state
    assert why in found.why


def test_a_connection_that_nobody_saw_through_leaves_it_open(products):
    assert orders(products, read(91, product=UNKNOWN)).state == "unused"
    found = orders(products, read(3, product=UNKNOWN, count=2))
    assert (found.state, found.reads_90_days) == ("not proved", 0)
    assert "2 connections or queries" in found.why


def test_runs_of_other_domains_are_reads_with_the_columns_of_their_models(sold):
    sold.run("run", "crm")
    with meshhouse.connect(sold.root, consumer="report") as connection:
        connection.execute("select amount from shop.orders")
    found = usages(sold.repository, engine(sold.repository).ledger)["shop.orders"]
    assert found.consumers["crm"].reads_30_days == 1
    assert found.consumers["report"].reads_30_days == 1
    assert found.columns_30_days["amount"] >= 1
    assert found.unknown_columns_90_days == 0
    assert usages(sold.repository, engine(sold.repository).ledger)["crm.customers"].consumers == {}


def test_a_read_of_a_later_time_counts_as_one_of_now(products):
    found = orders(products, read(-300))
    assert (found.state, found.reads_30_days, found.last_read) == ("used", 1, NOW)


@pytest.mark.parametrize("name", ["people", "Others", "nobody", "user ann", "User "])
def test_a_declared_name_that_stands_for_other_readers_is_marked(products, name):
    found = orders(products, read(1, consumer=name), read(1))
    assert set(found.consumers) == {f"consumer {name}", "user ann"}


def test_what_a_reader_declares_cannot_control_the_terminal(sold):
    sold.run("sql", "select amount from shop.orders")
    [file] = (sold.home / "reads").glob("*.jsonl")
    lines = file.read_text()
    file.write_text(lines.replace('"amount"', '"amount\\u001b[31m\\u202e"'))
    for arguments in (("usage", "shop.orders"), ("usage", "--cost"), ("usage",)):
        shown = sold.run(*arguments).stdout
        assert "\x1b" not in shown
        assert "\u202e" not in shown
