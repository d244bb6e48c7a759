"""Agreements in a contract: who may read what of a product.

Belongs here: looking up agreements and the readers that they concern. Not here: what a changed
agreement means (rules/).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from meshhouse.governance.contract import Contract
from meshhouse.governance.readers import Read

Agreement = Mapping[str, Any]
_ENDED = ("revoked", "rejected", "ended", "expired")
_ASKED = ("requested", "pending", "draft")


def agreements_of(contract: Contract) -> dict[str, Agreement]:
    """Name -> agreement: the consumer, with the purpose if a consumer has several."""
    found = contract.get("agreements", ())
    count = Counter(str(each["consumer"]) for each in found)
    return {
        str(each["consumer"])
        if count[str(each["consumer"])] == 1
        else f"{each['consumer']} ({each.get('purpose', '')})": each
        for each in found
    }


def has_ended(agreement: Agreement, today: date) -> bool:
    """Whether the last day of an agreement is over, or whether it was revoked."""
    until = agreement.get("until")
    is_over = until is not None and str(until)[:10] < today.isoformat()
    return is_over or _status(agreement) in _ENDED


def is_active(agreement: Agreement, today: date) -> bool:
    """Whether an agreement grants anything today."""
    return not has_ended(agreement, today) and _status(agreement) not in _ASKED


def is_approved(agreement: Agreement) -> bool:
    """Whether an approver signed it who did not request it."""
    approver = agreement.get("approver")
    is_signed = _status(agreement) not in (*_ENDED, *_ASKED)
    return is_signed and bool(approver) and approver != agreement.get("requester")


def _status(agreement: Agreement) -> str:
    return str(agreement.get("status") or "approved").lower()


def of_consumer(consumer: str) -> Callable[[Read], bool]:
    """Which reads are those of a consumer, a domain or one model of it."""
    name = consumer.lower()

    def is_hit(read: Read) -> bool:
        reader = read.reader.lower()
        return reader == name or reader.partition(".")[0] == name

    return is_hit


def reads_clear(contract: Contract, column: str) -> Callable[[Read], bool]:
    """Which reads are covered by an agreement that has a column in clear."""
    granted = [
        of_consumer(str(each["consumer"]))
        for each in contract.get("agreements", ())
        if column.lower() in {str(name).lower() for name in each.get("clear") or ()}
    ]
    return lambda read: any(is_hit(read) for is_hit in granted)
