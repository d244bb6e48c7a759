"""Whether streams are extracted before they forget records.

Belongs here: the check of Kinesis streams. Not here: reading them (extraction/).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from meshhouse.extraction.states import stream_state
from meshhouse.health.finding import Finding, Level
from meshhouse.repository import Repository

_SOON = 1 / 3
"""A stream is worth a note if less than this share of the time is left that it keeps records."""


def streams(repository: Repository) -> Iterator[Finding]:
    """One finding for each raw table that a stream is extracted to.

    Raises:
        MeshError: a state cannot be read.
    """
    now = time.time()
    for domain in repository.domains:
        for raw in domain.raw_tables:
            if not raw.extraction or not raw.extraction.stream:
                continue
            subject = f"{raw.extraction.stream.name} to {raw.topic}"
            state = stream_state(repository, raw)
            remedy = f"Run `mesh extract {raw.relation}`, and let a schedule run it."
            if state is None:
                what = "was not extracted to its end yet"
                yield Finding("streams", subject, Level.NOTE, what, remedy)
                continue
            until = datetime.fromtimestamp(state.read_until, UTC)
            gone = datetime.fromtimestamp(state.removed_from, UTC)
            if not state.is_whole:
                what = f"was not extracted to its end yet; by {gone:%Y-%m-%d %H:%M} UTC at the "
                what += "latest, Kinesis begins to remove records that were not sent"
                yield Finding("streams", subject, Level.NOTE, what, remedy)
                continue
            what = f"is extracted until {until:%Y-%m-%d %H:%M} UTC"
            if state.removed_from - now < state.retention * _SOON:
                what += f"; from {gone:%Y-%m-%d %H:%M} UTC on, "
                what += "Kinesis removes records that were not sent"
                yield Finding("streams", subject, Level.NOTE, what, remedy)
            else:
                yield Finding("streams", subject, Level.OK, what)
