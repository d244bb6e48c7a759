"""Costs sum to the whole, however they are divided."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import meshhouse
from meshhouse.engines import engine
from meshhouse.usage import Cost, Read, costs, costs_of
from meshhouse.usage.shares import divided

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
AMOUNTS = st.integers(0, 10**15)
NAMES = st.sampled_from(["shop.orders", "shop.refunds", "crm.customers", ""])
READS = st.lists(
    st.builds(
        Read,
        st.just(NOW),
        NAMES,
        st.none(),
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(["", "crm", "finance"]),
        st.just("python"),
        st.integers(1, 1000),
        nanocredits=st.none() | AMOUNTS,
    )
)


def run(domain="shop", milliseconds=1000, became=None, worked=None):
    return {
        "domain": domain,
        "started_at": NOW,
        "finished_at": NOW + timedelta(milliseconds=milliseconds),
        "products": became if became is None else json.dumps(became),
        "milliseconds": worked if worked is None else json.dumps(worked),
    }


RUNS = st.lists(
    st.builds(
        run,
        st.sampled_from(["shop", "crm"]),
        st.integers(0, 10**9),
        st.none()
        | st.dictionaries(
            st.sampled_from(["orders", "refunds"]), st.sampled_from(["published", "unchanged"])
        ),
        st.none() | st.dictionaries(st.sampled_from(["orders", "refunds"]), st.integers(0, 10**6)),
    )
)


@given(AMOUNTS, st.dictionaries(st.text(), st.integers(0, 10**9), min_size=1))
def test_shares_sum_to_the_whole_and_are_fair(total, weights):
    shares = divided(total, weights)
    assert sum(shares.values()) == total
    whole = sum(weights.values())
    for each, weight in weights.items():
        if whole:
            assert abs(shares[each] * whole - total * weight) < whole
        else:
            assert abs(shares[each] * len(weights) - total) < len(weights)


@given(st.dictionaries(NAMES.filter(bool), AMOUNTS), RUNS, READS)
def test_domains_products_and_consumers_sum_to_the_same_whole(sizes, runs, reads):
    found = costs_of([], sizes, runs, reads, NOW)
    lasted = sum(round((each["finished_at"] - NOW).total_seconds() * 1000) for each in runs)
    spent = sum(each.nanocredits or 0 for each in reads)
    assert found.total == Cost(sum(sizes.values()), lasted, spent)
    for division in (found.domains, found.products, found.consumers):
        assert sum(division.values(), Cost()) == found.total


def read(consumer, count=1, product="shop.orders", **fields):
    return Read(NOW, product, None, "ann", consumer, "python", count, **fields)


def test_consumers_share_a_product_by_their_reads():
    found = costs_of(
        [], {"shop.orders": 100, "shop.refunds": 7}, [run(worked={"orders": 1})],
        [read("crm", 3), read("", 1)], NOW,
    )  # fmt: skip
    assert found.consumers == {
        "crm": Cost(75, 750), "user ann": Cost(25, 250), "nobody": Cost(7)
    }  # fmt: skip
    assert found.domains == {"shop": Cost(107, 1000)}
    assert not found.knows_credits


def test_a_consumer_pays_its_own_queries():
    found = costs_of([], {}, [], [read("crm", nanocredits=5), read("finance", nanocredits=2)], NOW)
    assert Counter({each: cost.nanocredits for each, cost in found.consumers.items()}) == {
        "crm": 5, "finance": 2
    }  # fmt: skip
    assert found.knows_credits


@pytest.mark.parametrize(
    ("entry", "products"),
    [
        (run(worked={"orders": 300, "refunds": 100}), {"orders": 750, "refunds": 250}),
        # Runs of older versions did not record the time of each product.
        (run(became={"orders": "published", "refunds": "unchanged"}), {"orders": 1000}),
        (run(became={"orders": "unchanged", "refunds": "unchanged"}),
         {"orders": 500, "refunds": 500}),
        (run(), {"(other)": 1000}),
    ],
)  # fmt: skip
def test_the_time_of_a_run_belongs_to_what_it_worked_on(entry, products):
    found = costs_of([], {}, [entry], [], NOW).products
    assert {name: cost.milliseconds for name, cost in found.items()} == {
        f"shop.{name}": milliseconds for name, milliseconds in products.items()
    }


def test_a_run_records_how_long_each_product_took(sold):
    sold.run("run", "crm")
    with meshhouse.connect(sold.root, consumer="report") as connection:
        connection.execute("select amount from shop.orders")
    ledger = engine(sold.repository).ledger
    [entry] = ledger.entries("runs", "crm")
    [(name, milliseconds)] = json.loads(entry["milliseconds"]).items()
    assert (name, milliseconds > 0) == ("customers", True)
    found = costs(sold.repository, ledger)
    assert {"crm", "report", "nobody"} <= set(found.consumers)
    assert found.total.bytes == sum(each.bytes for each in ledger.heads().values())
    assert found.products["shop.orders"].milliseconds > 0
