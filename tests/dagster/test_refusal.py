"""A rejected run shows the reason for which it was rejected."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from meshhouse.dagster.compatibility import refusal_of
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.contract import Contract
from meshhouse.governance.report import Judged
from meshhouse.governance.waivers import AfterWaivers, Refusal, Step


@pytest.mark.parametrize("passed", [True, False])
def test_a_refused_change_is_the_reason_only_if_the_checks_passed(passed):
    before = Contract({"product": "shop.orders", "relation": "shop.orders", "version": 1})
    dropped = Change("S2", "amount", "Column `amount` is removed.", "Fails.", Verdict.BREAKING)
    outcome = AfterWaivers((Refusal(dropped, ""),), (), (), ())
    step = Step.of(before, before, 1)
    judged = Judged("shop.orders", before, before, step, (dropped,), outcome)
    run: Any = SimpleNamespace(audited=[(None, SimpleNamespace(passed=passed))], judged=[judged])
    consumers: Any = SimpleNamespace(keep=lambda relation: "consumers keep publication 1")
    assert ("Column `amount` is removed" in refusal_of(run, consumers)) is passed
