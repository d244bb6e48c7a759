"""A read: one consumer's use of one product on one day.

Belongs here: the fact, and its form as a line of a file. Not here: where lines are kept (record.py,
store.py).

A line is one query. It holds names of products and columns, and no value of the query, because the
values of a query can be personal data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

UNKNOWN = ""
"""Stands for the product of a read of which nobody knows what it read."""

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


def from_line(line: bytes) -> Iterator[Read]:
    """The reads of a line; one of an unknown product if the line is damaged."""
    try:
        found = json.loads(line)
        at = datetime.fromisoformat(found["at"]).astimezone(UTC)
        names = {name: str(found[name]) for name in ("user", "consumer", "via")}
        products = [(str(each), _names(columns)) for each, columns in found["products"].items()]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        yield Read(datetime.now(UTC), UNKNOWN, None, "unknown", "", "damaged line")
        return
    for product, columns in products:
        yield Read(at, product, columns, **names)


def _names(columns: Any) -> tuple[str, ...] | None:
    return None if columns is None else tuple(sorted(str(each) for each in columns))
