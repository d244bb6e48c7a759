"""Chapter 5: checks that are removed, weakened, hidden or moved behind the publication."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshhouse.governance.bounds import Bounds, threshold, valid_range
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.check_queries import Covers, compare_conditions, compare_queries
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.predicates import is_implied

Check = Mapping[str, Any]

COUNTS = frozenset({"row_count", "missing", "not_null", "invalid", "duplicate", "failed_rows"})
"""Kinds of checks that count rows: their thresholds are whole numbers."""
COMPLETENESS = frozenset({"row_count", "missing", "not_null", "completeness"})
KEYS = frozenset({"unique", "duplicate", "relationships", "foreign_key"})
"""Their removal is a change of a key: rules/keys.py."""
PREVIOUS_ROWS = "rows_against_previous"
"""The mesh makes this check of `promises.keeps_rows_percent`, whose change is P9."""
_BODY = (
    "must", "bounds", "filter", "query", "expression", "arguments", "values", "pattern", "other",
    "severity", "stage",
)  # fmt: skip
_WARNED = " Consumers were not protected by it, because it only warned."


def checks(comparison: Comparison) -> Iterator[Change]:
    """V4 to V13, V15: checks of the published contract that are weaker in the candidate's."""
    if comparison.after is None:
        return
    pairs = _pairs(comparison.before.checks, comparison.after.checks)
    for old, new in pairs:
        if not old.get("enabled", True) or str(old["id"]).endswith(PREVIOUS_ROWS):
            continue
        changes = _removed(comparison, old) if new is None else _changed(comparison, old, new)
        for each in changes:
            yield _as_warning(each) if _only_warned(old) else each


def _pairs(
    before: Mapping[str, Check], after: Mapping[str, Check]
) -> list[tuple[Check, Check | None]]:
    """Each check of before with the check that took its place.

    A check whose id changed is the same if it is the only new one of its kind on its column.
    """
    fresh = [each for name, each in after.items() if name not in before]
    gone = [each for name, each in before.items() if not _is_same(each, after.get(name))]
    fresh += [each for name, each in after.items() if name in before and before[name] in gone]
    pairs: list[tuple[Check, Check | None]] = []
    for name, old in before.items():
        if old not in gone:
            pairs.append((old, after[name]))
            continue
        found = [each for each in fresh if _place(each) == _place(old)]
        equal = [each for each in found if _body(each) == _body(old)]
        alone = len(found) == 1 and sum(_place(each) == _place(old) for each in gone) == 1
        pairs.append((old, (equal or (found if alone else [None]))[0]))
    return pairs


def _is_same(old: Check, new: Check | None) -> bool:
    return new is not None and _place(old) == _place(new)


def _place(check: Check) -> tuple[str, str]:
    return str(check.get("kind")), str(check.get("column") or "").lower()


def _body(check: Check) -> list[Any]:
    return [check.get(key) for key in _BODY]


def _only_warned(check: Check) -> bool:
    return check.get("severity", "error") != "error"


def _as_warning(each: Change) -> Change:
    verdict = min(each.verdict, Verdict.MINOR)
    effect = each.effect if verdict == each.verdict else each.effect + _WARNED
    return change(each.row, each.subject, each.what, effect, verdict, each.hits)


def _called(check: Check) -> str:
    name = str(check.get("name") or check["id"])
    return f"`{name}`" + (f" of column `{check['column']}`" if check.get("column") else "")


def _removed(comparison: Comparison, check: Check) -> Iterator[Change]:
    after = comparison.after
    assert after is not None
    kind, column = _place(check)
    subject, called = str(check["id"]), _called(check)
    hits = comparison.readers.hits(column) if column else ()
    if check.get("source") == "unit":
        yield change(
            "V15", subject, f"The unit test {called} is removed.",
            "A regression that it found would pass.", Verdict.MINOR,
        )  # fmt: skip
    elif column and column not in {each.lower() for each in after.columns}:
        return  # the removed column is the cause
    elif check.get("values") or kind in KEYS:
        return  # rules/values.py, rules/keys.py
    elif kind in ("missing", "not_null") and _is_required(comparison, column):
        return  # rules/nullability.py
    elif kind == "freshness":
        yield change(
            "P2", subject, f"The check of freshness {called} is removed.",
            "Readers decide on stale data without notice.", Verdict.BREAKING,
            comparison.readers.whole(),
        )  # fmt: skip
    elif kind in COMPLETENESS:
        yield change(
            "V7", subject, f"The check {called} of completeness is removed.",
            "A half-empty table is published.", Verdict.FORBIDDEN, comparison.readers.whole(),
        )  # fmt: skip
    elif _regex(check):
        yield change(
            "V6", subject, f"Check {called} with the pattern `{_regex(check)}` is removed.",
            "Readers that parse the value meet others.", Verdict.BREAKING, hits,
        )  # fmt: skip
    elif not all(each.is_everything for each in _ranges(check)):
        yield change(
            "V4", subject, f"The range check {called} is removed: {_written(check)}.",
            "Outliers reach the readers.", comparison.if_read(hits), hits,
        )  # fmt: skip
    else:
        yield change(
            "V8", subject, f"Check {called} is removed.",
            "Data that it refused is published.", Verdict.BREAKING,
            hits or comparison.readers.whole(),
        )  # fmt: skip


def _is_required(comparison: Comparison, column: str) -> bool:
    columns = {each.lower(): each for each in comparison.before.columns}
    return bool(comparison.before.columns.get(columns.get(column, ""), {}).get("required"))


def _changed(comparison: Comparison, old: Check, new: Check) -> Iterator[Change]:
    subject, called = str(old["id"]), _called(old)
    if not new.get("enabled", True):
        yield change(
            "V13", subject, f"Check {called} is switched off.",
            "Data that it refused is published.", Verdict.FORBIDDEN,
        )  # fmt: skip
        return
    if _only_warned(new) and not _only_warned(old):
        yield change(
            "V9", subject, f"The severity of check {called} goes from error to warn.",
            "Data that it refused is published.", Verdict.FORBIDDEN,
        )  # fmt: skip
    if new.get("stage", "gate") != "gate" and old.get("stage", "gate") == "gate":
        yield change(
            "V12", subject, f"Check {called} runs after the publication instead of before.",
            "Readers see bad data before the check finds it.", Verdict.FORBIDDEN,
        )  # fmt: skip
    yield from _covered(old, new)
    yield from _pattern(comparison, old, new)
    yield from _threshold(comparison, old, new)
    yield from _range(comparison, old, new)


def _covered(old: Check, new: Check) -> Iterator[Change]:
    subject, called = str(old["id"]), _called(old)
    is_limited = new.get("limit") is not None and new["limit"] != old.get("limit")
    if not is_implied(old.get("filter"), new.get("filter")):
        yield change(
            "V10", subject,
            f"The filter of check {called} is {_filter(new)} instead of {_filter(old)}.",
            "Rows outside the new filter are published unchecked.", Verdict.FORBIDDEN,
        )  # fmt: skip
    covers = _finds(old, new)
    if covers is Covers.FEWER or is_limited:
        yield change(
            "V10", subject, f"The query of check {called} looks at fewer rows than before.",
            "The other rows are published unchecked.", Verdict.FORBIDDEN,
        )  # fmt: skip
    elif covers is Covers.OTHER:
        yield change(
            "V11", subject, f"Check {called} has another query under the same name.",
            "It may find other rows than before: compare the two queries.", Verdict.MINOR,
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
    has_row = ("expression", "min_value", "max_value")
    arguments = {k: v for k, v in (check.get("arguments") or {}).items() if k not in has_row}
    return [other, arguments, check.get("columns")]


def _filter(check: Check) -> str:
    return f"`{check['filter']}`" if check.get("filter") else "empty"


def _pattern(comparison: Comparison, old: Check, new: Check) -> Iterator[Change]:
    before, after = _regex(old), _regex(new)
    if not before or before == after:
        return
    yield change(
        "V6", str(old["id"]),
        f"The pattern of check {_called(old)} changes from `{before}` to "
        + (f"`{after}`." if after else "none."),
        "Readers that parse the value meet others.",
        Verdict.BREAKING, comparison.readers.hits(str(old.get("column") or "")),
    )  # fmt: skip


def _regex(check: Check) -> str:
    written = (check.get("other") or {}).get("valid_format") or {}
    return str(check.get("pattern") or written.get("regex") or "")


def _threshold(comparison: Comparison, old: Check, new: Check) -> Iterator[Change]:
    before, after = _limit(old), _limit(new)
    what = f"The threshold of check {_called(old)} changes from {_must(old)} to {_must(new)}."
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
    pairs = list(zip(_ranges(old), _ranges(new), strict=True))
    what = f"The range of check {_called(old)} changes from {_written(old)} to {_written(new)}."
    if any(after.accepts_more_than(before) for before, after in pairs):
        hits = comparison.readers.hits(column)
        yield change(
            "V4", str(old["id"]), what, "Outliers reach the readers.",
            comparison.if_read(hits), hits,
        )  # fmt: skip
    elif any(before != after for before, after in pairs):
        yield _tightened(old, what, _is_met(comparison, column, _ranges(new)))


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


def _limit(check: Check) -> Bounds:
    must, kind = check.get("must") or {}, str(check.get("kind"))
    default = {"must_be_greater_than": 0} if kind == "row_count" else {"must_be": 0}
    is_count = kind in COUNTS and must.get("metric") != "percent"
    return threshold(must, is_count, default)


def _ranges(check: Check) -> tuple[Bounds, Bounds]:
    return valid_range(check), valid_range(check, of_lengths=True)


def _must(check: Check) -> str:
    must = check.get("must") or {}
    parts = [
        f"{key.removeprefix('must_').replace('_', ' ')} {value}" for key, value in must.items()
    ]
    return f"`{', '.join(parts)}`" if parts else "the default"


def _written(check: Check) -> str:
    ends = {**(check.get("bounds") or {}), **(check.get("arguments") or {})}
    parts = [f"{key.removesuffix('_value')} {value}" for key, value in sorted(ends.items())]
    return f"`{', '.join(parts)}`" if parts else "none"


RULES = (checks,)
