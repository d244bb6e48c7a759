"""Chapter 5: checks that are removed, weakened, hidden or moved behind the publication."""

from __future__ import annotations

from collections.abc import Iterator

from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.check_pairs import Check, paired
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.rules import keys
from meshhouse.governance.rules.thresholds import called, limit, ranges, regex, weaker, written

NULLS = frozenset({"missing", "not_null"})
COMPLETENESS = NULLS | {"row_count", "completeness"}
_WARNED = " Consumers were not protected by it, because it only warned."


def checks(comparison: Comparison) -> Iterator[Change]:
    """V4 to V13, V15: checks of the published contract that are weaker in the candidate's."""
    if comparison.after is None:
        return
    for old, new in paired(comparison):
        if not old.get("enabled", True):
            continue
        changes = _removed(comparison, old) if new is None else _changed(comparison, old, new)
        for each in changes:
            yield _as_warning(each) if _only_warned(old) else each


def _only_warned(check: Check) -> bool:
    return check.get("severity", "error") != "error"


def _as_warning(each: Change) -> Change:
    verdict = min(each.verdict, Verdict.MINOR)
    effect = each.effect if verdict == each.verdict else each.effect + _WARNED
    return change(each.row, each.subject, each.what, effect, verdict, each.hits)


def _removed(comparison: Comparison, check: Check) -> Iterator[Change]:
    kind = str(check.get("kind"))
    column = str(check.get("column") or "").lower()
    subject, name = str(check["id"]), called(check)
    hits = comparison.readers.hits(column) if column else ()
    if check.get("source") == "unit":
        yield change(
            "V15", subject, f"The unit test {name} is removed.",
            "A regression that it found would pass.", Verdict.MINOR,
        )  # fmt: skip
    elif column in {str(each["name"]).lower() for each in comparison.columns.removed}:
        return  # the removed column is the cause
    elif check.get("values") or _is_key(comparison, check):
        return  # rules/values.py, rules/keys.py
    elif kind in NULLS and (_is_required(comparison, column) or _is_kept(comparison, check)):
        return  # rules/nullability.py
    elif kind == "freshness":
        yield change(
            "P2", subject, f"The check of freshness {name} is removed.",
            "Readers decide on stale data without notice.", Verdict.BREAKING,
            comparison.readers.whole(),
        )  # fmt: skip
    elif kind in COMPLETENESS:
        yield change(
            "V7", subject, f"The check {name} of completeness is removed.",
            "A half-empty table is published.", Verdict.FORBIDDEN, comparison.readers.whole(),
        )  # fmt: skip
    elif regex(check):
        yield change(
            "V6", subject, f"Check {name} with the pattern `{regex(check)}` is removed.",
            "Readers that parse the value meet others.", Verdict.BREAKING, hits,
        )  # fmt: skip
    elif not all(each.is_everything for each in ranges(check)):
        yield change(
            "V4", subject, f"The range check {name} is removed: {written(check)}.",
            "Outliers reach the readers.", comparison.if_read(hits), hits,
        )  # fmt: skip
    else:
        yield change(
            "V8", subject, f"Check {name} is removed.",
            "Data that it refused is published.", Verdict.BREAKING,
            hits or comparison.readers.whole(),
        )  # fmt: skip


def _is_key(comparison: Comparison, check: Check) -> bool:
    """Whether rules/keys.py finds that the check is removed.

    It does not if the contract still declares the key, which Spark and DuckDB do not enforce.
    """
    before, after, kind = comparison.before, comparison.after, check.get("kind")
    assert after is not None
    olds = keys.columns_of(check)
    news = frozenset(map(comparison.columns.new_name, olds))
    kinds = next((each for each in (keys.UNIQUE, keys.FOREIGN) if kind in each), frozenset())
    if not kinds:
        return False
    others = [keys.columns_of(each) for each in after.checks.values() if each.get("kind") in kinds]
    if any(each and news.issuperset(each) for each in others):
        return True
    if kinds is keys.UNIQUE:
        return not keys.is_unique(after, news)
    targets = [keys.foreign_targets(before).get(each) for each in olds]
    return targets != [keys.foreign_targets(after).get(each) for each in news]


def _is_kept(comparison: Comparison, check: Check) -> bool:
    """Whether another check finds as many nulls, as when a check moves from Soda to dbt."""
    assert comparison.after is not None
    name = comparison.columns.new_name(str(check.get("column")))
    return any(
        each.get("kind") in NULLS
        and str(each.get("column")).lower() == name
        and each.get("enabled", True)
        and not each.get("filter")
        and not _only_warned(each)
        and not limit(each).accepts_more_than(limit(check))
        for each in comparison.after.checks.values()
    )


def _is_required(comparison: Comparison, column: str) -> bool:
    columns = {each.lower(): each for each in comparison.before.columns}
    return bool(comparison.before.columns.get(columns.get(column, ""), {}).get("required"))


def _changed(comparison: Comparison, old: Check, new: Check) -> Iterator[Change]:
    subject, name = str(old["id"]), called(old)
    if not new.get("enabled", True):
        yield change(
            "V13", subject, f"Check {name} is switched off.",
            "Data that it refused is published.", Verdict.FORBIDDEN,
        )  # fmt: skip
        return
    if _only_warned(new) and not _only_warned(old):
        yield change(
            "V9", subject, f"The severity of check {name} goes from error to warn.",
            "Data that it refused is published.", Verdict.FORBIDDEN,
        )  # fmt: skip
    if new.get("stage", "gate") != "gate" and old.get("stage", "gate") == "gate":
        yield change(
            "V12", subject, f"Check {name} runs after the publication instead of before.",
            "Readers see bad data before the check finds it.", Verdict.FORBIDDEN,
        )  # fmt: skip
    yield from weaker(comparison, old, new)


RULES = (checks,)
