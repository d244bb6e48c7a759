"""Formats of events besides JSON: each turns its events into JSON texts.

Belongs here: which format a declaration asks for. Not here: what makes a JSON text a row
(decode.py), so that types, required fields and `_rescued` are the same for every format.

A new format also needs its name in `FORMATS` (repository/model.py).
"""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from meshhouse.landing.formats.errors import BadDeclaration
from meshhouse.repository import FORMATS, RawTable


class Format(Protocol):
    """One way to write events. Not thread-safe."""

    def as_json(self, events: pa.Table) -> pa.Table:
        """Events in the shape of `EVENT_SCHEMA`, with JSON as their `value`.

        A column `reason` is added: why an event has no JSON, null where it has. Such an
        event and a tombstone have a null value.

        Raises:
            MeshError: a schema cannot be fetched, which is no fault of the events.
        """
        ...


def format_of(raw: RawTable) -> Format | None:
    """What reads the events of a topic; none for JSON, which landing reads as it is.

    Raises:
        BadDeclaration: the declaration does not say how to read them.
    """
    if raw.format not in FORMATS:
        known = ", ".join(FORMATS)
        problem = f"`{raw.format}` is not a known format of events."
        raise BadDeclaration(raw.path, raw.line, problem, f"Formats: {known}.")
    if raw.pattern is not None and raw.format != "text":
        raise _meaningless(raw, "pattern", "text")
    if raw.schema_path is not None and raw.format != "avro":
        raise _meaningless(raw, "schema", "avro")
    # Imported on demand: most topics are JSON, and these take a tenth of a second.
    if raw.format == "avro":
        from meshhouse.landing.formats.avro import avro

        return avro(raw)
    if raw.format == "protobuf":
        from meshhouse.landing.formats.protobuf import protobuf

        return protobuf(raw)
    if raw.format == "text":
        from meshhouse.landing.formats.text import Lines

        return Lines(raw)
    return None


def _meaningless(raw: RawTable, key: str, meant: str) -> BadDeclaration:
    return BadDeclaration(
        raw.path,
        raw.line,
        f"`{key}` of {raw.relation} means nothing with the format {raw.format}.",
        f"Remove it, or declare `format: {meant}`.",
    )


__all__ = ["BadDeclaration", "Format", "format_of"]
