"""A table of a database, as an extraction reads it.

Belongs here: what each database must answer, and whether a declaration fits the table. Not here:
SQL (postgres.py, mysql.py), or which rows are new (new_rows.py).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from meshhouse.errors import UsageError
from meshhouse.extraction.cursor import Cursor
from meshhouse.repository import RawTable
from meshhouse.repository.datatype import DataType
from meshhouse.repository.model import SourceTable
from meshhouse.repository.types import parse_type


@dataclass(frozen=True)
class TableColumn:
    """A column of the database's table."""

    type: str
    """As the database writes it, such as `numeric(12,2)`."""
    cursor_kind: str | None
    """The kind of cursor that it can be."""
    zone: bool | None
    """For a time: whether it is an instant. None for other types."""
    can_be_null: bool


@dataclass(frozen=True)
class Wanted:
    """What is read of a table."""

    columns: Mapping[str, DataType]
    """Column -> its declared type."""
    key: str | None
    cursor: Cursor | None


@dataclass(frozen=True)
class Row:
    """One row."""

    event: bytes
    """The declared columns, as a JSON object."""
    key: str | None
    cursor: str | None


@dataclass(frozen=True)
class Aside:
    """Rows that cannot be sent now."""

    unusable: int
    """Their cursor is null, infinite, or outside the years 1 to 9999."""
    future: int
    """Their cursor is later than now."""


class Table(Protocol):
    """An open table; all its answers come from one transaction."""

    def columns(self) -> Mapping[str, TableColumn]:
        """Name -> column; empty if there is no such table."""
        ...

    def now(self) -> datetime:
        """The time of the database, in UTC and without a zone."""
        ...

    def aside(self, cursor: Cursor, latest: int) -> Aside:
        """How many rows cannot be sent."""
        ...

    def rows(self, wanted: Wanted, since: int, latest: int) -> Generator[Row]:
        """Rows by cursor, from one number to another; all rows if there is no cursor.

        The caller closes it before the table.
        """
        ...


def wanted(raw: RawTable, source: SourceTable, key: str | None, table: Table) -> Wanted:
    """What a declaration reads of a table.

    Raises:
        UsageError: the table, or a column of it, is missing or cannot be what it is declared to be.
    """
    where = f"{raw.relation}: {source.name}"
    there = table.columns()
    if not there:
        raise UsageError(
            f"{where} does not exist in the database of {source.connection}, or its user cannot "
            "see it. Correct `table`, or grant usage of the schema and select on the table."
        )
    named = [column.name for column in raw.columns]
    for name in [*named, *filter(None, [source.cursor])]:
        if name not in there:
            raise UsageError(f"{where} has no column `{name}`. {_remedy(name, there)}")
    columns = {column.name: parse_type(column.data_type) for column in raw.columns}
    for name, kind in columns.items():
        _check_zone(f"{where}: column `{name}`", there[name], kind)
    cursor = None
    if source.cursor is not None:
        kind = there[source.cursor].cursor_kind
        if kind is None:
            raise UsageError(
                f"{where}: the cursor `{source.cursor}` is {there[source.cursor].type}. A cursor "
                "is a timestamp, a date or an integer: name another column."
            )
        cursor = Cursor.of(source.cursor, kind, source.lag)
    return Wanted(columns, key, cursor)


def _remedy(name: str, there: Mapping[str, TableColumn]) -> str:
    alike = [each for each in there if each.lower() == name.lower()]
    if alike:
        return f"It has `{alike[0]}`: a name is compared as it is written."
    shown = ", ".join(list(there)[:20]) + (", ..." if len(there) > 20 else "")
    return f"It has: {shown}."


def _check_zone(where: str, column: TableColumn, kind: DataType) -> None:
    is_instant = {"timestamp": False, "timestamptz": True}.get(kind.kind)
    if None not in (is_instant, column.zone) and is_instant != column.zone:
        right = "timestamptz" if column.zone else "timestamp"
        raise UsageError(
            f"{where} is {column.type} and declared as {kind}, so its time zone would be guessed. "
            f"Declare `{right}`."
        )
