"""Readers of Avro files, made once for each schema.

Belongs here: keeping what pyiceberg makes of the schema in the header of a manifest or manifest
list. Not here: reading these files (pyiceberg), or their content (manifests.py).

pyiceberg converts the schema and makes a reader again for each file that it opens. A run of three
small domains opens 240 such files, and that was 15% of its processor time. The files of a table
have the same schema, and a reader keeps nothing of what it has read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pyiceberg.avro import file as avro_file
from pyiceberg.avro.reader import Reader
from pyiceberg.avro.resolver import resolve_reader
from pyiceberg.schema import Schema
from pyiceberg.typedef import EMPTY_DICT
from pyiceberg.utils.schema_conversion import AvroSchemaConversion

_KEPT = 256
"""Schemas that are kept: each table with partitions has one for its manifests."""


def keep_readers() -> None:
    """Lets pyiceberg use the readers of this module in this process."""
    avro_file.AvroFileHeader.get_schema = _schema_of  # type: ignore[method-assign]
    avro_file.resolve_reader = reader_of
    avro_file.construct_reader = _reader_of_own


def reader_of(
    file_schema: Any,
    read_schema: Any,
    read_types: Mapping[int, Any] = EMPTY_DICT,
    read_enums: Mapping[int, Any] = EMPTY_DICT,
) -> Reader:
    """See pyiceberg's `resolve_reader`; the same schema objects get the same reader."""
    schemas = _Schemas(file_schema, read_schema)
    return _kept_reader(schemas, frozenset(read_types.items()), frozenset(read_enums.items()))


def _reader_of_own(file_schema: Any, read_types: Mapping[int, Any] = EMPTY_DICT) -> Reader:
    """See pyiceberg's `construct_reader`."""
    return reader_of(file_schema, file_schema, read_types)


class _Schemas:
    """Two schemas, equal to the same two objects: to compare their fields takes too long."""

    def __init__(self, file: Any, read: Any) -> None:
        self.file = file
        self.read = read

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Schemas) and self.file is other.file and self.read is other.read

    def __hash__(self) -> int:
        return hash((id(self.file), id(self.read)))


@lru_cache(maxsize=_KEPT)
def _kept_reader(
    schemas: _Schemas, types: frozenset[tuple[int, Any]], enums: frozenset[tuple[int, Any]]
) -> Reader:
    return resolve_reader(schemas.file, schemas.read, dict(types), dict(enums))


def _schema_of(header: avro_file.AvroFileHeader) -> Schema:
    text = header.meta.get("avro.schema")
    if text is None:
        raise ValueError("No schema found in Avro file headers")
    return _kept_schema(text)


@lru_cache(maxsize=_KEPT)
def _kept_schema(text: str) -> Schema:
    return AvroSchemaConversion().avro_to_iceberg(json.loads(text))
