"""Chapter 9: what values mean, and in which unit they are."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

from sqlglot import exp

from meshhouse.governance import growth
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.expressions import Value, text_of
from meshhouse.governance.rules import spelling
from meshhouse.governance.shape import both_shapes, changed_values

_FACTORS = (10, 12, 24, 60, 100, 1000, 3600, 86_400, 1_000_000, 1_000_000_000)
"""Factors between units, such as cents and dollars, or seconds and hours."""
_NEAR = 0.05
"""How far an average may be from a factor: new rows move it a little."""
_EVEN = 0.02
"""How far the average and a bound may differ if all values have one factor."""
_SWING = 0.03
"""From which on a common factor counts; exchange rates and taxes are beyond it."""
_FLIPPED = 0.9
"""Share of values of one sign from which on this sign is the rule."""
_SHARE = 0.2
"""Share of rows whose values vanish from which on a code list counts as another one."""
_WORDS = re.compile(
    r"\d+(?:[.,]\d+)*|[%$€£¥]|\b(?:not|no|never|none|without|except|excluding|excludes?|incl|excl"
    r"|including|includes?|only|net|gross|before|after|per|cents?|thousands?|millions?|billions?"
    r"|percent|usd|eur|gbp|chf|jpy|dollars?|euros?|pounds?|kg|g|lbs?|km|miles?|meters?|metres?"
    r"|hours?|minutes?|seconds?|days?|weeks?|months?|years?|utc|local)\b"
)
"""Words of a description that may change what a value means."""


def units(comparison: Comparison) -> Iterator[Change]:
    """M1: a column's values are in another unit, by its declaration, its SQL or its data."""
    after = comparison.after
    if after is None:
        return
    declared = set()
    for name, column in comparison.before.columns.items():
        old, new = column.get("unit"), after.columns.get(name, {}).get("unit")
        if name not in after.columns or not old or _plain(old) == _plain(new):
            continue
        declared.add(name.lower())
        yield _silent(
            comparison, "M1", name,
            f"The unit of `{name}` is {f'`{new}`' if new else 'not stated'} instead of `{old}`.",
            "Every figure of readers has another unit." if new
            else "Readers do not know the unit any more.",
            Verdict.FORBIDDEN if new else Verdict.MINOR,
        )  # fmt: skip
    factors = {name: f"is multiplied by {by}" for name, by in _multiplied(comparison).items()}
    keys = {name.lower() for name in comparison.before.grain}
    for name in growth.columns(comparison):
        by = _scaled(comparison, name) if name.lower() not in keys else None
        if by is not None:
            factors[name.lower()] = f"is about {by:.4g} times as large as before in all rows"
    for name in sorted(factors.keys() - declared):
        yield _silent(
            comparison, "M1", name, f"`{name}` {factors[name]}.",
            "Every figure of readers has another unit.", Verdict.FORBIDDEN,
        )  # fmt: skip


def definitions(comparison: Comparison) -> Iterator[Change]:
    """M2, M4, M6: a column is computed otherwise from the same columns."""
    # Keys have rows for themselves, K8 and K13.
    apart = {*_multiplied(comparison), *_turned(comparison)}
    apart |= {name.lower() for name in comparison.before.grain}
    for name, before, after in changed_values(comparison):
        if before.columns != after.columns or name in apart or before.defaults != after.defaults:
            continue
        if spelling.zones(before) != spelling.zones(after):
            continue  # T14
        row, what, effect = _kind(name, before, after)
        verdict = _rounded(comparison, name) if row == "M4" else Verdict.BREAKING
        if growth.is_same(comparison, name):
            verdict, effect = Verdict.MINOR, "The values that were measured are equal."
        yield _silent(comparison, row, name, what, effect, verdict)


def aggregations(comparison: Comparison) -> Iterator[Change]:
    """M4: rows are summed up over other keys on the way to the product."""
    shapes = both_shapes(comparison)
    if shapes is None or shapes[0].groups == shapes[1].groups:
        return
    is_same = growth.is_same(comparison)
    old, new = (_keys(each.groups) for each in shapes)
    yield _silent(
        comparison, "M4", "", f"Rows are aggregated {new} instead of {old}.",
        "The values that were measured are equal." if is_same else "Totals may drift.",
        Verdict.MINOR if is_same else Verdict.BREAKING,
    )  # fmt: skip


def signs(comparison: Comparison) -> Iterator[Change]:
    """M3: positive values become negative, by the SQL or by the data."""
    found = dict.fromkeys(_turned(comparison), "has the opposite sign")
    old = growth.settled(comparison)
    for name, (before, after) in growth.columns(comparison).items():
        shares = _negative_shares(comparison, before, after)
        if shares is None:
            continue
        one, other = shares
        is_flip = (one <= 1 - _FLIPPED and other >= _FLIPPED) or (
            one >= _FLIPPED and other <= 1 - _FLIPPED
        )
        # New rows may be the first negative ones: returns, for example. Old rows do not turn.
        is_turned = old is not None and old.is_rewritten and (one == 0) != (other == 0)
        if is_flip or is_turned:
            found[name.lower()] = f"is negative in {other:.0%} of the rows, before in {one:.0%}"
    for name, what in sorted(found.items()):
        yield _silent(
            comparison, "M3", name, f"`{name}` {what}.", "Totals of readers cancel out.",
            Verdict.FORBIDDEN,
        )  # fmt: skip


def drifts(comparison: Comparison) -> Iterator[Change]:
    """M4: sums drift a little while rows and SQL are equal, as if values were rounded otherwise."""
    counts, old = growth.rows(comparison), growth.settled(comparison)
    if counts is None or counts[0] != counts[1] or old is None or not old.is_rewritten:
        return
    explained = {name for name, *_ in changed_values(comparison)}
    for name in growth.columns(comparison):
        by = growth.factor(comparison, name)
        if name.lower() in explained or by is None or not 1e-9 < abs(by - 1) <= _SWING:
            continue
        yield _silent(
            comparison, "M4", name, f"The sum of `{name}` drifts by {abs(by - 1):.3%}.",
            "Totals of readers differ a little from before.", _rounded(comparison, name),
        )  # fmt: skip


def code_lists(comparison: Comparison) -> Iterator[Change]:
    """M5: codes are those of another list or release."""
    after = comparison.after
    if after is None:
        return
    measured = growth.columns(comparison)
    for name, column in comparison.before.columns.items():
        old, new = column.get("code_list"), after.columns.get(name, {}).get("code_list")
        if not old or name not in after.columns:
            continue
        if old != new:
            what = f"The code list of `{name}` is {f'`{new}`' if new else 'not stated'}"
            what += f" instead of `{old}`."
        elif name in measured and _vanished(*measured[name]) >= _SHARE:
            share = _vanished(*measured[name])
            what = f"Codes of {share:.0%} of the rows vanished from `{name}` (`{old}`)."
        else:
            continue
        yield _silent(
            comparison, "M5", name, what, "Groups and filters on codes find other rows.",
            Verdict.BREAKING,
        )  # fmt: skip


def languages(comparison: Comparison) -> Iterator[Change]:
    """M7: the labels of a column are in another language, each as common as before."""
    for name, (before, after) in growth.columns(comparison).items():
        old, new = before.get("top"), after.get("top")
        if not old or not new or len(old) < 2 or len(old) != len(new):
            continue
        if not all(_is_label(value) for value, _ in (*old, *new)):
            continue
        is_disjoint = not {value for value, _ in old} & {value for value, _ in new}
        if is_disjoint and _are_as_common(old, new):
            hits = comparison.readers.hits(name, lambda read: bool(read.literals))
            yield change(
                "M7", name,
                f"The labels of `{name}` are others, such as `{new[0][0]}` instead of "
                f"`{old[0][0]}`, and as common as before.",
                "Filters on a label find nothing.",
                comparison.if_read(hits), hits, is_silent=True,
            )  # fmt: skip


def descriptions(comparison: Comparison) -> Iterator[Change]:
    """M8: a description is removed; M9: a new text has other numbers, units or negations."""
    after = comparison.after
    if after is None:
        return
    texts = [("", comparison.before.document, after.document)] + [
        (name, column, after.columns[name])
        for name, column in comparison.before.columns.items()
        if name in after.columns
    ]
    for name, column, other in texts:
        old, new = (str(each.get("description") or "").strip() for each in (column, other))
        subject = f"`{name}`" if name else "the product"
        if old and not new:
            yield _silent(
                comparison, "M8", name, f"The description of {subject} is removed.",
                "Readers do not know any more what it means.", Verdict.MINOR,
            )  # fmt: skip
        changed = _changed_words(old, new)
        if new and changed:
            yield _silent(
                comparison, "M9", name,
                f"The description of {subject} changes in {', '.join(changed)}: `{old}` is now "
                f"`{new}`.",
                "Confirm that it means the same.", Verdict.MINOR,
            )  # fmt: skip


def terms(comparison: Comparison) -> Iterator[Change]:
    """M10: a column is linked to another term of the glossary."""
    for name, column in comparison.before.columns.items():
        other = comparison.after.columns.get(name) if comparison.after is not None else None
        old = column.get("term")
        if other is not None and old and old != other.get("term"):
            new = other.get("term")
            yield _silent(
                comparison, "M10", name,
                f"`{name}` is linked to {f'the term `{new}`' if new else 'no term'} instead of "
                f"`{old}`.",
                "Search and assistants find something else.", Verdict.MINOR,
            )  # fmt: skip


def metrics(comparison: Comparison) -> Iterator[Change]:
    """M11: a metric is defined otherwise, or removed."""
    if comparison.after is None:
        return
    after = comparison.after.get("metrics", {})
    for name, definition in comparison.before.get("metrics", {}).items():
        if _definition(definition) != _definition(after.get(name)):
            yield change(
                "M11", name,
                f"The metric `{name}` is defined otherwise." if name in after
                else f"The metric `{name}` is removed.",
                "Dashboards show other figures under the same name.",
                Verdict.BREAKING, is_silent=True,
            )  # fmt: skip


def _silent(
    comparison: Comparison, row: str, subject: str, what: str, effect: str, verdict: Verdict
) -> Change:
    hits = comparison.readers.hits(subject or None)
    return change(row, subject, what, effect, verdict, hits, is_silent=True)


def _plain(unit: object) -> str:
    return str(unit or "").strip().casefold()


def _multiplied(comparison: Comparison) -> dict[str, str]:
    """Columns whose SQL gained a constant factor, and the factor."""
    found = {}
    for name, before, after in changed_values(comparison):
        (old, rest), (new, other) = _product(before.tree), _product(after.tree)
        if rest == other and old != new and old and new and new != -old:
            found[name] = f"{new / old:.6g}"
    return found


def _turned(comparison: Comparison) -> list[str]:
    """Columns whose SQL changes the sign."""
    found = []
    for name, before, after in changed_values(comparison):
        (old, rest), (new, other) = _product(before.tree), _product(after.tree)
        if rest == other and old and new == -old:
            found.append(name)
    return found


def _product(tree: exp.Expression) -> tuple[float, str]:
    """An expression as a constant factor and the text of the rest, also inside one function."""
    tree = tree.unnest()
    if isinstance(tree, exp.Literal) and tree.is_number:
        return float(tree.this), ""
    if isinstance(tree, exp.Neg):
        by, rest = _product(tree.this)
        return -by, rest
    if isinstance(tree, exp.Mul | exp.Div):
        left, one = _product(tree.this)
        right, other = _product(tree.expression)
        if isinstance(tree, exp.Mul):
            return left * right, " * ".join(sorted(each for each in (one, other) if each))
        if not other and right:
            return left / right, one
    if isinstance(tree, exp.Sum | exp.Avg | exp.Min | exp.Max | exp.Cast | exp.Round):
        by, rest = _product(tree.this)
        inner = text_of(tree.this)
        return by, text_of(tree).replace(inner, rest, 1)
    return 1.0, text_of(tree)


def _scaled(comparison: Comparison, name: str) -> float | None:
    """The factor of all values of a column, if new rows cannot explain it."""
    by, pair = growth.factor(comparison, name), growth.columns(comparison)[name]
    if by is None or by <= 0:
        return None
    is_round = any(abs(by / each - 1) <= _NEAR or abs(by * each - 1) <= _NEAR for each in _FACTORS)
    bounds = [growth.ratio(pair, figure) for figure in ("min", "max")]
    known = [each for each in bounds if each is not None]
    old, counts = growth.settled(comparison), growth.rows(comparison)
    if old is not None and counts is not None:
        # Averages of numbers that count up, such as a line number, grow as the rows do.
        grown = counts[1] / counts[0]
        is_even = bool(known) and all(abs(each / by - 1) <= _EVEN for each in known)
        is_swing = is_even and abs(by - 1) > _SWING and abs(by / grown - 1) > _EVEN
        # Without bounds, as of personal columns, only a round factor is beyond doubt.
        return by if old.is_rewritten and (is_swing or is_round) else None
    # New rows never raise the smallest value, so both bounds must have the factor.
    near = [each for each in known if each > 0 and abs(each / by - 1) <= _NEAR]
    is_all = bool(known) and len(near) == len(known)
    values = [int(each.get("distinct") or 0) for each in pair]
    is_alike = abs(values[1] - values[0]) <= 0.1 * max(values)
    return by if is_round and is_all and is_alike else None


def _kind(name: str, before: Value, after: Value) -> tuple[str, str, str]:
    """The row of a changed expression, with what changed and its effect."""
    texts = f"`{after.text}` instead of `{before.text}`"
    if before.dates != after.dates:
        return "M6", f"`{name}` uses another calendar: {texts}.", "Periods of readers move."
    if before.roundings != after.roundings and _is_rounding_only(before, after):
        return "M4", f"`{name}` is rounded otherwise: {texts}.", "Totals of readers drift."
    return "M2", f"`{name}` is computed otherwise: {texts}.", "Every figure means something else."


def _is_rounding_only(before: Value, after: Value) -> bool:
    return _unrounded(before.tree) == _unrounded(after.tree)


def _unrounded(tree: exp.Expression) -> str:
    def bare(node: exp.Expression) -> exp.Expression:
        while isinstance(node, exp.Round | exp.Floor | exp.Ceil | exp.Trunc | exp.Cast | exp.Paren):
            node = node.this
        return node

    return text_of(bare(tree).transform(bare))


def _rounded(comparison: Comparison, name: str) -> Verdict:
    """Breaking unless the drift is measured and within the column's `tolerance_percent`."""
    after = comparison.after
    columns = {each.lower(): column for each, column in after.columns.items()} if after else {}
    tolerance = float(columns.get(name.lower(), {}).get("tolerance_percent") or 0)
    counts = growth.rows(comparison)
    by = growth.factor(comparison, name)
    is_known = by is not None and counts is not None and counts[0] == counts[1]
    is_small = is_known and by is not None and abs(by - 1) * 100 <= tolerance
    return Verdict.MINOR if is_small else Verdict.BREAKING


def _keys(groups: tuple[tuple[str, ...], ...]) -> str:
    texts = [", ".join(each) or "the whole table" for each in groups]
    return f"by {', then by '.join(texts)}" if texts else "not at all"


def _negative_shares(
    comparison: Comparison, before: growth.Column, after: growth.Column
) -> tuple[float, float] | None:
    counts = growth.rows(comparison)
    if counts is None or before.get("negative") is None or after.get("negative") is None:
        return None
    filled = [
        count - int(each.get("nulls") or 0)
        for each, count in zip((before, after), counts, strict=True)
    ]
    if not all(filled):
        return None
    return int(before["negative"]) / filled[0], int(after["negative"]) / filled[1]


def _vanished(before: growth.Column, after: growth.Column) -> float:
    """The share of rows whose values are not among the later ones; 0 if all or none are."""
    old, new = before.get("top"), after.get("top")
    if not old or not new:
        return 0
    kept = {value for value, _ in new}
    gone = sum(count for value, count in old if value not in kept)
    return gone / sum(count for _, count in old)


def _is_label(value: object) -> bool:
    """Whether a value is a word, and not a code."""
    text = str(value)
    return len(text) > 3 and any(each.isalpha() for each in text) and not text.isupper()


def _are_as_common(old: list[list[object]], new: list[list[object]]) -> bool:
    shares = []
    for top in (old, new):
        counts = sorted((int(str(count)) for _, count in top), reverse=True)
        shares.append([count / sum(counts) for count in counts])
    return all(abs(one - other) <= _NEAR for one, other in zip(*shares, strict=True))


def _changed_words(old: str, new: str) -> list[str]:
    before, after = (Counter(_WORDS.findall(each.casefold())) for each in (old, new))
    if not old:
        return []
    return sorted({f"`{each}`" for each in (before - after) + (after - before)})


def _definition(definition: object) -> str:
    return " ".join(json.dumps(definition, sort_keys=True, default=str).split())


RULES = (
    units, definitions, aggregations, signs, drifts, code_lists, languages, descriptions, terms,
    metrics,
)  # fmt: skip
