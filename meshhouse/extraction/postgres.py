"""A table of PostgreSQL.

Belongs here: the SQL that reads it. Not here: connecting (meshhouse/postgres.py), or which rows are
new (new_rows.py).

PostgreSQL itself writes the JSON of a row, so numbers keep all their digits. Infinity and NaN
become texts, which landing rejects in a column of numbers or times. DuckDB's `postgres` extension
(1.5.5) reads `numeric` as a double: of 1234567890123456789.123456789 it leaves 1.23e18.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from meshhouse import postgres
from meshhouse.errors import MeshError
from meshhouse.extraction.cursor import Cursor
from meshhouse.extraction.table import Aside, Row, TableColumn, Wanted
from meshhouse.repository.datatype import DataType
from meshhouse.repository.model import SourceTable
from meshhouse.sql import quote

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Statement  # noqa: N812

_BYTES, _FIRST_ROWS, _MOST_ROWS = 4 << 20, 50, 5_000
_SESSION = """
set transaction isolation level repeatable read read only;
set local timezone = 'UTC'; set local datestyle = 'ISO, YMD'; set local intervalstyle = 'postgres';
set local extra_float_digits = 1; set local bytea_output = 'hex'; set local lock_timeout = '60s';
"""
_CURSORS = {
    "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz",
    "date": "date", "smallint": "integer", "integer": "integer", "bigint": "integer",
}  # fmt: skip
_TEXTS = {"timestamp": "YYYY-MM-DD HH24:MI:SS.US", "date": "YYYY-MM-DD"}
_COLUMNS = """
select a.attname, format_type(coalesce(nullif(t.typbasetype, 0), t.oid),
       case when t.typtype = 'd' then t.typtypmod else a.atttypmod end), a.attnotnull
from pg_attribute a join pg_type t on t.oid = a.atttypid
where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""


@contextmanager
def opened(source: SourceTable) -> Iterator[PostgresTable]:
    """A table of PostgreSQL, in a transaction that cannot write.

    Raises:
        MeshError: PostgreSQL refuses something; without credentials and values.
    """
    with postgres.connected(source.connection) as connection, connection.cursor() as statement:
        statement.execute(_SESSION)
        yield PostgresTable(statement, source)


class PostgresTable:
    """See `Table`."""

    def __init__(self, statement: Statement, source: SourceTable) -> None:
        schema, _, name = source.name.partition(".")
        self._name = f"{quote(schema)}.{quote(name)}"
        self._statement = statement
        self._types: dict[str, str] = {}

    def columns(self) -> Mapping[str, TableColumn]:
        """See `Table`."""
        self._statement.execute(_COLUMNS, (self._name,))
        found = {}
        for name, kind, is_not_null in self._statement.fetchall():
            self._types[name] = plain = re.sub(r"\([\d,-]+\)", "", kind)
            usable = _CURSORS.get(plain)
            zone = {"timestamp": False, "timestamptz": True}.get(usable or "")
            found[name] = TableColumn(kind, usable, zone, not is_not_null)
        return found

    def now(self) -> datetime:
        """See `Table`."""
        self._statement.execute("select now() at time zone 'UTC'")
        [(found,)] = self._statement.fetchall()
        return found

    def aside(self, cursor: Cursor, latest: int) -> Aside:
        """See `Table`."""
        column, kind = _escaped(cursor.column), cursor.kind if cursor.kind != "integer" else "int8"
        self._statement.execute(
            f"select count(*) filter (where {column} > %(latest)s::{kind} "
            f"and {column} <= %(highest)s::{kind}), count(*) "
            f"from {self._name.replace('%', '%%')} where {column} is null "
            f"or {column} < %(lowest)s::{kind} or {column} > %(latest)s::{kind}",
            {
                "latest": cursor.text(latest),
                "lowest": cursor.text(cursor.lowest),
                "highest": cursor.text(cursor.highest),
            },
        )
        [(future, all_of_them)] = self._statement.fetchall()
        return Aside(all_of_them - future, future)

    def rows(self, wanted: Wanted, since: int, latest: int) -> Generator[Row]:
        """See `Table`."""
        values = ", ".join(
            f"{self._value(name, kind)} as {_escaped(name)}"
            for name, kind in wanted.columns.items()
        )
        key = f"source.{_escaped(wanted.key)}::text" if wanted.key else "null"
        place, condition, bounds = "null", "", ()
        if wanted.cursor is not None:
            cursor, kind = wanted.cursor, wanted.cursor.kind
            column = f"source.{_escaped(cursor.column)}"
            cast = "int8" if kind == "integer" else kind
            form = _TEXTS.get(kind, _TEXTS["timestamp"])
            place = f"{column}::text" if kind == "integer" else f"to_char({column}, '{form}')"
            condition = f"where {column} >= %s::{cast} and {column} <= %s::{cast} order by {column}"
            bounds = (cursor.text(since), cursor.text(latest))
        sql = (
            f'select row_to_json("mesh event")::text, {key}, {place} '
            f"from {self._name.replace('%', '%%')} as source "
            f'cross join lateral (select {values}) as "mesh event" {condition}'
        )
        connection = self._statement.connection
        with connection.cursor(name="mesh_rows") as read:  # on the server, so memory is bounded
            # Without parameters, psycopg2 leaves `%%` as it is.
            read.execute(*(sql, bounds) if bounds else (sql.replace("%%", "%"),))
            yield from self._fetched(read)

    def _fetched(self, read: Statement) -> Iterator[Row]:
        count = _FIRST_ROWS
        try:
            while found := read.fetchmany(count):
                size = 0
                for event, key, place in found:
                    text = event.encode()
                    size += len(text)
                    yield Row(text, key, place)
                count = max(1, min(_MOST_ROWS, _BYTES * len(found) // max(size, 1)))
        except UnicodeDecodeError:
            raise MeshError(
                "a text of the table is not UTF-8, which a database of encoding SQL_ASCII allows. "
                "Correct it in the database."
            ) from None

    def _value(self, name: str, kind: DataType) -> str:
        """SQL of a value; declared texts keep the whole text of JSON, quotes of a string too."""
        column, stored = f"source.{_escaped(name)}", self._types[name]
        if stored == "bytea":
            return f"encode({column}, 'hex')"
        is_document = stored in ("json", "jsonb") and kind.kind == "string"
        return f"{column}::text" if is_document else column


def _escaped(name: str) -> str:
    """A quoted name in a statement with parameters."""
    return quote(name).replace("%", "%%")
