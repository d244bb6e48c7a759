"""Chapter 10: the relation's name and place, and how its table is stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meshhouse.governance.change import Change, Hit, Verdict, listed
from meshhouse.governance.comparison import Comparison, change

INCREMENTAL = "incremental"
"""How of a read, and a key of an agreement: the reader takes only what is new, or streams."""


def moved(comparison: Comparison) -> Iterator[Change]:
    """R1: another schema or database; R2: another name. Both only within a version and domain."""
    before, after = comparison.before, comparison.after
    if after is None or before.get("domain") != after.get("domain"):
        return
    if before.version != after.version or before.get("versioned") != after.get("versioned"):
        return
    old, new = (_place(each.relation, str(each.get("database", ""))) for each in (before, after))
    if old == new:
        return
    row = "R2" if old[-1] != new[-1] else "R1"
    aliases = {str(each).lower() for each in after.get("aliases", ())}
    has_alias = before.relation.lower() in aliases
    verb = "is renamed to" if row == "R2" else "moves to"
    yield change(
        row, "", f"`{_name(old)}` {verb} `{_name(new)}`.",
        "The old name still works." if has_alias else "Queries that use the old name fail.",
        Verdict.MINOR if has_alias else Verdict.BREAKING, comparison.readers.hits(),
    )  # fmt: skip
    names = {str(each).lower() for each in before.get("aliases", ())}
    lost = names - aliases - {after.relation.lower(), after.product.lower()}
    if has_alias and (hits := comparison.readers.hits_by_name(lost)):
        yield change(
            row, "aliases", f"The former {listed(sorted(lost))} stops working.",
            "Queries that use it fail. Rename the product once its readers use the present name.",
            Verdict.BREAKING, hits,
        )  # fmt: skip


def kinds(comparison: Comparison) -> Iterator[Change]:
    """R3: a table becomes a view, or a view a table."""
    if comparison.after is None:
        return
    old, new = (each.get("kind", "table") for each in (comparison.before, comparison.after))
    if old != new:
        hits = _incremental(comparison)
        yield change(
            "R3", "", f"The {old} becomes a {new}.",
            "Time travel, streams and cost differ.", comparison.if_read(hits), hits,
        )  # fmt: skip


def partitioning(comparison: Comparison) -> Iterator[Change]:
    """R4: the table is partitioned or clustered by other columns."""
    old, new = _both(comparison, "partitioned_by")
    if old == new or not old:
        return
    left = [each for each in old if each not in new]
    hits = sorted(
        {
            hit
            for each in left
            for hit in comparison.readers.hits(
                _column(each), lambda read: "filter" in read.how or "join" in read.how
            )
        }
    )
    yield change(
        "R4", "", f"The table is partitioned by {listed(new)} instead of {listed(old)}.",
        "Filters on the old columns read more files.",
        Verdict.MINOR if hits else Verdict.HARMLESS, hits,
    )  # fmt: skip


def platforms(comparison: Comparison) -> Iterator[Change]:
    """R5: another platform or region."""
    for key in ("platform", "region"):
        old = comparison.before.get(key)
        new = comparison.after.get(key) if comparison.after is not None else old
        if old != new and old is not None:
            yield change(
                "R5", key, f"The {key} is `{new}` instead of `{old}`.",
                "Readers cannot connect as before.",
                Verdict.BREAKING, comparison.readers.hits(),
            )  # fmt: skip


def formats(comparison: Comparison) -> Iterator[Change]:
    """R6: a newer table format, or a feature that old readers lack."""
    if comparison.after is None:
        return
    path = "storage.format_version"
    old, new = (int(each.get(path, 0)) for each in (comparison.before, comparison.after))
    features = sorted(
        {*comparison.after.get("storage.features", ())}
        - {*comparison.before.get("storage.features", ())}
    )
    if not features and (not old or new <= old):
        return
    what = f"Format version {new} instead of {old}" if new != old else f"Format version {new}"
    hits = sorted(
        Hit(str(each["consumer"]), "*")
        for each in comparison.after.get("agreements", ())
        if each.get("engine") and int(each.get("format_version") or 0) < new
    )
    yield change(
        "R6", "", what + (f", with {listed(features)}." if features else "."),
        "Engines that do not know it cannot read the table.", comparison.if_read(hits), hits,
    )  # fmt: skip


def recreated(comparison: Comparison) -> Iterator[Change]:
    """R7: the table is another one: its id or its field ids differ."""
    if comparison.after is None:
        return
    old, new = (each.get("storage.uuid") for each in (comparison.before, comparison.after))
    before, after = (
        {name.lower(): at for name, at in each.get("storage.field_ids", {}).items()}
        for each in (comparison.before, comparison.after)
    )
    renumbered = sorted(name for name, at in before.items() if after.get(name, at) != at)
    is_new = old is not None and new is not None and old != new
    if is_new or renumbered:
        hits = _incremental(comparison)
        yield change(
            "R7", "", "The table is created again: its id differs." if is_new
            else f"Field ids differ: {listed(renumbered)}.",
            "Incremental and streaming readers must start from the beginning.",
            comparison.if_read(hits), hits,
        )  # fmt: skip


def snapshots(comparison: Comparison) -> Iterator[Change]:
    """R8: snapshots expire sooner."""
    path = "storage.snapshots_kept_days"
    old = comparison.before.get(path)
    new = comparison.after.get(path) if comparison.after is not None else old
    if old is not None and new is not None and float(new) < float(old):
        yield change(
            "R8", "", f"Snapshots are kept for {new} days instead of {old}.",
            "Readers cannot travel as far back, and rollback reaches less far.",
            Verdict.BREAKING, comparison.readers.hits(),
        )  # fmt: skip


def layout(comparison: Comparison) -> Iterator[Change]:
    """R9: comments are lost; R10: another location; R11: other identifier fields or order."""
    old, new = _both(comparison, "comments")
    lost = sorted({*old} - {*new})
    if lost:
        yield change(
            "R9", "", f"Comments of {listed(lost)} are lost.",
            "The catalog shows less.", Verdict.MINOR,
        )  # fmt: skip
    for key, row, title, effect in _LAYOUT:
        before, after = _both(comparison, key)
        if before and before != after:
            yield change(
                row, key, f"The {title} is {listed(after)} instead of {listed(before)}.",
                effect, Verdict.MINOR,
            )  # fmt: skip


_LAYOUT = (
    ("location", "R10", "location", "Files are elsewhere; nobody may read them by path."),
    ("identifier_fields", "R11", "list of identifier fields", "Merges cost more or less."),
    ("sorted_by", "R11", "sort order", "Merges and scans cost more or less."),
)


def _incremental(comparison: Comparison) -> Sequence[Hit]:
    """Readers that take only what is new."""
    reads = [each for each in comparison.readers.reads if INCREMENTAL in each.how]
    found = {hit for each in reads for hit in each.hits}
    if comparison.after is not None:
        for each in comparison.after.get("agreements", ()):
            if each.get(INCREMENTAL):
                found.add(Hit(str(each["consumer"]), "*"))
    return sorted(found)


def _both(comparison: Comparison, key: str) -> tuple[list[str], list[str]]:
    """A value of both storages as lists; equal lists if the candidate's storage is not known."""
    before = _as_list(comparison.before.get(f"storage.{key}"))
    if comparison.after is None or not comparison.after.get("storage"):
        return before, before
    return before, _as_list(comparison.after.get(f"storage.{key}"))


def _as_list(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    return [str(each) for each in (value if isinstance(value, Mapping) else list(value))]


def _column(transform: str) -> str:
    """The column of a partition transform such as `bucket(16, store_id)`."""
    return transform.rpartition("(")[2].rstrip(")").rpartition(",")[2].strip()


def _place(relation: str, database: str) -> tuple[str, ...]:
    return (database.lower(), *relation.lower().split("."))


def _name(place: Sequence[str]) -> str:
    return ".".join(each for each in place if each)


RULES = (
    moved, kinds, partitioning, platforms, formats, recreated, snapshots, layout,
)  # fmt: skip
