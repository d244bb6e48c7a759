"""What runs measure of promises, and error budgets: pure, with generated series and odd clocks."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meshhouse.governance.objectives import WINDOW, Look, Measurement, budget, measure
from meshhouse.repository import Column, Product

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
COLUMNS = ("order_id", "amount", "note", "sold_at")
PROMISES = {
    "refreshed_within_hours": 24, "completeness_percent": 90, "latency_minutes": 60,
    "measured_on": "sold_at", "retention_days": 30, "retained_on": "sold_at",
    "availability_percent": 95,
}  # fmt: skip


def product(**promises) -> Product:
    return Product(
        domain="sales", model="orders", version=1, is_latest=True, description="", group=None,
        columns=tuple(Column(name, "bigint") for name in COLUMNS), contract=True,
        grain=("order_id",), promises=promises, path=Path("x.yml"), line=1, sql_path=Path("x.sql"),
    )  # fmt: skip


def statistics(nulls: int = 0, newest: str = "2026-11-30 11:30:00+00:00", rows: int = 100):
    column = {"nulls": 0, "min": None, "max": None}
    return {
        "rows": rows,
        "columns": {
            "order_id": column,
            "amount": column,
            "note": {**column, "nulls": nulls},
            "sold_at": {"nulls": 0, "min": "2026-11-20 00:00:00+00:00", "max": newest},
        },
    }


LOOK = Look(NOW, refreshed=True, published=True, statistics=statistics(nulls=30))


def measured(look: Look, before=(), **promises) -> dict[str, Measurement]:
    found = measure(product(**(promises or PROMISES)), look, before)
    return {each.objective: each for each in found}


def test_every_objective_is_measured_at_a_publication():
    found = measured(LOOK)
    assert {name: each.measured for name, each in found.items()} == {
        "refreshed_within_hours": 0.0,
        "completeness_percent": 90.0,  # 30 of 300 values outside the grain are null
        "latency_minutes": 30.0,
        "retention_days": 10.5,
        "availability_percent": 100.0,
    }
    assert all(each.met for each in found.values())


def test_a_product_without_promises_is_not_measured():
    assert measure(product(), LOOK, ()) == []


@pytest.mark.parametrize(
    ("look", "objective"),
    [
        (replace(LOOK, statistics=statistics(nulls=31)), "completeness_percent"),
        (replace(LOOK, statistics=statistics(newest="2026-11-30 10:59:00+00:00")),
         "latency_minutes"),
        (replace(LOOK, statistics=None, at=NOW), None),
    ],
)  # fmt: skip
def test_broken_promises_are_found(look, objective):
    assert [name for name, each in measured(look).items() if each.met is False] == (
        [objective] if objective else []
    )


@pytest.mark.parametrize("missing", [None, {"rows": 0, "columns": {}}])
def test_what_cannot_be_measured_is_neither_kept_nor_broken(missing):
    found = measured(replace(LOOK, statistics=missing))
    for name in ("completeness_percent", "latency_minutes", "retention_days"):
        assert (found[name].measured, found[name].met) == (None, None)


def test_freshness_is_the_age_that_consumers_saw_before_the_refresh():
    first = measured(LOOK)["refreshed_within_hours"]
    late = replace(LOOK, at=NOW + 30 * HOUR)
    second = measured(late, [first])["refreshed_within_hours"]
    assert (second.measured, second.met) == (30.0, False)


def test_a_failed_run_does_not_refresh():
    first = measured(LOOK)["refreshed_within_hours"]
    failed = replace(LOOK, at=NOW + 20 * HOUR, refreshed=False, published=False)
    second = measured(failed, [first])
    assert set(second) == {"refreshed_within_hours", "availability_percent"}
    assert second["refreshed_within_hours"].since == NOW
    third = measured(replace(LOOK, at=NOW + 30 * HOUR), [first, *second.values()])
    assert third["refreshed_within_hours"].measured == 30.0


def test_a_product_that_was_never_published_has_no_freshness():
    failed = replace(LOOK, refreshed=False, published=False)
    assert measured(failed) == {}
    known = measured(replace(failed, last_refresh=NOW - 5 * HOUR))
    assert known["refreshed_within_hours"].measured == 5.0


def test_latency_counts_from_landings_without_a_column():
    promises = {"latency_minutes": 60}
    look = replace(LOOK, newest_landing=NOW - HOUR / 2)
    assert measured(look, **promises)["latency_minutes"].measured == 30.0
    look = replace(LOOK, newest_landing=None)
    assert measured(look, **promises)["latency_minutes"].measured is None


def test_a_publication_without_new_events_has_no_latency():
    first = list(measured(LOOK).values())
    again = replace(LOOK, at=NOW + 5 * HOUR)
    assert "latency_minutes" not in measured(again, first)
    newer = replace(again, statistics=statistics(newest="2026-11-30 16:00:00+00:00"))
    assert measured(newer, first)["latency_minutes"].measured == 60.0


def test_availability_is_the_fresh_share_of_the_observed_time():
    history: list[Measurement] = []
    for hours in (0, 24, 72, 96):  # stale for 24 of 96 hours
        found = measured(replace(LOOK, at=NOW + hours * HOUR), history)
        history += found.values()
    assert found["availability_percent"].measured == 75.0
    assert found["availability_percent"].met is False


# Error budgets


def met(at: datetime, is_met: bool | None = True) -> Measurement:
    value = None if is_met is None else 100.0 if is_met else 0.0
    return Measurement("completeness_percent", 90.0, value, at, at)


def refresh(at: datetime, hours: float = 24) -> Measurement:
    return Measurement("refreshed_within_hours", hours, 0.0, at, at)


def test_a_broken_promise_costs_the_time_until_it_is_kept_again():
    series = [met(NOW - 10 * HOUR), met(NOW - 6 * HOUR, False), met(NOW - 2 * HOUR)]
    found = budget(series, NOW, percent=99)
    assert found.spent == 4 * HOUR
    assert found.allowed == WINDOW * 0.01
    assert found.left_percent == round(100 * (1 - 4 / 7.2), 1)


def test_a_promise_that_is_still_broken_costs_until_now():
    assert budget([met(NOW - 3 * HOUR, False)], NOW).spent == 3 * HOUR


def test_what_was_not_measured_changes_nothing():
    series = [met(NOW - 6 * HOUR, False), met(NOW - 4 * HOUR, None), met(NOW - 2 * HOUR)]
    assert budget(series, NOW).spent == 4 * HOUR


def test_only_the_last_30_days_count():
    series = [met(NOW - timedelta(days=60), False), met(NOW - timedelta(days=29))]
    assert budget(series, NOW).spent == timedelta(days=1)


def test_a_product_that_nobody_runs_spends_the_budget_of_its_freshness():
    assert budget([refresh(NOW - 30 * HOUR)], NOW).spent == 6 * HOUR


def test_an_empty_budget_is_spent_at_once_and_never_below_zero():
    assert budget([], NOW).left_percent == 100.0
    assert budget([], NOW, percent=100).left_percent == 100.0
    assert budget([met(NOW - HOUR, False)], NOW, percent=100).left_percent == 0.0
    assert budget([met(NOW - timedelta(days=29), False)], NOW).left_percent == 0.0


def test_a_clock_that_went_back_counts_no_time_twice():
    series = [met(NOW - 10 * HOUR, False), met(NOW - 2 * HOUR, False), met(NOW - 5 * HOUR)]
    assert budget(series, NOW).spent == 5 * HOUR


def test_a_clock_that_was_ahead_counts_no_time_to_come():
    series = [met(NOW - 4 * HOUR), met(NOW + 5000 * HOUR, False), met(NOW - 2 * HOUR, False)]
    assert budget(series, NOW).spent == 2 * HOUR
    assert budget([refresh(NOW + 5000 * HOUR)], NOW).spent == timedelta(0)


@pytest.mark.parametrize("seed", range(200))
def test_generated_series_agree_with_a_minute_by_minute_count(seed):
    """A slow reference: the state of each minute is that of the newest measurement before it."""
    chance = random.Random(seed)
    times = sorted(chance.sample(range(1, 40 * 24 * 60), chance.randint(1, 12)), reverse=True)
    is_fresh = chance.random() < 0.5
    series, turns_bad = [], []
    for minutes in times:
        at = NOW - timedelta(minutes=minutes)
        if is_fresh:
            hours = chance.choice([1, 24, 100])
            series.append(refresh(at, hours))
            turns_bad.append((minutes, minutes - 60 * hours))
        else:
            good = chance.random() < 0.5
            series.append(met(at, good))
            turns_bad.append((minutes, -1 if good else minutes))
    bad = 0
    for minute in range(30 * 24 * 60, 0, -1):
        newest = [each for each in turns_bad if each[0] >= minute]
        bad += bool(newest) and minute <= newest[-1][1]
    found = budget(series, NOW)
    assert found.spent == timedelta(minutes=bad)
    assert timedelta(0) <= found.spent <= WINDOW


@pytest.mark.parametrize("seed", range(100))
def test_whatever_clocks_did_the_spent_time_is_within_the_window(seed):
    chance = random.Random(seed)
    series = [
        met(NOW + timedelta(hours=chance.randint(-2000, 500)), chance.choice([True, False, None]))
        for _ in range(chance.randint(0, 20))
    ]
    assert timedelta(0) <= budget(series, NOW).spent <= WINDOW
