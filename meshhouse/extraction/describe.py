"""The columns that a raw table needs for a table of a database.

Belongs here: a declared type for each type of PostgreSQL and MySQL. Not here: reading the types
(postgres.py, mysql.py), or writing the declaration (repository/new_topic.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from meshhouse.errors import UsageError
from meshhouse.extraction.new_rows import OPENED
from meshhouse.extraction.table import TableColumn
from meshhouse.repository.model import SourceTable

_MOST_DIGITS = 38
_POSTGRES = {
    "smallint": "integer", "integer": "integer", "bigint": "bigint", "real": "double",
    "double precision": "double", "boolean": "boolean", "date": "date",
    "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz",
}  # fmt: skip
_MYSQL = {
    "tinyint(1)": "boolean", "bit(1)": "boolean", "tinyint": "integer", "smallint": "integer",
    "mediumint": "integer", "int": "integer", "int unsigned": "bigint", "bigint": "bigint",
    "bigint unsigned": "decimal(20,0)", "bit": "decimal(20,0)", "year": "integer",
    "float": "double", "double": "double", "date": "date", "datetime": "timestamp",
    "timestamp": "timestamptz",
}  # fmt: skip
_TEXTS = (
    "text", "character varying", "character", "name", "uuid", "tinytext", "mediumtext", "longtext",
    "varchar", "char", "enum", "set",
)  # fmt: skip


@dataclass(frozen=True)
class Described:
    """One column of the database, as the raw table declares it."""

    name: str
    data_type: str
    required: bool
    doubt: str | None
    """What is uncertain about the type."""


def described(source: SourceTable) -> tuple[Described, ...]:
    """The columns of a table.

    Raises:
        UsageError: there is no such table, or it has no column `cursor`.
        MeshError: the database refuses.
    """
    with OPENED[source.database](source) as table:
        columns = table.columns()
    if not columns:
        raise UsageError(
            f"{source.name} does not exist in the database of {source.connection}, or its user "
            "cannot see it."
        )
    if source.cursor is not None and source.cursor not in columns:
        raise UsageError(f"{source.name} has no column `{source.cursor}`.")
    return tuple(_described(source.database, columns))


def _described(database: str, columns: Mapping[str, TableColumn]) -> Iterator[Described]:
    for name, column in columns.items():
        data_type, doubt = _type(database, column.type.lower())
        yield Described(name, data_type, not column.can_be_null, doubt)


def _type(database: str, stored: str) -> tuple[str, str | None]:
    """The declared type, and what is uncertain about it."""
    if stored.endswith("[]"):
        inner, doubt = _type(database, stored[:-2])
        return f"array<{inner}>", doubt
    plain = " ".join(re.sub(r"\([^()]*\)", " ", stored).replace("zerofill", "").split())
    if plain.removesuffix(" unsigned") in ("numeric", "decimal"):
        return _decimal(stored)
    known = _POSTGRES if database == "postgres" else _MYSQL
    found = known.get(stored) or known.get(plain) or known.get(plain.removesuffix(" unsigned"))
    if found:
        return found, None
    return "string", None if plain in _TEXTS else f"the database has {stored}; it lands as text"


def _decimal(stored: str) -> tuple[str, str | None]:
    digits = re.search(r"\((\d+),(-?\d+)\)", stored)
    if digits:
        precision, scale = int(digits[1]), int(digits[2])
        if 0 <= scale <= precision <= _MOST_DIGITS:
            return f"decimal({precision},{scale})", None
    return f"decimal({_MOST_DIGITS},9)", (
        f"the database has {stored}; values with more digits are rejected"
    )
