"""What sinks have received, by the ledger.

Belongs here: the last delivery of each sink, and what it lacks. Not here: delivering (deliver.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meshhouse.heads import REPEATS, publications_of
from meshhouse.ledger import Ledger
from meshhouse.repository import Domain, Product, Sink

LEDGER = "deliveries"
DELIVERED, FAILED = "delivered", "failed"
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class SinkState:
    """What one sink of a product has received."""

    product: str
    sink: str
    delivered: int | None
    """The last delivered publication, as the ledger has it."""
    delivered_at: datetime | None
    current: int | None
    """The newest publication or rollback."""
    waiting: int
    """How many publications it lacks."""
    problem: str
    """Why the last attempt failed; empty if it did not."""


def sink_states(ledger: Ledger, domains: Iterable[Domain]) -> list[SinkState]:
    """What each declared sink has received, by the ledger."""
    found = []
    for domain in domains:
        chosen = with_sinks(domain, None)
        if not chosen:
            continue
        history, past = publications_of(ledger, domain.name), ledger.entries(LEDGER)
        for product in chosen:
            shown = shown_of(history.get(product.relation, []))
            for sink in product.sinks:
                mine = deliveries_of(past, product, sink)
                last = last_delivered(mine)
                delivered = last["publication"] if last else None
                failed = mine[-1] if mine and mine[-1]["kind"] == FAILED else None
                numbers = [each["number"] for each in shown]
                at = numbers.index(delivered) + 1 if delivered in numbers else 0
                found.append(
                    SinkState(
                        product.relation, sink.name, delivered,
                        last["finished_at"] if last else None,
                        numbers[-1] if numbers else None, len(numbers) - at,
                        str(failed["message"]) if failed else "",
                    )
                )  # fmt: skip
    return found


def with_sinks(domain: Domain, products: Sequence[str] | None) -> list[Product]:
    """The products of a domain that have sinks, of those that are named; None for all."""
    return [
        each for each in domain.products
        if each.sinks and (products is None or each.relation in products)
    ]  # fmt: skip


def shown_of(entries: Iterable[Entry]) -> list[Entry]:
    """What consumers saw, in order: publications, and rollbacks to earlier rows."""
    return [each for each in entries
            if each["kind"] == "rollback" or each["kind"] not in REPEATS]  # fmt: skip


def deliveries_of(past: Iterable[Entry], product: Product, sink: Sink) -> list[Entry]:
    """The deliveries of a product to a sink, also under its former name."""
    names = {product.relation, product.former_relation}
    return [
        each for each in past
        if each["sink"] == sink.name and f"{each['domain']}.{each['product']}" in names
    ]  # fmt: skip


def last_delivered(past: Sequence[Entry]) -> Entry | None:
    """The newest delivery that succeeded."""
    return next((each for each in reversed(past) if each["kind"] == DELIVERED), None)
