"""Chapter 11: which rows a product has, with an equal schema."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta

from meshhouse.governance import growth
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison, change, silent
from meshhouse.governance.relations import Join
from meshhouse.governance.rules.spelling import shifted_days
from meshhouse.governance.shape import Order, both_shapes, is_unknown

_WEEKS = 4
"""Weeks of history from which a weekday counts as one that always has rows."""
_HISTORY = 8
"""Publications from which the usual steps of an average are known."""
_STEP, _LEAST = 5, 0.05
"""A step counts if it is 5 times the largest usual one and 5 % of the average."""
_MANY = 10
"""Rows from which a period that has exactly doubled is not chance."""


def fewer(comparison: Comparison) -> Iterator[Change]:
    """D1: rows fall below the promised share."""
    counts = growth.rows(comparison)
    after = comparison.after
    percent = after.get("promises.keeps_rows_percent") if after is not None else None
    if counts is None or percent is None or counts[1] * 100 >= counts[0] * float(percent):
        return
    yield _silent(
        comparison, "D1", f"{counts[1]} rows instead of {counts[0]}: less than {percent} %.",
        "Readers miss rows that they had.", Verdict.FORBIDDEN,
    )  # fmt: skip


def filters(comparison: Comparison) -> Iterator[Change]:
    """D2: a filter is added, dropped or changed; the SQL of one side cannot be read."""
    if is_unknown(comparison):
        yield _silent(
            comparison, "D2", "The SQL changed and cannot be read, so filters are not compared.",
            "Look at the SQL: rows may be others.", Verdict.MINOR,
        )  # fmt: skip
    shapes = both_shapes(comparison)
    if shapes is None:
        return
    before, after = shapes
    added = sorted({*after.predicates} - {*before.predicates})
    dropped = sorted({*before.predicates} - {*after.predicates})
    parts = [f"new: `{each}`" for each in added] + [f"dropped: `{each}`" for each in dropped]
    if before.new_rows and after.new_rows and before.new_rows != after.new_rows:
        old, new = (" and ".join(f"`{each}`" for each in one.new_rows) for one in (before, after))
        parts.append(f"rows count as new by {new} instead of {old}")
    is_kept = _rules(before.orders) == _rules(after.orders)  # else it is D4
    if not parts and is_kept and _amongs(before.orders) != _amongs(after.orders):
        parts = ["they hold before instead of after duplicates are removed, or the reverse"]
    if not parts and before.sources != after.sources and before.joins == after.joins:
        parts = [
            *(f"new table: `{each}`" for each in sorted(after.sources - before.sources)),
            *(f"without table: `{each}`" for each in sorted(before.sources - after.sources)),
        ]
    if parts:
        yield _judged(
            comparison, "D2", f"Filters differ: {'; '.join(parts)}.",
            "Totals count other rows.", Verdict.BREAKING,
        )  # fmt: skip


def joins(comparison: Comparison) -> Iterator[Change]:
    """D3: another kind of join, another condition, or a join that drops or multiplies rows."""
    shapes = both_shapes(comparison)
    if shapes is None:
        return
    old, new = (Counter(each.joins) for each in shapes)
    dropped, added = sorted((old - new), key=str), sorted((new - old), key=str)
    if not dropped and not added:
        return
    # A left join that is new or gone keeps all rows if its key is unique.
    is_left = all(each.kind == "left" for each in (*dropped, *added))
    is_alone = not {each.source for each in dropped} & {each.source for each in added}
    yield _judged(
        comparison, "D3", f"Joins differ: {_joined(dropped, added)}.",
        "Rows are more or fewer if the key is not unique." if is_left and is_alone
        else "Readers get other rows, or nulls.",
        Verdict.MINOR if is_left and is_alone else Verdict.BREAKING,
    )  # fmt: skip


def duplicates(comparison: Comparison) -> Iterator[Change]:
    """D4: another row of several with the same key stays."""
    shapes = both_shapes(comparison)
    if shapes is None:
        return
    old, new = (_rules(each.orders) for each in shapes)
    if old != new:
        texts = ["; ".join(_said(each)) or "none are removed" for each in (new - old, old - new)]
        yield _judged(
            comparison, "D4", f"Duplicates are removed otherwise: {texts[0]}; before: {texts[1]}.",
            "Readers get the values of other rows.", Verdict.BREAKING,
        )  # fmt: skip


def history(comparison: Comparison) -> Iterator[Change]:
    """D5: rows of old periods change."""
    old = growth.settled(comparison)
    after = comparison.after
    if old is None or not old.changed or after is None or shifted_days(comparison):
        return
    changes = str(after.get("promises.changes", "")).lower()
    if changes == "upsert":
        return
    is_append = changes.startswith("append")
    # Rows that arrive late are new rows.
    lost = {name: rows for name, rows in old.changed.items() if rows[1] <= rows[0]}
    found = lost if is_append else old.changed
    if not found:
        return
    first, (before_rows, after_rows) = min(found.items())
    yield _silent(
        comparison, "D5",
        f"{len(found)} of {old.periods} old periods changed; the first is {first} with "
        f"{before_rows} rows before and {after_rows} now.",
        "Reports of these periods do not give the same figures again.",
        Verdict.BREAKING if is_append else Verdict.MINOR,
    )  # fmt: skip


def drift(comparison: Comparison) -> Iterator[Change]:
    """D6: an average moves much further than in the publications before, with equal SQL."""
    after = comparison.after
    if after is None or comparison.before.get("models") != after.get("models"):
        return
    for name, means in comparison.past.drift.items():
        if len(means) < _HISTORY:
            continue
        *usual, last = [abs(new - old) for old, new in itertools.pairwise(means)]
        if last > _STEP * max(usual) and last > _LEAST * abs(means[-2]):
            hits = comparison.readers.hits(name)
            yield change(
                "D6", name, f"The average of `{name}` moves from {means[-2]:g} to {means[-1]:g}.",
                "Models and alerts of readers may react.", Verdict.MINOR, hits, is_silent=True,
            )  # fmt: skip


def gaps(comparison: Comparison) -> Iterator[Change]:
    """D7: a day has no rows, although days after it have some."""
    if comparison.after is None or growth.settled(comparison) is None:
        return
    before, after = (
        (each or {})["periods"]
        for each in (comparison.before_statistics, comparison.after_statistics)
    )
    if before["unit"] != "day" or after["unit"] != "day":
        return
    old, new = ({each for each in part["counts"] if each != "null"} for part in (before, after))
    lost = sorted(each for each in old - new if min(new) < each < max(new))
    missing = [
        each for each in _days(max(old), max(new)) if each not in new and _is_usual(each, old)
    ]
    is_promised = comparison.after.get("promises.rows_every") == "day"
    if lost or missing:
        yield _silent(
            comparison, "D7", f"Days without rows: {', '.join([*lost, *missing][:5])}.",
            "Trends show a hole.",
            Verdict.FORBIDDEN if lost or is_promised else Verdict.MINOR,
        )  # fmt: skip


def doubled(comparison: Comparison) -> Iterator[Change]:
    """D8: rows are counted twice, after events were landed a second time."""
    for topic, facts in comparison.past.landing.items():
        rows, offsets = facts.get("rows"), facts.get("offsets")
        if rows is not None and offsets is not None and rows > offsets:
            yield _silent(
                comparison, "D8",
                f"{rows} rows landed from {offsets} events of topic `{topic}`.",
                "Totals count rows twice.", Verdict.FORBIDDEN,
            )  # fmt: skip
    old = growth.settled(comparison)
    found = {
        name: rows
        for name, rows in (old.changed if old is not None else {}).items()
        if rows[0] >= _MANY and rows[1] == 2 * rows[0]
    }
    if found:
        yield _silent(
            comparison, "D8", f"Old periods have exactly twice their rows: {', '.join(found)}.",
            "Totals count rows twice.", Verdict.FORBIDDEN,
        )  # fmt: skip


def near_duplicates(comparison: Comparison) -> Iterator[Change]:
    """D9: values of a text are equal without spaces and letter case."""
    for name, (before, after) in growth.columns(comparison).items():
        found = sorted(_alike(after.get("top")) - _alike(before.get("top")))
        if found:
            hits = comparison.readers.hits(name)
            yield change(
                "D9", name,
                f"Values of `{name}` differ only in spaces or letter case: {', '.join(found)}.",
                "Readers count one thing as several.", Verdict.MINOR, hits, is_silent=True,
            )  # fmt: skip


def torn(comparison: Comparison) -> Iterator[Change]:
    """D10: one input was read in two states."""
    inputs = comparison.after.get("inputs", {}) if comparison.after is not None else {}
    for relation, states in inputs.items():
        if isinstance(states, Sequence) and not isinstance(states, str) and len({*states}) > 1:
            yield change(
                "D10", relation,
                f"`{relation}` was read in {len({*states})} states: "
                f"{', '.join(sorted(map(str, states)))}.",
                "Joins of the product mix two states.",
                Verdict.FORBIDDEN, comparison.readers.hits(), is_silent=True,
            )  # fmt: skip


def limits(comparison: Comparison) -> Iterator[Change]:
    """D11: a limit or a sample."""
    shapes = both_shapes(comparison)
    if shapes is None:
        return
    added = sorted({*shapes[1].limits} - {*shapes[0].limits})
    if added:
        yield _silent(
            comparison, "D11", f"Only some of the rows are published: {', '.join(added)}.",
            "Totals miss rows.", Verdict.FORBIDDEN,
        )  # fmt: skip


def _silent(comparison: Comparison, row: str, what: str, effect: str, verdict: Verdict) -> Change:
    return silent(comparison, row, "", what, effect, verdict)


def _judged(comparison: Comparison, row: str, what: str, effect: str, verdict: Verdict) -> Change:
    """A change of SQL: minor if the measured rows show that it changes nothing."""
    if growth.is_same(comparison):
        verdict, effect = Verdict.MINOR, "The rows that were measured are equal."
    return _silent(comparison, row, what, effect, verdict)


def _rules(orders: Sequence[Order]) -> Counter[Order]:
    return Counter(replace(each, among="") for each in orders)


def _said(rules: Counter[Order]) -> list[str]:
    return sorted(str(each) for each in rules)


def _amongs(orders: Sequence[Order]) -> list[str]:
    return sorted(each.among for each in orders)


def _joined(dropped: Sequence[Join], added: Sequence[Join]) -> str:
    return "; ".join(
        [*(f"new: `{each}`" for each in added), *(f"gone: `{each}`" for each in dropped)]
    )


def _days(first: str, last: str) -> Iterator[str]:
    """The days between two days, without these."""
    day = date.fromisoformat(first) + timedelta(days=1)
    while day < date.fromisoformat(last):
        yield day.isoformat()
        day += timedelta(days=1)


def _is_usual(day: str, days: set[str]) -> bool:
    """Whether the last weeks all had rows on this weekday."""
    weekday = date.fromisoformat(day)
    weeks = [(weekday - timedelta(weeks=each)).isoformat() for each in range(1, _WEEKS + 1)]
    return all(each in days for each in weeks)


def _alike(top: Sequence[Sequence[object]] | None) -> set[str]:
    """Values that occur in more than one spelling, in their plainest one."""
    texts = [str(value) for value, _ in top or () if isinstance(value, str)]
    plain = Counter(" ".join(each.split()).casefold() for each in texts)
    return {f"`{each}`" for each, count in plain.items() if count > 1}


RULES = (
    fewer, filters, joins, duplicates, history, drift, gaps, doubled, near_duplicates, torn,
    limits,
)  # fmt: skip
