"""The audits of a mesh: that of each publication, and the newest of each product.

Belongs here: one read of the ledger's audits. Not here: what a document says of checks (checks.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshhouse.ledger import Ledger


@dataclass(frozen=True)
class Audits:
    """Entries of the ledger."""

    by_id: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    newest: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Relation -> the newest audit, whether it passed or not."""


def read_audits(ledgers: Iterable[Ledger]) -> Audits:
    """Reads the audits of an environment and of production behind it, the environment's first."""
    by_id: dict[str, Mapping[str, Any]] = {}
    newest: dict[str, Mapping[str, Any]] = {}
    for ledger in ledgers:
        here: dict[str, Mapping[str, Any]] = {}
        for entry in ledger.entries("audits"):
            by_id[entry["audit_id"]] = entry
            here[f"{entry['domain']}.{entry['product']}"] = entry
        newest = {**here, **newest}
    return Audits(by_id, newest)
