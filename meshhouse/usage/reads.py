"""A read: one consumer's use of one product on one day.

Belongs here: the fact, and its form as a line of a file. Not here: where lines are kept (record.py,
store.py).

A line is one query. It holds names of products and columns, and no value of the query, because the
values of a query can be personal data.

Every reader can append lines, so a line may hold anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

UNKNOWN = ""
"""Stands for the product of a read of which nobody knows what it read."""

_LONGEST_NAME = 100
HISTORY = "history of "
"""Begins `via` of reads that were imported from the history of a warehouse or engine."""


@dataclass(frozen=True)
class Read:
    """Queries of one consumer that read the same columns of one product in the same way."""

    at: datetime
    """When, in UTC; of several queries, the newest."""
    product: str
    """The relation as the query named it; `UNKNOWN` if nobody knows what was read."""
    columns: tuple[str, ...] | None
    """Names of columns, sorted; None if they are unknown."""
    user: str
    """The user of the operating system or of the warehouse."""
    consumer: str
    """Who it was for, as the reader declared it; empty if nobody did."""
    via: str
    """How: `mesh sql`, `python`, or `HISTORY` and where it was imported from."""
    count: int = 1
    """Queries; 0 for work of a run, which only costs."""
    rows: int | None = None
    """Rows of the answers; None if unknown, like the next three."""
    bytes: int | None = None
    milliseconds: int | None = None
    nanocredits: int | None = None
    """Billionths of a credit of the warehouse."""

    @property
    def day(self) -> date:
        """The day, in UTC."""
        return self.at.date()


def as_line(
    at: datetime,
    user: str,
    consumer: str,
    via: str,
    products: Mapping[str, Sequence[str] | None],
) -> bytes:
    """One query as a line of a file."""
    line = {"at": at.isoformat(), "user": user, "consumer": consumer, "via": via}
    return json.dumps({**line, "products": products}, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> list[Read]:
    """The reads of a line; one of an unknown product if the line is damaged."""
    try:
        found = json.loads(line)
        at = datetime.fromisoformat(found["at"]).astimezone(UTC)
        names = {name: clean(str(found[name])) for name in ("user", "consumer", "via")}
        reads = [
            Read(at, _printable(product), _names(columns), **names)
            for product, columns in found["products"].items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        reads = []
    return reads or [unknown("damaged line")]


def unknown(via: str) -> Read:
    """A read of now, of which nobody knows what it read.

    Args:
        via: why nobody knows.
    """
    return Read(datetime.now(UTC), UNKNOWN, None, "unknown", "", via)


def clean(name: str) -> str:
    """The name of a user or consumer as at most 100 characters that can be printed and stored."""
    return _printable(name.strip())[:_LONGEST_NAME]


def _printable(text: str) -> str:
    """Without control characters, and without halves of surrogate pairs, which UTF-8 lacks."""
    return text if text.isprintable() else "".join(each for each in text if each.isprintable())


def _names(columns: Any) -> tuple[str, ...] | None:
    if not isinstance(columns, list | None):
        raise TypeError("columns are a list")
    return None if columns is None else tuple(sorted({_printable(str(each)) for each in columns}))
