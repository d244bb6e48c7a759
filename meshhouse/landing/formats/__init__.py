"""Formats of events other than JSON: each converts its events to JSON texts.

Belongs here: choosing the format that a topic declares. Not here: making rows from JSON texts
(decode.py); so types, required fields and `_rescued` work the same for every format.

A new format also needs its name in `FORMATS` (repository/model.py).
"""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from meshhouse.landing.formats.errors import BadDeclaration
from meshhouse.repository import FORMATS, RawTable, display_path


class Format(Protocol):
    """Reads events of one format. Not thread-safe."""

    def as_json(self, events: pa.Table) -> pa.Table:
        """Events in `EVENT_SCHEMA`, with JSON in place of their `value`.

        The added column `reason` says why an event could not be converted; it is null for all
        others. The value is null for these events and for tombstones. A column `DELETED`
        (marks.py) marks deletions that have a value, of facts about them.

        Raises:
            MeshError: a schema cannot be fetched. No event is rejected for that.
        """
        ...


def format_of(raw: RawTable) -> Format | None:
    """The format of a topic's events; None for JSON, which needs no conversion.

    Raises:
        BadDeclaration: the topic's declaration is incomplete or invalid.
    """
    if raw.format not in FORMATS:
        known = ", ".join(FORMATS)
        problem = f"`{raw.format}` is not a known format of events."
        raise BadDeclaration(raw.path, raw.line, problem, f"Formats: {known}.")
    if raw.pattern is not None and raw.format != "text":
        raise _meaningless(raw, "pattern", "text")
    if raw.schema_path is not None and raw.format != "avro":
        raise _meaningless(raw, "schema", "avro")
    encoded = next((column for column in raw.columns if column.encoding is not None), None)
    if encoded is not None and not raw.format.startswith("debezium"):
        raise _meaningless(raw, "encoding", "debezium")
    # Imported on demand: most topics are JSON, and these imports take 0.1 s.
    if raw.format == "avro":
        from meshhouse.landing.formats.avro import avro

        return avro(raw)
    if raw.format == "protobuf":
        from meshhouse.landing.formats.protobuf import protobuf

        return protobuf(raw)
    if raw.format == "debezium":
        from meshhouse.landing.formats.debezium import Changes, JsonConverter

        return Changes(raw, JsonConverter())
    if raw.format == "debezium-avro":
        from meshhouse.landing.formats.debezium import Changes
        from meshhouse.landing.formats.debezium_avro import AvroConverter

        return Changes(raw, AvroConverter(f"{display_path(raw.path)}:{raw.line}"))
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
