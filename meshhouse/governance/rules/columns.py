"""Chapter 1: columns that are removed, renamed, added or moved.

Not here: columns that are filled with something else (filling.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from meshhouse.governance.change import Change, Hit, Verdict, listed
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.readers import Read
from meshhouse.governance.rules.keys import new_periods

_TECHNICAL = re.compile(
    r"_.*|.*__.*|(?:kafka|topic|event|source)_(?:offset|partition)|(?:offset|partition)_id"
    r"|(?:load|batch|run|ingest\w*|etl)_(?:id|at|time|timestamp)"
    r"|(?:loaded|landed|ingested|inserted|synced|extracted)_at|row_(?:hash|checksum)|dbt_\w+"
)


def removed(comparison: Comparison) -> Iterator[Change]:
    """S1, S2: a column is removed."""
    for column in comparison.columns.removed:
        name = column["name"]
        hits = comparison.readers.hits(name)
        yield change(
            "S1" if column.get("required") else "S2", name,
            f"Column `{name}` ({column.get('type')}) is removed.",
            "Queries that name the column fail.",
            comparison.if_read(hits), hits,
        )  # fmt: skip


def renamed(comparison: Comparison) -> Iterator[Change]:
    """S3: a column has another name."""
    for pair in comparison.columns.renamed:
        hits = comparison.readers.hits(pair.old)
        yield change(
            "S3", pair.old,
            f"Column `{pair.old}` is renamed to `{pair.new}`.",
            "Queries that use the old name fail.",
            comparison.if_read(hits), hits,
        )  # fmt: skip


def recased(comparison: Comparison) -> Iterator[Change]:
    """S4: only the letter case of a name changes."""
    for pair in comparison.columns.kept:
        if pair.old != pair.new:
            hits = comparison.readers.hits(pair.old)
            yield change(
                "S4", pair.old,
                f"Column `{pair.old}` is spelled `{pair.new}`.",
                "Readers of files and of quoted names in Snowflake do not find the old spelling.",
                comparison.if_read(hits), hits,
            )  # fmt: skip


def added(comparison: Comparison) -> Iterator[Change]:
    """S5, S6, S11, S12: a column is added; S7: its name makes a reader's query ambiguous."""
    periods = new_periods(comparison)
    for column in comparison.columns.added:
        if str(column["name"]).lower() not in periods:
            yield _added(comparison, column)
    for pair in comparison.columns.renamed:
        ambiguous = _ambiguous(comparison, pair.new)
        if ambiguous is not None:
            yield ambiguous


def _added(comparison: Comparison, column: Any) -> Change:
    name = str(column["name"])
    what = f"Column `{name}` ({column.get('type')}) is added"
    if name.lower() in comparison.past.names:
        return change(
            "S11", name,
            f"{what}, under a name that an earlier column of the product had.",
            "Queries of that time run again, and read something else.",
            Verdict.FORBIDDEN,
        )  # fmt: skip
    ambiguous = _ambiguous(comparison, name)
    if ambiguous is not None:
        return ambiguous
    if _TECHNICAL.fullmatch(name.lower()):
        return change(
            "S12", name,
            f"{what}; its name says that it is technical.",
            "Readers see a column that means nothing to them.",
            Verdict.MINOR, _of_stars(comparison),
        )  # fmt: skip
    by_place = _by_place(comparison)
    return change(
        "S6" if column.get("required") else "S5", name,
        f"{what}.",
        "Readers that combine columns by their place fail." if by_place
        else "Readers of `*` get one more column.",
        comparison.if_read(by_place), by_place or _of_stars(comparison),
    )  # fmt: skip


def _ambiguous(comparison: Comparison, name: str) -> Change | None:
    found = comparison.readers.of_bare_name(name)
    hits = sorted({hit for each in found for hit in each.hits})
    if not hits:
        return None
    return change(
        "S7", name,
        f"The new name `{name}` is also in a relation that readers join with this product.",
        f"Queries that name `{name}` without its table become ambiguous and fail.",
        Verdict.BREAKING, hits,
    )  # fmt: skip


def reordered(comparison: Comparison) -> Iterator[Change]:
    """S8: columns have another order."""
    if comparison.after is None:
        return
    kept = [pair.old.lower() for pair in comparison.columns.kept]
    places = [name.lower() for name in comparison.after.columns]
    order = [name for name in places if name in kept]
    if order != kept:
        by_place = _by_place(comparison)
        yield change(
            "S8", "",
            f"The columns have another order: {listed(kept)} becomes {listed(order)}.",
            "Readers that combine columns by their place mix them up." if by_place
            else "Only readers that use columns by their place would notice.",
            comparison.if_read(by_place), by_place or _of_stars(comparison),
        )  # fmt: skip


def deprecated(comparison: Comparison) -> Iterator[Change]:
    """S14: a column is kept as a deprecated alias of another."""
    for pair in comparison.columns.pairs:
        if pair.after.get("deprecated") and not pair.before.get("deprecated"):
            note = pair.after["deprecated"]
            yield change(
                "S14", pair.old,
                f"Column `{pair.old}` is deprecated" + (f": {note}" if note is not True else "."),
                "Nothing yet: readers should move before the column is removed.",
                Verdict.MINOR, comparison.readers.hits(pair.old),
            )  # fmt: skip


def _is_star(read: Read) -> bool:
    return "star" in read.how


def _is_star_by_place(read: Read) -> bool:
    # By place with a list of columns, the list decides, not the product's order.
    return _is_star(read) and "position" in read.how


def _by_place(comparison: Comparison) -> tuple[Hit, ...]:
    """The readers of `*` that combine it by place; readers with unknown lineage are not meant."""
    return _whole(each for each in comparison.readers.reads if _is_star_by_place(each))


def _of_stars(comparison: Comparison) -> tuple[Hit, ...]:
    return _whole(each for each in comparison.readers.reads if _is_star(each) or not each.is_known)


def _whole(reads: Iterator[Read]) -> tuple[Hit, ...]:
    """Each reader once, with all its columns."""
    found = {Hit(each.reader, "*" if each.is_known else "?", each.owner) for each in reads}
    return tuple(sorted(found))


RULES = (removed, renamed, recased, added, reordered, deprecated)
