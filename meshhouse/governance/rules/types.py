"""Chapter 2: columns, and fields inside them, whose declared type changes.

Not here: values that are written otherwise in the same type (spelling.py), or nulls inside nested
types (nullability.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from meshhouse.governance.alignment import Pair
from meshhouse.governance.change import Change, Hit, Verdict
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.likeness import measured
from meshhouse.governance.readers import EVERY
from meshhouse.governance.rules.thresholds import regex
from meshhouse.governance.type_changes import TypeChange, type_changes
from meshhouse.governance.types import Type

_EFFECTS: Mapping[str, str] = {
    "T1": "SQL works as before; typed clients and extracts must be made for the wider type.",
    "T2": "Values that do not fit overflow or lose digits.",
    "T3": "SQL works as before.",
    "T4": "Values with more digits cannot be cast.",
    "T5": "Values are rounded otherwise, and sums differ.",
    "T6": "Equality and sums drift, because doubles are not exact.",
    "T7": "Arithmetic and comparisons fail, and the sort order is another.",
    "T8": "Leading zeros are lost, and joins on the code miss.",
    "T9": "The time zone is lost: hours shift for readers in another zone.",
    "T10": "Times become instants: hours shift for readers in another zone.",
    "T11": "The time of day is lost.",
    "T12": "Joins and filters that compare it with a date miss.",
    "T13": "Joins on equal times and watermarks miss.",
    "T15": "Longer texts are cut or refused.",
    "T16": "Only loads into columns of fixed width notice.",
    "T17": "Queries that name the field fail.",
    "T18": "Queries that compare or cast the whole struct notice.",
    "T19": "Casts of the whole struct by place mix its fields up.",
    "T20": "Values of the field do not fit, or compare otherwise.",
    "T21": "Queries that unnest the array get another type.",
    "T22": "Every query that uses the column fails.",
    "T23": "Lookups in the map miss.",
    "T24": "The syntax of paths differs, and old readers cannot read the type.",
    "T25": "Filters on the old values find nothing.",
    "T27": "Joins with keys in the old spelling miss.",
}
_MINOR = frozenset({"T1", "T3", "T16", "T18", "T19"})
_IF_READ = frozenset({"T12", "T13", "T17", "T20"})
"""Rows that are minor if no reader uses the column; the other ones are breaking in any case."""
_WHOLE_STRUCT = frozenset({"T18", "T19"})
_NESTED = frozenset({"T17", "T18", "T19", "T20", "T21", "T23"})
_ZEROS = re.compile(r"0\d+")
_CODE = re.compile(r"\^?(?:0|(?:\\d|\[0-9\])\{\d+\}).*")
"""A pattern that demands a leading zero, or a fixed number of digits."""


def retyped(comparison: Comparison) -> Iterator[Change]:
    """T1 to T13, T15 to T25, T27: a type changes, one change for each path that differs."""
    for pair in comparison.columns.pairs:
        for found in type_changes(*pair.types):
            if found.row.startswith("T"):
                yield _retyped(comparison, pair, found)


def _retyped(comparison: Comparison, pair: Pair, found: TypeChange) -> Change:
    row = found.row
    if row == "T7" and _loses_zeros(comparison, pair, found):
        row = "T8"
    hits = _hits(comparison, pair, found)
    verdict = Verdict.BREAKING
    if row in _MINOR or (row in _IF_READ and not hits):
        verdict = Verdict.MINOR
    return change(
        row, _path(pair.old, found), _what(pair, found), _EFFECTS[row], verdict, hits,
    )  # fmt: skip


def _hits(comparison: Comparison, pair: Pair, found: TypeChange) -> Sequence[Hit]:
    if found.row == "T3":
        return ()
    path = _path(pair.old, found)
    if found.row not in _WHOLE_STRUCT:
        return comparison.readers.hits(path)
    # Readers of one field do not see that another came, or that the order changed.
    struct = path.rpartition(".")[0] if found.row == "T18" else path
    struct = struct.lower()
    return comparison.readers.hits(
        struct,
        lambda read: (
            read.column in (EVERY, struct) or struct.startswith(f"{read.column}.")
        ),
    )  # fmt: skip


def _what(pair: Pair, found: TypeChange) -> str:
    path = _path(pair.old, found)
    subject = f"{'Field' if '.' in path else 'Column'} `{path}`"
    if found.after is None:
        new = f"renamed to `{found.renamed_to}`" if found.renamed_to else "removed"
        return f"{subject} ({found.before}) is {new}."
    if found.before is None:
        return f"{subject} ({found.after}) is added."
    if found.row == "T19":
        return f"The fields of `{path}` have another order: {_order(found.before, found.after)}."
    inside = {"T21": "The elements of ", "T23": "A part of the map "}.get(found.row, "")
    subject = f"{inside}`{path}`" if inside else subject
    verb = "become" if found.row == "T21" else "becomes"
    return f"{subject} {verb} {_text(found.after, pair)}; was {_text(found.before, pair)}."


def _order(before: Type, after: Type) -> str:
    old, new = (", ".join(f"`{each.name}`" for each in kind.fields) for kind in (before, after))
    return f"{old} becomes {new}"


def _text(kind: Type, pair: Pair) -> str:
    """The type as declared if it is the column's, else in the common spelling."""
    for column, own in zip((pair.before, pair.after), pair.types, strict=True):
        if kind == own:
            return str(column.get("type"))
    return str(kind)


def _path(name: str, found: TypeChange) -> str:
    return f"{name}.{found.path}" if found.path else name


def _loses_zeros(comparison: Comparison, pair: Pair, found: TypeChange) -> bool:
    """Whether a text that becomes a number holds codes with leading zeros."""
    if found.path or found.before is None or found.before.kind not in {"string", "char"}:
        return False
    column = measured(comparison.before_statistics, pair.old)
    values = [*(column.values if column else ()), *_accepted(comparison, pair.old)]
    return any(_ZEROS.fullmatch(each) for each in values)


def _accepted(comparison: Comparison, name: str) -> Iterator[str]:
    """Accepted values and examples of patterns that the published checks name."""
    for check in comparison.before.checks.values():
        if str(check.get("column", "")).lower() != name.lower():
            continue
        yield from (str(each) for each in check.get("values") or ())
        if _CODE.fullmatch(regex(check)):
            yield "00"


RULES = (retyped,)
