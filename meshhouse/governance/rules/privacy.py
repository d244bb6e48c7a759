"""Chapter 7: classification and masking of columns, purposes, groups of people, erasure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshhouse.governance.agreements import reads_clear
from meshhouse.governance.alignment import Pair
from meshhouse.governance.change import Change, Hit, Verdict
from meshhouse.governance.classes import looks_personal, personal_values
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.contract import Contract
from meshhouse.governance.rules import derived
from meshhouse.governance.rules.key_values import is_key
from meshhouse.repository.classes import classes_of, is_personal, rank

_Column = Mapping[str, Any]


def protection(comparison: Comparison) -> Iterator[Change]:
    """C1, C2, C3, C5, C6: the class or the mask of a column is another."""
    for pair in comparison.columns.pairs:
        yield from _protection(comparison, pair)


def _protection(comparison: Comparison, pair: Pair) -> Iterator[Change]:
    name, old, new = pair.old, pair.before, pair.after
    before, after = rank(old), rank(new)
    if classes_of(old) and not classes_of(new):
        yield change(
            "C2", name, f"Column `{name}` loses its classification {_classes(old)}.",
            "Data that the class protected is treated as data that needs no protection.",
            Verdict.FORBIDDEN,
        )  # fmt: skip
        return
    is_unclear = classes_of(old) != classes_of(new) and None in (before, after)
    if is_unclear or (before is not None and after is not None and after < before):
        yield change(
            "C1", name,
            f"Column `{name}` is classified as {_classes(new)} instead of {_classes(old)}.",
            "Data is protected less, or in a way that the mesh does not know.", Verdict.FORBIDDEN,
        )  # fmt: skip
        return
    yield from _mask(comparison, pair)


def _mask(comparison: Comparison, pair: Pair) -> Iterator[Change]:
    name, old, new = pair.old, pair.before, pair.after
    before, after = _method(old), _method(new)
    hits = _who_reads_masked(comparison, pair)
    if before and not after:
        yield change(
            "C6", name, f"Column `{name}` is published in clear instead of masked by `{before}`.",
            "Values of people become readable.", Verdict.FORBIDDEN,
        )  # fmt: skip
    elif before and before != after:
        yield change(
            "C5", name, f"Column `{name}` is masked by `{after}` instead of `{before}`.",
            "Joins with values masked before find nothing, and values are more or less precise.",
            comparison.if_read(hits), hits,
        )  # fmt: skip
    elif not before and (after or is_personal(new) > is_personal(old)):
        if after and is_key(comparison, pair):
            return  # rules/keys.py: a clear key is masked
        how = f"masked by `{after}`" if after else f"classified as {_classes(new)}"
        yield change(
            "C3", name, f"Column `{name}` was clear and is now {how}.",
            "Readers without an agreement on the clear values get masked ones.",
            comparison.if_read(hits), hits,
        )  # fmt: skip
    elif classes_of(old) != classes_of(new):
        yield change(
            "C3", name,
            f"Column `{name}` is classified as {_classes(new)} instead of {_classes(old)}.",
            "Its values stay as they are.", Verdict.MINOR,
        )  # fmt: skip


def _who_reads_masked(comparison: Comparison, pair: Pair) -> tuple[Hit, ...]:
    has_clear = reads_clear(comparison.after or comparison.before, pair.new)
    kept = [each for each in comparison.readers.of_column(pair.old) if not has_clear(each)]
    return tuple(sorted({hit for each in kept for hit in each.hits}))


def _classes(column: _Column) -> str:
    return ", ".join(f"`{each}`" for each in classes_of(column)) or "nothing"


def _method(column: _Column) -> str:
    return str((column.get("mask") or {}).get("method") or "")


def new_columns(comparison: Comparison) -> Iterator[Change]:
    """C4: a new column looks personal and is not classified."""
    measured = (comparison.after_statistics or {}).get("columns") or {}
    for column in comparison.columns.added:
        if classes_of(column):
            continue
        name = str(column["name"])
        found = measured.get(name) or {}
        values = [value for value, _ in found.get("top") or ()]
        values += [found.get("min") or "", found.get("max") or ""]
        if looks_personal(name, column, [each for each in values if isinstance(each, str)]):
            yield change(
                "C4", name, f"The new column `{name}` looks personal and has no classification.",
                "Data of people is published unprotected.", Verdict.FORBIDDEN,
            )  # fmt: skip


def texts(comparison: Comparison) -> Iterator[Change]:
    """C10: a description or an example holds a personal value."""
    if comparison.after is None:
        return
    known = [str(each) for each in comparison.after.get("owner", {}).values()]
    known.append(str(comparison.after.get("support.channel", "")))
    before = dict(_texts(comparison.before))
    for subject, text in _texts(comparison.after):
        old = set(personal_values([before.get(subject, "")], known))
        if set(personal_values([text], known)) - old:
            # The value itself must not be repeated in reports and logs.
            yield change(
                "C10", subject, "A description or an example holds what looks like personal data, "
                "such as a mail address or a telephone number.",
                "Everybody who reads the documentation sees it.", Verdict.FORBIDDEN,
            )  # fmt: skip


def _texts(contract: Contract) -> Iterator[tuple[str, str]]:
    for key in ("description", "examples"):
        yield key, str(contract.get(key, ""))
    for name, column in contract.columns.items():
        parts = [column.get(key) for key in ("description", "example", "examples")]
        yield name, " ".join(str(each) for each in parts if each)


def groups(comparison: Comparison) -> Iterator[Change]:
    """C7: smaller groups of people are published."""
    if comparison.after is None:
        return
    old = comparison.before.get("privacy.smallest_group")
    new = comparison.after.get("privacy.smallest_group")
    if old is not None and (new is None or float(new) < float(old)):
        is_now = f"{new} instead of {old}" if new is not None else f"not limited, instead of {old}"
        yield change(
            "C7", "privacy.smallest_group", f"The smallest published group of people is {is_now}.",
            "Single people can be recognised.", Verdict.FORBIDDEN,
        )  # fmt: skip


def purposes(comparison: Comparison) -> Iterator[Change]:
    """C8: data may be used for more, or on another legal basis."""
    if comparison.after is None:
        return
    old, new = (each.get("privacy.purposes") for each in (comparison.before, comparison.after))
    added = sorted(set(new or ()) - set(old or ()))
    if old and (added or not new):
        what = f"also for {', '.join(f'`{each}`' for each in added)}" if new else "for any purpose"
        yield change(
            "C8", "privacy.purposes", f"Data may be used {what}.",
            "People and agreements accepted other purposes.", Verdict.FORBIDDEN,
        )  # fmt: skip
    old, new = (each.get("privacy.legal_basis") for each in (comparison.before, comparison.after))
    if old and old != new:
        yield change(
            "C8", "privacy.legal_basis",
            f"The legal basis is {f'`{new}`' if new else 'none'} instead of `{old}`.",
            "People and agreements accepted another basis.", Verdict.FORBIDDEN,
        )  # fmt: skip


def erasure(comparison: Comparison) -> Iterator[Change]:
    """C11: people are erased later or not at all."""
    if comparison.after is None:
        return
    old = comparison.before.get("promises.erasure_days")
    new = comparison.after.get("promises.erasure_days")
    if old is not None and (new is None or float(new) > float(old)):
        is_now = f"{new} days instead of {old}" if new is not None else "not promised any more"
        yield change(
            "C11", "promises.erasure_days", f"Erasure of a person on request is {is_now}.",
            "People wait longer for their right, or do not get it.", Verdict.FORBIDDEN,
        )  # fmt: skip


RULES = (protection, new_columns, texts, groups, purposes, erasure, *derived.RULES)
