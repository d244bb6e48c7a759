"""The audits that documents need: those of what consumers see, and those that rejected a run.

Belongs here: reading them. Not here: what a document says of checks (checks.py).

Of 450,000 audits in a ledger, a catalog of 5,000 products needs about 5,000.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from meshhouse.heads import Entry
from meshhouse.ledger import Head, Ledger

_REMEMBERED = timedelta(days=31)
"""Which check rejected a product longer ago, its owner finds in `mesh run`."""
_LONGEST_RUN = timedelta(days=1)


@dataclass(frozen=True)
class Audits:
    """Entries of the ledger."""

    shown: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Relation -> the audit of what consumers see."""
    rejected: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Relation -> the newest audit, of products that the last run rejected."""


def read_audits(
    ledgers: Sequence[Ledger],
    histories: Mapping[str, tuple[Head, Sequence[Entry]]],
    now: datetime,
) -> Audits:
    """Reads audits.

    Args:
        ledgers: that of an environment first, then production's.
        histories: relation -> its head, and its publications, oldest first.
        now: the time of the catalog.
    """
    wanted = {relation: _audit_id(*each) for relation, each in histories.items()}
    identities = sorted({each for each in wanted.values() if each})
    found: dict[str, Mapping[str, Any]] = {}
    for ledger in ledgers:
        found |= ledger.audits(identities)
    shown = {relation: found[each] for relation, each in wanted.items() if each in found}
    return Audits(shown, _rejected(ledgers, [head for head, _ in histories.values()], now))


def _audit_id(head: Head, history: Sequence[Entry]) -> str | None:
    """The audit of the publication that consumers see."""
    shown = (each for each in reversed(history) if each["number"] == head.number)
    return next((str(each["audit_id"]) for each in shown if each.get("audit_id")), None)


def _rejected(
    ledgers: Sequence[Ledger], heads: Sequence[Head], now: datetime
) -> dict[str, Mapping[str, Any]]:
    runs = {each.relation: each.last_run_at for each in heads if each.last_run == "rejected"}
    since = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - _REMEMBERED
    times = [each for each in runs.values() if each is not None and each > since]
    if not times:
        return {}
    newest: dict[str, Mapping[str, Any]] = {}
    for ledger in reversed(ledgers):
        for entry in ledger.entries("audits", since=min(times) - _LONGEST_RUN):
            relation = f"{entry['domain']}.{entry['product']}"
            if relation in runs:
                newest[relation] = entry
    return newest
