"""Chapter 4: values of keys that change: other recipes, masks, or entities under one key.

Not here: which columns are the key (keys.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshhouse.governance.alignment import Pair
from meshhouse.governance.change import Change, Verdict, listed
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.likeness import measured
from meshhouse.governance.readers import Hit
from meshhouse.governance.rules.filling import other_roots
from meshhouse.governance.rules.keys import foreign_targets, unique_columns
from meshhouse.governance.rules.spelling import is_respelled
from meshhouse.governance.shape import changed_values
from meshhouse.governance.statistics_compared import are_comparable, found_again

_ENOUGH = 0.99
"""The share of published keys that must be found again."""
_TURNOVER = 0.5
"""Without a change of the SQL, keys come and go: below this share their recipe is another."""
_ENOUGH_ROWS = 20
"""Of fewer rows, such as one row of totals, all keys may change on any day."""
_TIMES = frozenset({"date", "timestamp", "timestamptz"})


def recipe(comparison: Comparison) -> Iterator[Change]:
    """K8: keys are made otherwise; K13: they are made of other columns."""
    if not _same_grain(comparison) or _is_respelled(comparison):
        return
    key = [name.lower() for name in comparison.before.grain]
    share = _share(comparison)
    moved = {name: (old, new) for name, old, new in other_roots(comparison) if name in key}
    for name, (old, new) in sorted(moved.items()):
        hits = comparison.readers.hits(name)
        is_same = share is not None and share >= _ENOUGH
        yield change(
            "K13", name,
            f"The key `{name}` comes from {listed(sorted(new))} instead of "
            f"{listed(sorted(old))}{_found(share)}.",
            "Keys that readers stored are found again." if is_same
            else "Keys that readers stored stop joining.",
            Verdict.MINOR if is_same else comparison.if_read(hits), hits,
        )  # fmt: skip
    is_edited = any(name in key for name, *_ in changed_values(comparison))
    if moved or not _is_other_recipe(comparison, share, is_edited):
        return
    yield change(
        "K8", ", ".join(key),
        f"The values of the key {listed(sorted(key))} are made otherwise{_found(share)}.",
        "Keys that readers stored stop joining.",
        Verdict.BREAKING, _hits(comparison, key), is_silent=True,
    )  # fmt: skip


def _is_other_recipe(comparison: Comparison, share: float | None, is_edited: bool) -> bool:
    if share is None:
        return is_edited
    if share >= _ENOUGH:
        return False
    if is_edited:
        return True
    before = comparison.before_statistics
    is_large = before is not None and before["rows"] >= _ENOUGH_ROWS
    return is_large and share < _TURNOVER and _are_replaced(comparison, share)


def _are_replaced(comparison: Comparison, share: float) -> bool:
    """Whether new keys took the place of those that vanished, and time does not explain it."""
    before, after = comparison.before_statistics, comparison.after_statistics
    assert before is not None
    assert after is not None
    found = share * before["rows"]
    are_new = after["rows"] - found >= (before["rows"] - found) / 2
    return are_new and not _is_of_time(comparison)


def _is_of_time(comparison: Comparison) -> bool:
    """Whether keys contain a time, so that new rows have new keys and old rows may leave."""
    keys = {name.lower() for name in comparison.before.grain}
    return any(
        pair.old.lower() in keys and pair.types[0].kind in _TIMES
        for pair in comparison.columns.pairs
    )


def _share(comparison: Comparison) -> float | None:
    """The share of published keys that the candidate has; None if it is not known."""
    before, after = comparison.before_statistics, comparison.after_statistics
    if not are_comparable(before, after):
        return None
    assert before is not None
    assert after is not None
    if before.get("keys") and after.get("keys") and not after["keys"]["sketch"]:
        return None  # an empty table has no other keys
    return found_again(before.get("keys"), after.get("keys"))


def _found(share: float | None) -> str:
    return "" if share is None else f"; {share:.0%} of the published keys are found again"


def _same_grain(comparison: Comparison) -> bool:
    if comparison.after is None or not comparison.before.grain:
        return False
    old = {name.lower() for name in comparison.before.grain}
    kept = {pair.old.lower() for pair in comparison.columns.kept}
    return old == {name.lower() for name in comparison.after.grain} and old <= kept


def _is_respelled(comparison: Comparison) -> bool:
    """Whether identifiers in the key are only written otherwise (T27)."""
    keys = {name.lower() for name in comparison.before.grain}
    for pair in comparison.columns.kept:
        before = measured(comparison.before_statistics, pair.old)
        after = measured(comparison.after_statistics, pair.new)
        if before is None or after is None or pair.old.lower() not in keys:
            continue
        if is_respelled(pair, before, after) or pair.types[0] != pair.types[1]:
            return True
    return False


def reused(comparison: Comparison) -> Iterator[Change]:
    """K9: a key stands for another entity: columns that must not change per key do."""
    if not _same_grain(comparison):
        return
    before, after = (
        _fixed_values(each) for each in (comparison.before_statistics, comparison.after_statistics)
    )
    if not before or not after or before[0] != after[0]:
        return
    common = before[1].keys() & after[1].keys()
    other = [each for each in common if before[1][each] != after[1][each]]
    if other:
        key = [name.lower() for name in comparison.before.grain]
        yield change(
            "K9", ", ".join(key),
            f"Of the keys {listed(sorted(key))} that are compared, {len(other)} of {len(common)} "
            f"have other values in {listed(sorted(before[0]))}, which must not change.",
            "The history of one entity mixes with that of another.",
            Verdict.FORBIDDEN, _hits(comparison, key), is_silent=True,
        )  # fmt: skip


def _fixed_values(statistics: Mapping[str, Any] | None) -> tuple[list[str], dict[str, str]] | None:
    """The immutable columns, and a hash of their values for each key in the sketch."""
    keys = (statistics or {}).get("keys") or {}
    fixed = keys.get("immutable")
    if not fixed:
        return None
    return list(fixed["columns"]), dict(zip(keys["sketch"], fixed["hashes"], strict=True))


def masked(comparison: Comparison) -> Iterator[Change]:
    """K10: a key that was clear is masked; K11: the key of the mask is another."""
    rotated = []
    for pair in comparison.columns.pairs:
        old, new = pair.before.get("mask"), pair.after.get("mask")
        if new and not old and is_key(comparison, pair):
            hits = comparison.readers.hits(pair.old)
            yield change(
                "K10", pair.old,
                f"The key `{pair.old}` was clear, and is masked ({_method(new)}).",
                "Joins with the clear key find nothing.",
                comparison.if_read(hits), hits,
            )  # fmt: skip
        if old and new and _key_version(old) != _key_version(new):
            rotated.append((pair.old, _key_version(old), _key_version(new)))
    if rotated:
        names = [name for name, *_ in rotated]
        _, old, new = rotated[0]
        yield change(
            "K11", ", ".join(names),
            f"The key that masks {listed(sorted(names))} is rotated: version {new}; was {old}.",
            "Pseudonyms that readers stored stop joining.",
            Verdict.BREAKING, _hits(comparison, names),
        )  # fmt: skip


def is_key(comparison: Comparison, pair: Pair) -> bool:
    """Whether readers join by the column, or the contract invites them to."""
    name = pair.old.lower()
    return (
        name in {each.lower() for each in comparison.before.grain}
        or any(name in each for each in unique_columns(comparison.before))
        or name in foreign_targets(comparison.before)
        or any("join" in each.how for each in comparison.readers.of_column(name))
    )


def _method(mask: Any) -> str:
    return str(mask.get("method")) if isinstance(mask, Mapping) else str(mask)


def _key_version(mask: Any) -> Any:
    return mask.get("key_version") if isinstance(mask, Mapping) else None


def _hits(comparison: Comparison, names: list[str]) -> tuple[Hit, ...]:
    return tuple(sorted({hit for name in names for hit in comparison.readers.hits(name)}))


RULES = (recipe, reused, masked)
