"""How two measurements of a table compare.

Belongs here: whether they are comparable, the share of keys in common, and periods that differ. Not
here: measuring (statistics.py), or what a difference means (rules/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

UNITS = (("day", 10), ("month", 7), ("year", 4))
"""Unit -> characters of a date's text that name it."""
MODULUS = 2**64
"""Checksums are sums of hashes modulo this."""


def are_comparable(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> bool:
    """Whether differences of two statistics are differences of the data."""
    return bool(before and after) and before["engine"] == after["engine"]  # type: ignore[index]


def found_again(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> float | None:
    """The share of keys of before that are among those of after, from 0 to 1.

    Args:
        before: `keys` of the earlier statistics.
        after: `keys` of the later ones.

    Returns:
        The share, exact if both sketches are; None if it cannot be known.
    """
    if not before or not after or before["columns"] != after["columns"]:
        return None
    known = before["sketch"]
    if not after["exact"]:  # larger hashes may be among the keys that the sketch leaves out
        known = [each for each in known if each <= after["sketch"][-1]]
    if not known:
        return None
    return len({*known} & {*after["sketch"]}) / len(known)


def rewritten_periods(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> dict[str, tuple[int, int]] | None:
    """Periods of before whose rows or values differ after.

    Args:
        before: `periods` of the earlier statistics.
        after: `periods` of the later ones.

    Returns:
        Period -> its rows before and after; None if the two cannot be compared, for example
        because the table has other columns or DuckDB another version.
    """
    if not before or not after:
        return None
    if any(before[key] != after[key] for key in ("column", "of", "method")):
        return None
    units = [unit for unit, _ in UNITS]
    unit = max(before["unit"], after["unit"], key=units.index)
    old, new = (folded(each["counts"], unit) for each in (before, after))
    return {
        period: (counts[0], new.get(period, [0, ""])[0])
        for period, counts in old.items()
        if counts != new.get(period)
    }


def folded(counts: Mapping[str, Sequence[Any]], unit: str) -> dict[str, list[Any]]:
    """Counts of days or months as those of a longer unit."""
    length = dict(UNITS)[unit]
    sums: dict[str, list[int]] = {}
    for period, (rows, checksum) in sorted(counts.items()):
        total = sums.setdefault(period[:length], [0, 0])
        total[0] += rows
        total[1] = (total[1] + int(checksum, 16)) % MODULUS
    return {period: [rows, f"{checksum:x}"] for period, (rows, checksum) in sums.items()}
