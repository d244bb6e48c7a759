"""What counts as wrong, what begins, and what is over: pure rules over facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from meshhouse.notices.causes import RETIRING_DAYS, causes, compared
from meshhouse.notices.facts import (
    FailureFact,
    JobFailure,
    ProductFact,
    Situation,
    TopicFact,
    Use,
)
from meshhouse.notices.failures import failures

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ORDERS = ProductFact(
    "shop.orders", "shop", "shop", "Shop team #shop", NOW - timedelta(hours=30), timedelta(hours=24)
)
CRM = Use("crm", ("crm",), (("crm.customers", ("order_id",)), ("crm.baskets", ())))


def found(*products: ProductFact, **others) -> list:
    return causes(Situation(products, **others), NOW)


def test_a_late_product_is_wrong_since_its_promise_was_broken():
    [late] = found(ORDERS)
    assert late.key == "late:shop.orders:2026-11-30T06:00:00+00:00"
    assert late.domain == "shop"
    assert late.title == "shop.orders is late"
    assert found(replace(ORDERS, refreshed_at=NOW - timedelta(hours=24))) == []
    assert found(replace(ORDERS, promise=None)) == []
    assert found(replace(ORDERS, refreshed_at=None)) == []


def test_each_consumer_hears_of_a_breach_with_its_own_models():
    other = Use("finance", ("finance",), (("finance.margins", ("*",)),))
    _, crm, finance = found(replace(ORDERS, uses=(CRM, other)))
    assert (crm.rule, crm.domain, crm.to_consumer) == ("breach", "crm", True)
    text = "\n".join(crm.lines)
    assert "crm.customers (order_id), crm.baskets (rows only)" in text
    assert "finance" not in text + str(crm.facts)
    assert "Shop team #shop" in text
    assert "finance.margins (every column)" in "\n".join(finance.lines)
    over = replace(crm, since=crm.since).closing(NOW)
    assert (over.kind, over.state, over.key) == ("recovery", "closed", crm.key)


def test_an_error_budget_burns_below_a_quarter_and_does_not_flap():
    def subjects(left: float, burning=frozenset()) -> list[str]:
        product = replace(ORDERS, promise=None, budgets=(("latency_minutes", left),))
        return [each.subject for each in causes(Situation((product,)), NOW, burning)]

    assert subjects(25.0) == []
    [subject] = subjects(24.9)
    assert subject == "shop.orders/latency_minutes"
    assert subjects(30.0, {subject}) == [subject]
    assert subjects(35.0, {subject}) == []


def test_a_version_retires_soon_only_if_it_is_read():
    ends = (NOW + timedelta(days=RETIRING_DAYS)).date()
    soon = replace(ORDERS, promise=None, deprecated_on=ends, uses=(CRM,))
    owner, consumer = found(soon)
    assert owner.facts["readers"] == ["crm"]
    assert consumer.domain == "crm"
    assert found(replace(soon, uses=())) == []
    assert found(replace(soon, deprecated_on=ends + timedelta(days=1))) == []
    assert len(found(replace(soon, deprecated_on=date(2026, 11, 1)))) == 2


def test_rejected_events_count_above_the_threshold_of_the_topic():
    topic = TopicFact("shop_raw.sales", "shop", "shop.sales", 10, 1000, 1.0)
    assert found(topics=(topic,)) == []
    [many] = found(topics=(replace(topic, rejected=11),))
    assert many.title == "1.1 % of the events of topic shop.sales were rejected"
    assert found(topics=(replace(topic, rejected=0, events=0),)) == []


def test_rejected_events_around_the_threshold_do_not_flap():
    topic = TopicFact("shop_raw.sales", "shop", "shop.sales", 11, 1000, 1.0)
    near = {"shop_raw.sales"}

    def is_open(rejected: int, *subjects: str) -> bool:
        one = Situation(topics=(replace(topic, rejected=rejected),))
        return bool(causes(one, NOW, set(subjects)))

    assert is_open(11)
    assert not is_open(10)
    assert is_open(10, *near)
    assert is_open(8, *near)
    assert not is_open(7, *near)
    never = Situation(topics=(replace(topic, rejected=0, allowed_percent=0.0),))
    assert causes(never, NOW, near) == []


def test_a_closing_title_says_what_is_over():
    job = JobFailure("maintain", "abcdef0123", NOW, ("killed",))
    burning = replace(ORDERS, promise=None, budgets=(("latency_minutes", 0.0),))
    titles = [replace(each, since=NOW).closing(NOW).title
              for each in found(burning, jobs=(job,))]  # fmt: skip
    assert titles == [
        "shop.orders: the error budget of latency_minutes is no longer burning",
        "maintain works again (run abcdef01 had failed)",
    ]


def run(number: int, outcome: str, products: dict[str, str] | None = None) -> dict:
    return {
        "run_id": f"run{number}", "outcome": outcome, "message": f"reason {number}",
        "products": products, "started_at": NOW + timedelta(hours=number),
    }  # fmt: skip


def test_products_that_fail_since_the_same_run_are_one_failure():
    bad = {"orders": "failed", "totals": "failed"}
    runs = [run(1, "published", {"orders": "published"}), run(2, "failed", bad),
            run(3, "failed", bad)]  # fmt: skip
    [only] = failures("shop", runs, ("orders", "totals"))
    assert (only.run_id, only.products, only.message) == ("run2", ("orders", "totals"), "reason 3")
    [cause] = found(failures=(only,))
    assert cause.key == f"failed:shop:{(NOW + timedelta(hours=2)).isoformat()}"
    assert cause.title == "shop.orders, shop.totals failed"


def test_a_second_failure_is_a_second_cause_and_each_ends_with_its_products():
    runs = [
        run(1, "rejected", {"orders": "rejected", "totals": "not published"}),
        run(2, "failed", {"totals": "failed"}),
    ]
    both = failures("shop", runs, ("orders", "totals"))
    assert [(each.run_id, each.products) for each in both] == [
        ("run1", ("orders",)), ("run2", ("totals",)),
    ]  # fmt: skip
    mended = [*runs, run(3, "published", {"orders": "published"})]
    assert [each.products for each in failures("shop", mended, ("orders", "totals"))] == [
        ("totals",)
    ]
    assert failures("shop", runs, ()) == []  # nobody declares them any more


@pytest.mark.parametrize(
    ("became", "is_over"),
    [("published", True), ("unchanged", True), ("disabled", True), ("not public", True),
     ("not published", False), ("held back", False), ("built", False)],
)  # fmt: skip
def test_a_failure_ends_when_consumers_see_the_product_or_nothing_builds_it(became, is_over):
    runs = [run(1, "rejected", {"orders": "rejected"}),
            run(2, "rejected", {"orders": became, "totals": "rejected"})]  # fmt: skip
    fail = {name for each in failures("shop", runs, ("orders", "totals")) for name in each.products}
    assert fail == ({"totals"} if is_over else {"orders", "totals"})


def test_a_failure_concerns_the_groups_of_its_products():
    def groups(*products: str) -> tuple[str, ...]:
        bad = run(1, "failed", dict.fromkeys(products, "failed"))
        declared = {"orders": "g1", "totals": "g2", "loose": ""}
        [found] = failures("shop", [bad], declared, declared)
        [cause] = causes(Situation(failures=(found,)), NOW)
        return cause.opening().groups

    assert groups("totals") == ("g2",)
    assert groups("orders", "totals") == ("g1", "g2")
    assert groups("totals", "loose") == ()  # all owners
    assert groups() == ()


@pytest.mark.parametrize("products", [None, {}, "{}"])
def test_a_run_that_fails_before_it_has_products_fails_as_a_whole(products):
    [whole] = failures("shop", [run(1, "failed", products)], ("orders",))
    assert whole.products == ()
    [cause] = found(failures=(whole,))
    assert cause.title == "the run of shop failed"
    assert failures("shop", [run(1, "failed", products), run(2, "unchanged", products)], ()) == []


def test_one_open_and_one_close_for_each_cause():
    situation = Situation((ORDERS,))
    first, _ = compared(causes(situation, NOW), [], situation, NOW)
    again, over = compared(causes(situation, NOW), first, situation, NOW)
    assert (len(first), again, over) == (1, [], [])
    refreshed = Situation((replace(ORDERS, refreshed_at=NOW),))
    assert compared(causes(refreshed, NOW), first, refreshed, NOW) == ([], first)
    # It was refreshed and is late again since the last look: one is over, another begins.
    later = Situation((replace(ORDERS, refreshed_at=NOW - timedelta(hours=25)),))
    begun, over = compared(causes(later, NOW), first, later, NOW)
    assert (len(begun), over) == (1, first)
    assert begun[0].key != first[0].key


def test_a_cause_without_a_known_begin_keeps_that_of_the_first_look():
    topic = TopicFact("shop_raw.sales", "shop", "shop.sales", 500, 1000, 1.0)
    situation = Situation(topics=(topic,))
    [first], _ = compared(causes(situation, NOW), [], situation, NOW)
    later = NOW + timedelta(hours=1)
    assert first.since == NOW
    assert compared(causes(situation, later), [first], situation, later) == ([], [])


def test_what_cannot_be_judged_stays_open():
    job = JobFailure("maintain", "0123456789", NOW)
    failed = FailureFact("shop", "run1", NOW, ("orders",), "failed", "No source.")
    situation = Situation((replace(ORDERS, uses=(CRM,)),), failures=(failed,), jobs=(job,))
    begun, _ = compared(causes(situation, NOW), [], situation, NOW)
    assert {each.rule for each in begun} == {"late", "breach", "failed", "job_failed"}
    broken = Situation(unreadable=frozenset({"shop"}), jobs=None)
    assert compared([], begun, broken, NOW) == ([], [])
    readable = Situation(jobs=())
    assert compared([], begun, readable, NOW) == ([], begun)
