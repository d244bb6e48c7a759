"""No bound can be loosened without a word, and none can be tightened with an alarm.

Belongs here: properties of the rules on checks and promises, for any numbers. Not here: single
kinds of change (changes/).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshhouse.governance.change import Verdict, worst
from meshhouse.governance.comparison import Comparison
from meshhouse.governance.contract import Contract
from meshhouse.governance.judgement import judge
from tests.support.changes import BASE, edited

NUMBERS = st.integers(-6, 6)
REACH = range(-15, 16)
"""Every end of a drawn range is inside, so that ranges that differ differ here."""
ENDS: Mapping[str, Callable[[int, int], bool]] = {
    "must_be_greater_than": lambda value, end: value > end,
    "must_be_greater_than_or_equal": lambda value, end: value >= end,
    "must_be_less_than": lambda value, end: value < end,
    "must_be_less_than_or_equal": lambda value, end: value <= end,
    "must_be_not": lambda value, end: value != end,
}
THRESHOLDS = st.dictionaries(st.sampled_from(sorted(ENDS)), NUMBERS, min_size=1, max_size=3)
RANGES = st.dictionaries(st.sampled_from(["min", "max"]), NUMBERS, min_size=1)
MORE_IS_WEAKER = {
    "refreshed_within_hours", "latency_minutes", "refresh_every_hours", "restated_within_days",
    "erasure_days",
}  # fmt: skip
LESS_IS_WEAKER = {
    "keeps_rows_percent", "availability_percent", "completeness_percent", "retention_days",
}  # fmt: skip


def verdict(before: Mapping[str, Any], after: Mapping[str, Any]) -> Verdict:
    first = edited(BASE, before)
    return worst(judge(Comparison(Contract(first), Contract(edited(first, after)))))


def accepted(must: Mapping[str, int]) -> set[int]:
    return {n for n in REACH if all(ENDS[key](n, end) for key, end in must.items())}


def in_range(ends: Mapping[str, int]) -> set[int]:
    return {n for n in REACH if ends.get("min", n) <= n <= ends.get("max", n)}


def assert_never_silent_or_too_loud(old: set[int], new: set[int], found: Verdict) -> None:
    if new - old:
        assert found >= Verdict.MINOR, "a value passes that was refused"
    else:
        assert found <= Verdict.MINOR, "no value passes that was refused"


@settings(max_examples=200, deadline=None)
@given(THRESHOLDS, THRESHOLDS)
def test_a_looser_threshold_is_never_harmless_and_a_tighter_one_never_breaking(before, after):
    found = verdict(
        {"checks.total": {"kind": "failed_rows", "must": before}},
        {"checks.total.must": after},
    )
    old, new = accepted(before), accepted(after)
    # A range without any value cannot be met, and is not compared by its values.
    if old and new:
        assert_never_silent_or_too_loud(old, new, found)


@settings(max_examples=80, deadline=None)
@given(RANGES, RANGES)
def test_a_wider_range_is_never_harmless_and_a_narrower_one_never_breaking(before, after):
    found = verdict(
        {"checks.amounts": {"kind": "invalid", "column": "amount", "bounds": before}},
        {"checks.amounts.bounds": after},
    )
    if in_range(before) and in_range(after):
        assert_never_silent_or_too_loud(in_range(before), in_range(after), found)


@pytest.mark.parametrize("key", sorted(MORE_IS_WEAKER | LESS_IS_WEAKER))
@given(old=st.integers(1, 99), new=st.integers(1, 99))
@settings(max_examples=25, deadline=None)
def test_a_weaker_promise_is_never_harmless_and_a_stronger_one_never_breaking(key, old, new):
    found = verdict({f"promises.{key}": old}, {f"promises.{key}": new})
    is_weaker = new > old if key in MORE_IS_WEAKER else new < old
    if is_weaker:
        assert found >= Verdict.MINOR
    else:
        assert found <= Verdict.MINOR


@pytest.mark.parametrize("key", sorted(MORE_IS_WEAKER | LESS_IS_WEAKER - {"keeps_rows_percent"}))
@given(old=st.integers(1, 99))
@settings(max_examples=10, deadline=None)
def test_a_promise_that_is_dropped_is_never_harmless(key, old):
    found = verdict({f"promises.{key}": old}, {f"promises.{key}": None})
    # Nobody reads the product here, so nobody looks back.
    assert found >= (Verdict.MINOR if key == "retention_days" else Verdict.BREAKING)


@given(old=st.integers(0, 100), new=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_a_lower_score_is_forbidden(old, new):
    found = verdict({"score": {"threshold": old}}, {"score.threshold": new})
    assert found is (Verdict.FORBIDDEN if new < old else Verdict.HARMLESS)
