"""Chapters 5 and 6: service-level promises that are weaker, gone, or measured otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.contract import Contract
from meshhouse.governance.rules import history
from meshhouse.repository.classes import is_personal
from meshhouse.repository.keys import KEEPS_ROWS_PERCENT

_CALENDAR = "calendar"
"""How promises count time unless they name another clock: every hour of every day."""


@dataclass(frozen=True)
class _Promise:
    """A number that the provider promises."""

    row: str
    key: str
    """Its key in `promises`."""
    name: str
    unit: str
    more_is_weaker: bool
    effect: str
    row_if_dropped: str = ""
    default: float | None = None
    """What holds without a promise."""

    def is_weaker(self, old: float, new: float) -> bool:
        return new > old if self.more_is_weaker else new < old

    def said(self, value: float) -> str:
        return f"{value:g} {self.unit}".strip()


_PROMISES = (
    _Promise("P1", "refreshed_within_hours", "freshness", "hours", True,
             "Readers decide on older data.", row_if_dropped="P2"),
    _Promise("P6", "latency_minutes", "latency from event to publication", "minutes", True,
             "Events reach the readers later."),
    _Promise("P7", "refresh_every_hours", "time between two refreshes", "hours", True,
             "Readers wait longer for new data."),
    _Promise("P8", "availability_percent", "availability", "percent", False,
             "Readers meet more outages."),
    _Promise("P9", "keeps_rows_percent", "share of rows that a publication keeps", "percent",
             False, "A publication can lose more rows.", default=KEEPS_ROWS_PERCENT.default),
    _Promise("P9", "completeness_percent", "completeness", "percent", False,
             "Readers meet more holes."),
    _Promise("P13", "restated_within_days", "time in which rows still change", "days", True,
             "Incremental readers miss the changes of older rows."),
)  # fmt: skip


def weaker(comparison: Comparison) -> Iterator[Change]:
    """P1 to P3, P6 to P9, P13: a promised number is weaker, gone, or stronger."""
    before, after = comparison.before, comparison.after
    if after is None:
        return
    for promise in _PROMISES:
        old = _number(before, promise.key, promise.default)
        new = _number(after, promise.key, promise.default)
        if old is None or old == new:
            continue
        subject = f"promises.{promise.key}"
        if new is None:
            yield change(
                promise.row_if_dropped or promise.row, subject,
                f"The {promise.name} of {promise.said(old)} is no longer promised.",
                promise.effect, Verdict.BREAKING, comparison.readers.whole(),
            )  # fmt: skip
            continue
        what = f"The promised {promise.name} is {promise.said(new)} instead of {promise.said(old)}."
        if promise.is_weaker(old, new):
            hits = comparison.readers.whole()
            yield change(promise.row, subject, what, promise.effect, Verdict.BREAKING, hits)
        elif promise.row == "P1":
            yield _fresher(comparison, promise, what)


def _fresher(comparison: Comparison, promise: _Promise, what: str) -> Change:
    broken = comparison.past.broken_promises.get(promise.key, 0)
    if not broken:
        effect = "Readers get newer data."
        return change("P3", f"promises.{promise.key}", what, effect, Verdict.HARMLESS)
    effect = f"The weaker promise was broken {broken} times in the last 30 days already."
    return change("P3", f"promises.{promise.key}", what, effect, Verdict.MINOR)


def retention(comparison: Comparison) -> Iterator[Change]:
    """P4, P5: rows are kept for a shorter or a longer time."""
    after = comparison.after
    if after is None:
        return
    old = _number(comparison.before, "retention_days")
    new = _number(after, "retention_days")
    if old is None or old == new:
        return
    subject = "promises.retention_days"
    personal = [name for name, column in after.columns.items() if is_personal(column)]
    if new is not None and new < old:
        hits = comparison.readers.hits(None, history.looks_back(comparison, new))
        yield change(
            "P4", subject, f"Rows are kept for {new:g} days instead of {old:g}.",
            "Queries that look further back find less.", comparison.if_read(hits), hits,
        )  # fmt: skip
    elif personal:
        kept = f"for {new:g} days instead of {old:g}" if new is not None else "without an end"
        yield change(
            "P5", subject, f"Rows with the personal column `{personal[0]}` are kept {kept}.",
            "Data of people is kept longer than they were assured.", Verdict.FORBIDDEN,
        )  # fmt: skip
    elif new is None:
        hits = comparison.readers.whole()
        yield change(
            "P4", subject, f"Keeping rows for {old:g} days is no longer promised.",
            "Queries can find less history at any time.", comparison.if_read(hits), hits,
        )  # fmt: skip
    else:
        yield change(
            "P5", subject, f"Rows are kept for {new:g} days instead of {old:g}.",
            "The product grows.", Verdict.MINOR,
        )  # fmt: skip


def meaning(comparison: Comparison) -> Iterator[Change]:
    """P10, P11, P14: a promise is measured otherwise, or rows may change that did not."""
    before, after = comparison.before, comparison.after
    if after is None:
        return
    old, new = before.get("promises.measured_on"), after.get("promises.measured_on")
    if old and old != new:
        yield change(
            "P10", "promises.measured_on",
            f"The promises are measured on {_or_none(new)} instead of `{old}`.",
            "Old data can look fresh.", Verdict.BREAKING, comparison.readers.whole(),
            is_silent=True,
        )  # fmt: skip
    old, new = (each.get("promises.clock", _CALENDAR) for each in (before, after))
    if old != new and before.get("promises"):
        yield change(
            "P11", "promises.clock",
            f"The promises count time by `{new}` instead of `{old}`.",
            "The same promise allows older data.", Verdict.BREAKING, comparison.readers.whole(),
        )  # fmt: skip
    old, new = before.get("promises.changes"), after.get("promises.changes")
    if old == "append" and new != "append":
        yield change(
            "P14", "promises.changes",
            "Rows can be changed and deleted, which were only appended until now.",
            "Incremental readers keep rows that the product no longer has.",
            Verdict.BREAKING, comparison.readers.whole(),
        )  # fmt: skip


def _or_none(value: Any) -> str:
    return f"`{value}`" if value else "no named column"


def _number(contract: Contract, key: str, default: float | None = None) -> float | None:
    value = contract.get(f"promises.{key}", default)
    return float(value) if value is not None else None


def score(comparison: Comparison) -> Iterator[Change]:
    """V14: the score that a publication needs, or the weight of a part of it, is lowered."""
    before, after = comparison.before, comparison.after
    if after is None:
        return
    parts = {"threshold": before.get("score.threshold")}
    parts |= {f"weights.{name}": value for name, value in before.get("score.weights", {}).items()}
    for name, old in parts.items():
        if old is None:
            continue
        new = after.get(f"score.{name}")
        if new is None or float(new) < float(old):
            is_now = "no longer declared" if new is None else f"{new} instead of {old}"
            yield change(
                "V14", f"score.{name}",
                f"The {name.replace('weights.', 'weight of ')} of the score is {is_now}.",
                "Worse data is published.", Verdict.FORBIDDEN, comparison.readers.whole(),
            )  # fmt: skip


RULES = (weaker, retention, meaning, score, *history.RULES)
