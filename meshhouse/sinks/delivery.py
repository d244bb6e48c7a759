"""One delivery: what every sink receives, and the protocol of a sink.

Belongs here: the facts and the text form of values. Not here: how changed rows are found
(changes.py), or one kind of sink (postgres.py, cassandra.py, topic.py, own.py).
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Protocol

ADDED, CHANGED, REMOVED = "added", "changed", "removed"


@dataclass(frozen=True)
class Change:
    """One row that a publication added, changed or removed."""

    kind: str
    """`added`, `changed` or `removed`."""
    key: Mapping[str, Any]
    """The values of the grain."""
    row: Mapping[str, Any] | None
    """All values after the publication; None for a removed row."""


@dataclass(frozen=True)
class Delivery:
    """One publication on its way to one sink."""

    product: str
    """`domain.product`."""
    version: int
    number: int
    """The number of the publication, as `mesh history` shows it: the key for idempotence."""
    since: int | None
    """The publication that the sink has; None if it receives all rows."""
    published_at: datetime | None
    columns: Mapping[str, str]
    """Name -> DuckDB's type of each delivered column."""
    grain: tuple[str, ...]
    identity: str = ""
    """Tells publications apart whose numbers are equal: after a restore numbers come again."""

    @property
    def is_full(self) -> bool:
        """Whether it has all rows, which replace what the sink has."""
        return self.since is None


class SinkWriter(Protocol):
    """A place that receives deliveries."""

    def position(self, product: str, recorded: int | None) -> int | None:
        """The number of the publication that the sink has; None if it needs all rows.

        Args:
            product: whose rows.
            recorded: the number as the ledger has it, for sinks that do not keep one.
        """
        ...

    def stored_at(self, product: str) -> datetime | None:
        """When the sink stored its publication; None if the sink does not keep that time."""
        ...

    def deliver(self, delivery: Delivery, rows: Iterator[Change]) -> None:
        """Stores a delivery; it is durable when this returns. A repeated call must do no harm.

        Raises:
            MeshError: it cannot be stored; the message has no credentials and no rows.
        """
        ...


def as_json(value: Any) -> str:
    """A value as JSON: decimals and binary values are texts, times are ISO 8601."""
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return format(value, "f")  # exact; most JSON readers would round a number
        case datetime():
            text = value.isoformat()
            return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text
        case date() | time():
            return value.isoformat()
        case bytes():
            return b64encode(value).decode()
        case Mapping():
            return {str(name): _plain(each) for name, each in value.items()}
        case list() if value and all(isinstance(each, tuple) for each in value):
            return {str(name): _plain(each) for name, each in value}  # a map
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return str(value)
