"""Chapter 9: units, signs, rounding and definitions of figures, by SQL and by data.

Not here: what declarations say of meaning, and labels (meaning.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from meshhouse.governance import growth
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison, silent
from meshhouse.governance.expressions import Value, text_of
from meshhouse.governance.rules import spelling
from meshhouse.governance.shape import both_shapes, changed_values

_FACTORS = (10, 12, 24, 60, 100, 1000, 3600, 86_400, 1_000_000, 1_000_000_000)
"""Factors between units, such as cents and dollars, or seconds and hours."""
_NEAR = 0.05
"""How far an average may be from a factor: new rows move it a little."""
_NEAR_REWRITTEN = 0.25
"""The same where rows of old periods have other values, so that no new row explains a factor."""
_EVEN = 0.02
"""How far the average and a bound may differ if all values have one factor."""
_SWING = 0.03
"""From which on a common factor counts; exchange rates and taxes are beyond it."""
_FLIPPED = 0.9
"""Share of values of one sign from which on this sign is the rule."""


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
        yield silent(
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
        yield silent(
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
        yield silent(comparison, row, name, what, effect, verdict)


def restatements(comparison: Comparison) -> Iterator[Change]:
    """M2: with equal SQL, old rows have other values in all periods, by no common factor."""
    old = growth.settled(comparison)
    if old is None or not old.is_rewritten:
        return
    explained = {name for name, *_ in changed_values(comparison)}
    explained |= {name.lower() for name in comparison.before.grain}
    explained |= {name.lower() for pair in comparison.columns.swapped for name in pair}
    for name, pair in growth.columns(comparison).items():
        by = growth.factor(comparison, name)
        if name.lower() in explained or by is None or abs(by - 1) <= _SWING:
            continue
        if by < 0 or _scaled(comparison, name) is not None or int(pair[1]["distinct"]) <= 1:
            continue
        if growth.is_restated(comparison, name):
            yield silent(
                comparison, "M2", name,
                f"`{name}` has other values in old rows; its average is {by - 1:+.1%}.",
                "Every figure may mean something else.", Verdict.BREAKING,
            )  # fmt: skip


def aggregations(comparison: Comparison) -> Iterator[Change]:
    """M4: rows are summed up over other keys on the way to the product."""
    shapes = both_shapes(comparison)
    if shapes is None or shapes[0].groups == shapes[1].groups:
        return
    is_same = growth.is_same(comparison)
    old, new = (_keys(each.groups) for each in shapes)
    yield silent(
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
        yield silent(
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
        yield silent(
            comparison, "M4", name, f"The sum of `{name}` drifts by {abs(by - 1):.3%}.",
            "Totals of readers differ a little from before.", _rounded(comparison, name),
        )  # fmt: skip


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
    bounds = [growth.ratio(pair, figure) for figure in ("min", "max")]
    known = [each for each in bounds if each is not None]
    old = growth.settled(comparison)
    if old is not None and old.is_rewritten:
        # One bound may agree by chance: of halved rows, the largest was perhaps not halved.
        is_even = bool(known) and all(abs(each / by - 1) <= _EVEN for each in known)
        is_swing = is_even and abs(by - 1) > _SWING and growth.is_restated(comparison, name)
        # Without bounds, as of personal columns, only a round factor is beyond doubt.
        return by if is_swing or _is_round(by, _NEAR_REWRITTEN) else None
    # New rows never raise the smallest value, so both bounds must have the factor.
    near = [each for each in known if each > 0 and abs(each / by - 1) <= _NEAR]
    is_all = bool(known) and len(near) == len(known)
    values = [int(each.get("distinct") or 0) for each in pair]
    is_alike = abs(values[1] - values[0]) <= 0.1 * max(values)
    return by if _is_round(by, _NEAR) and is_all and is_alike else None


def _is_round(by: float, near: float) -> bool:
    """Whether a factor is one between units, or its inverse."""
    return any(abs(each / factor - 1) <= near for each in (by, 1 / by) for factor in _FACTORS)


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


RULES = (units, definitions, restatements, aggregations, signs, drifts)
