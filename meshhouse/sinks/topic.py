"""A topic as a sink, in Kafka or in the embedded event log.

Belongs here: how a change becomes an event. Not here: writing events (events/).

Delivery is at least once: after a failure, all events of a publication are sent again, with the
same keys and the same number of the publication in their headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from meshhouse.events import open_writer
from meshhouse.events.batches import Event, from_rows
from meshhouse.repository import Repository
from meshhouse.sinks.delivery import Change, Delivery, as_json

PRODUCER = "mesh sinks"
_BATCH = 5_000


class TopicSink:
    """Sends each changed row as one event; the key is the grain."""

    def __init__(self, repository: Repository, topic: str) -> None:
        self._repository = repository
        self._topic = topic

    def position(self, product: str, recorded: int | None) -> int | None:
        """See `SinkWriter`."""
        return recorded

    def stored_at(self, product: str) -> datetime | None:
        """See `SinkWriter`."""
        return None

    def deliver(self, delivery: Delivery, rows: Iterator[Change]) -> None:
        """See `SinkWriter`."""
        writer = open_writer(self._repository.root, self._repository.home)
        if self._topic not in writer.topics():
            writer.create_topic(self._topic, 1)
        now = int(datetime.now(UTC).timestamp() * 1000)
        while batch := [_event(delivery, each, now) for each in islice(rows, _BATCH)]:
            writer.append_events(self._topic, from_rows(batch), PRODUCER)


def _event(delivery: Delivery, change: Change, now: int) -> Event:
    headers = {
        "meshhouse.product": delivery.product.encode(),
        "meshhouse.version": b"%d" % delivery.version,
        "meshhouse.publication": b"%d" % delivery.number,
        "meshhouse.publication_id": delivery.identity.encode(),
        "meshhouse.change": change.kind.encode(),
        "meshhouse.full": b"true" if delivery.is_full else b"false",
    }
    value = None if change.row is None else as_json(change.row).encode()
    return as_json(change.key).encode(), value, now, headers
