"""Chapter 5: checks that accept more values, or look at fewer rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshhouse.governance.bounds import Bounds, threshold, valid_range
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.check_pairs import Check
from meshhouse.governance.check_queries import Covers, compare_conditions, compare_queries
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.predicates import is_implied
from meshhouse.governance.rules.keys import FOREIGN, UNIQUE

_COUNTS = frozenset({"row_count", "missing", "not_null", "invalid", "duplicate", "failed_rows"})
"""Kinds of checks that count rows: their thresholds are whole numbers."""


def weaker(comparison: Comparison, old: Check, new: Check) -> Iterator[Change]:
    """V4, V5, V6, V8, V10, V11: what a check accepts, and which rows it looks at."""
    yield from _covered(old, new)
    yield from _macros(comparison, old, new)
    yield from _pattern(comparison, old, new)
    yield from _threshold(comparison, old, new)
    yield from _range(comparison, old, new)


def called(check: Check) -> str:
    """The name of a check for people."""
    name = str(check.get("name") or check["id"])
    return f"`{name}`" + (f" of column `{check['column']}`" if check.get("column") else "")


def _covered(old: Check, new: Check) -> Iterator[Change]:
    subject, name = str(old["id"]), called(old)
    is_limited = new.get("limit") is not None and new["limit"] != old.get("limit")
    if not is_implied(old.get("filter"), new.get("filter")):
        yield change(
            "V10", subject,
            f"The filter of check {name} is {_filter(new)} instead of {_filter(old)}.",
            "Rows outside the new filter are published unchecked.", Verdict.FORBIDDEN,
        )  # fmt: skip
    covers = _finds(old, new)
    if covers is Covers.FEWER or is_limited:
        yield change(
            "V10", subject, f"The query of check {name} looks at fewer rows than before.",
            "The other rows are published unchecked.", Verdict.FORBIDDEN,
        )  # fmt: skip
    elif new.get("fail_calc") and new["fail_calc"] != old.get("fail_calc"):
        yield change(
            "V10", subject, f"Check {name} counts its failing rows with `{new['fail_calc']}`.",
            "Rows that this does not count are published unchecked.", Verdict.FORBIDDEN,
        )  # fmt: skip
    elif covers is Covers.OTHER or new.get("fail_calc") != old.get("fail_calc"):
        yield change(
            "V11", subject, f"Check {name} has another query under the same name.",
            "It may find other rows than before: compare the two queries.", Verdict.MINOR,
        )  # fmt: skip


def _macros(comparison: Comparison, old: Check, new: Check) -> Iterator[Change]:
    """V11: the macros behind a check, of contracts that keep a digest of them."""
    before, after = old.get("macros"), new.get("macros")
    if before == after or not comparison.keeps_builds:
        return
    if before or old.get("kind") == "singular":
        yield change(
            "V11", str(old["id"]), f"Check {called(old)} runs other macros under the same name.",
            "It may find other rows than before: compare the macros.", Verdict.MINOR,
        )  # fmt: skip
        return
    column = str(old.get("column") or "")
    hits = comparison.readers.hits(column) if column else comparison.readers.whole()
    yield change(
        "V11", str(old["id"]),
        f"Check {called(old)} was dbt's own, and now runs a macro of the domain or of a package.",
        "The macro may accept anything: confirm that it finds what dbt's own test found.",
        Verdict.BREAKING, hits, is_silent=True,
    )  # fmt: skip


def _finds(old: Check, new: Check) -> Covers:
    """Whether a check finds fewer rows than before, by its SQL and its arguments."""
    queries = compare_queries(str(old.get("query") or ""), str(new.get("query") or ""))
    if queries is not Covers.SAME:
        return queries
    conditions = compare_conditions(_expression(old), _expression(new))
    if conditions is not Covers.SAME:
        return conditions
    return Covers.SAME if _settings(old) == _settings(new) else Covers.OTHER


def _expression(check: Check) -> str:
    """The condition of rows that fail; a dbt test names the condition of good rows."""
    good = (check.get("arguments") or {}).get("expression")
    return str(check.get("expression") or (f"not ({good})" if good else ""))


def _settings(check: Check) -> list[Any]:
    """What else decides which rows a check finds, except what has a row in the table."""
    other = {k: v for k, v in (check.get("other") or {}).items() if k != "valid_format"}
    has_row = ["expression", "min_value", "max_value"]
    if check.get("kind") in FOREIGN:
        has_row += ["to", "field"]  # rules/keys.py
    if check.get("kind") in UNIQUE:
        has_row += ["combination_of_columns"]  # rules/keys.py
    arguments = {k: v for k, v in (check.get("arguments") or {}).items() if k not in has_row}
    return [other, arguments]


def _filter(check: Check) -> str:
    return f"`{check['filter']}`" if check.get("filter") else "empty"


def _pattern(comparison: Comparison, old: Check, new: Check) -> Iterator[Change]:
    before, after = regex(old), regex(new)
    if not before or before == after:
        return
    yield change(
        "V6", str(old["id"]),
        f"The pattern of check {called(old)} changes from `{before}` to "
        + (f"`{after}`." if after else "none."),
        "Readers that parse the value meet others.",
        Verdict.BREAKING, comparison.readers.hits(str(old.get("column") or "")),
    )  # fmt: skip


def regex(check: Check) -> str:
    """The pattern that values must match; empty if any may occur."""
    written = (check.get("other") or {}).get("valid_format") or {}
    return str(check.get("pattern") or written.get("regex") or "")


def _threshold(comparison: Comparison, old: Check, new: Check) -> Iterator[Change]:
    before, after = limit(old), limit(new)
    what = f"The threshold of check {called(old)} changes from {_must(old)} to {_must(new)}."
    if after.accepts_more_than(before):
        column = str(old.get("column") or "")
        hits = comparison.readers.hits(column) if column else comparison.readers.whole()
        effect = "Worse data is published."
        yield change("V8", str(old["id"]), what, effect, Verdict.BREAKING, hits)
    elif before != after:
        is_rows = old.get("kind") == "row_count"
        rows = (comparison.after_statistics or {}).get("rows") if is_rows else None
        yield _tightened(old, what, rows is not None and after.accepts(rows))


def _range(comparison: Comparison, old: Check, new: Check) -> Iterator[Change]:
    column = str(old.get("column") or "")
    pairs = list(zip(ranges(old), ranges(new), strict=True))
    what = f"The range of check {called(old)} changes from {written(old)} to {written(new)}."
    if any(after.accepts_more_than(before) for before, after in pairs):
        hits = comparison.readers.hits(column)
        yield change(
            "V4", str(old["id"]), what, "Outliers reach the readers.",
            comparison.if_read(hits), hits,
        )  # fmt: skip
    elif any(before != after for before, after in pairs):
        yield _tightened(old, what, _is_met(comparison, column, ranges(new)))


def _is_met(comparison: Comparison, column: str, ranges: tuple[Bounds, Bounds]) -> bool:
    """Whether the statistics of the candidate show that every value is in the range."""
    values, lengths = ranges
    measured = ((comparison.after_statistics or {}).get("columns") or {}).get(column) or {}
    ends = [measured.get("min"), measured.get("max")]
    is_measured = None not in ends and lengths.is_everything
    return is_measured and all(values.accepts(each) for each in ends)


def _tightened(check: Check, what: str, is_met: bool) -> Change:
    verdict = Verdict.HARMLESS if is_met else Verdict.MINOR
    return change("V5", str(check["id"]), what, "Readers get better data.", verdict)


def limit(check: Check) -> Bounds:
    """What the threshold of a check accepts."""
    must, kind = check.get("must") or {}, str(check.get("kind"))
    default = {"must_be_greater_than": 0} if kind == "row_count" else {"must_be": 0}
    is_count = kind in _COUNTS and must.get("metric") != "percent"
    return threshold(must, is_count, default)


def ranges(check: Check) -> tuple[Bounds, Bounds]:
    """The values, and the lengths of values, that a check accepts."""
    return valid_range(check), valid_range(check, of_lengths=True)


def _must(check: Check) -> str:
    must = check.get("must") or {}
    parts = [f"{k.removeprefix('must_be').replace('_', ' ')} {v}".strip() for k, v in must.items()]
    return f"`{', '.join(parts)}`" if parts else "the default"


def written(check: Check) -> str:
    """The range of a check for people."""
    ends = {**(check.get("bounds") or {}), **(check.get("arguments") or {})}
    ordered = sorted(ends, key=lambda key: (not key.startswith("min"), key))
    parts = [f"{key.removesuffix('_value')} {ends[key]}" for key in ordered]
    return f"`{', '.join(parts)}`" if parts else "none"
