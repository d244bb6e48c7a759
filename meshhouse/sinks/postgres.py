"""A table of PostgreSQL as a sink.

Belongs here: the table, and the transaction of a delivery. Not here: connections (postgres.py of
the package), or the changed rows (changes.py).

A delivery and the number of its publication are stored in one transaction, so each publication is
stored exactly once. `meshhouse_deliveries`, in the schema of the table, holds the numbers.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from meshhouse import postgres
from meshhouse.errors import MeshError
from meshhouse.governance.types import type_of
from meshhouse.repository import Sink
from meshhouse.sinks.delivery import REMOVED, Change, Delivery, as_json
from meshhouse.sql import quote

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

DELIVERIES = "meshhouse_deliveries"
_LONGEST_NAME = 63
"""Bytes; PostgreSQL would cut a longer name without an error."""
_TYPES = {
    "tinyint": "smallint", "smallint": "smallint", "integer": "integer", "bigint": "bigint",
    "hugeint": "numeric", "float": "real", "double": "double precision", "string": "text",
    "char": "text", "boolean": "boolean", "date": "date", "time": "time", "timestamp": "timestamp",
    "timestamptz": "timestamptz", "binary": "bytea", "uuid": "uuid", "json": "jsonb",
}  # fmt: skip
_LOCK_SECONDS = 60


class PostgresSink:
    """Keeps a table equal to the newest publication of a product."""

    def __init__(self, sink: Sink) -> None:
        self._variable = sink.connection
        schema, _, table = sink.target.partition(".")
        self._name = sink.target
        self._schema = schema
        self._table = f"{quote(schema)}.{quote(table)}"
        self._deliveries = f"{quote(schema)}.{quote(DELIVERIES)}"

    def position(self, product: str, recorded: int | None) -> int | None:
        """See `SinkWriter`; the number in PostgreSQL counts, not the ledger's."""
        with self._connected() as connection, connection.cursor() as cursor:
            if not (self._exists(cursor, self._deliveries) and self._exists(cursor, self._table)):
                return None
            return self._stored(cursor, product)

    def stored_at(self, product: str) -> datetime | None:
        """See `SinkWriter`."""
        with self._connected() as connection, connection.cursor() as cursor:
            cursor.execute(
                f"select delivered_at from {self._deliveries} where table_name = %s and "
                "product = %s", (self._name, product),
            )  # fmt: skip
            found = cursor.fetchone()
            return found[0] if found else None

    def deliver(self, delivery: Delivery, rows: Iterator[Change]) -> None:
        """See `SinkWriter`."""
        for name in delivery.columns:
            if len(name.encode()) > _LONGEST_NAME:
                raise MeshError(
                    f"column `{name}` is longer than the {_LONGEST_NAME} bytes that a name may "
                    "have in PostgreSQL. Leave it out (`without`)."
                )
        types = {name: _type(name, kind) for name, kind in delivery.columns.items()}
        with self._connected() as connection, connection.cursor() as cursor:
            self._claim(cursor, delivery.product)
            stored = self._stored(cursor, delivery.product, "for update")
            if stored == delivery.number and not delivery.is_full:
                return
            if delivery.is_full:
                self._make(cursor, delivery, types, is_first=stored is None)
            elif stored != delivery.since:
                raise MeshError(
                    f"another process delivered publication {stored} to {self._name} meanwhile. "
                    "The next run delivers the rest."
                )
            self._store(cursor, delivery, types, rows)
            cursor.execute(
                f"update {self._deliveries} set publication = %s, delivered_at = now() "
                "where table_name = %s",
                (delivery.number, self._name),
            )

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """One transaction, committed at the end.

        Raises:
            MeshError: PostgreSQL refuses something; without credentials and rows.
        """
        with (
            postgres.connected(self._variable) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(f"set local lock_timeout = '{_LOCK_SECONDS}s'")
            cursor.execute("set local timezone = 'UTC'")
            yield connection

    def _exists(self, cursor: Cursor, relation: str) -> bool:
        cursor.execute("select to_regclass(%s) is not null", (relation,))
        return bool((cursor.fetchone() or (False,))[0])

    def _stored(self, cursor: Cursor, product: str, lock: str = "") -> int | None:
        cursor.execute(
            f"select product, publication from {self._deliveries} where table_name = %s {lock}",
            (self._name,),
        )
        found = cursor.fetchone()
        if found is None:
            return None
        if found[0] != product:
            raise MeshError(
                f"table {self._name} holds {found[0]}, not {product}. Name another table, or "
                f"remove it and its row in {self._schema}.{DELIVERIES}."
            )
        return found[1]

    def _claim(self, cursor: Cursor, product: str) -> None:
        """Makes sure that the table has a row in `meshhouse_deliveries`."""
        cursor.execute("select 1 from pg_namespace where nspname = %s", (self._schema,))
        if cursor.fetchone() is None:
            cursor.execute(f"create schema {quote(self._schema)}")
        if not self._exists(cursor, self._deliveries):
            cursor.execute(
                f"create table if not exists {self._deliveries} (table_name text primary key, "
                "product text not null, publication bigint, delivered_at timestamptz)"
            )
        cursor.execute(
            f"insert into {self._deliveries} (table_name, product) values (%s, %s) "
            "on conflict do nothing",
            (self._name, product),
        )

    def _make(
        self, cursor: Cursor, delivery: Delivery, types: Mapping[str, str], is_first: bool
    ) -> None:
        """An empty table with the columns of the publication."""
        if not self._exists(cursor, self._table):
            keys = ", ".join(map(quote, delivery.grain))
            columns = ", ".join(f"{quote(name)} {kind}" for name, kind in types.items())
            cursor.execute(f"create table {self._table} ({columns}, primary key ({keys}))")
            return
        if is_first:
            raise MeshError(
                f"table {self._name} exists, and no sink made it. Name another table, or drop it."
            )
        cursor.execute(f"delete from {self._table}")
        cursor.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute "
            "where attrelid = %s::regclass and attnum > 0 and not attisdropped",
            (self._table,),
        )
        present = dict(cursor.fetchall())
        wanted = {name: _shown(kind) for name, kind in types.items()}
        cursor.execute(
            "select conname from pg_constraint where conrelid = %s::regclass and contype = 'p'",
            (self._table,),
        )
        changes = []
        if present != wanted:
            changes += [f"drop constraint {quote(name)}" for (name,) in cursor.fetchall()]
            changes += [f"drop column {quote(name)}" for name in present
                        if wanted.get(name) != present[name]]  # fmt: skip
            changes += [f"add column {quote(name)} {kind}" for name, kind in types.items()
                        if wanted[name] != present.get(name)]  # fmt: skip
            changes.append(f"add primary key ({', '.join(map(quote, delivery.grain))})")
        for change in changes:
            cursor.execute(f"alter table {self._table} {change}")

    def _store(
        self, cursor: Cursor, delivery: Delivery, types: Mapping[str, str], rows: Iterator[Change]
    ) -> None:
        names = list(types)
        staged = ", ".join(f"c{at} {kind}" for at, kind in enumerate(types.values()))
        cursor.execute(f"create temp table mesh_staging (kind text, {staged}) on commit drop")
        cursor.copy_expert("copy mesh_staging from stdin with (format csv)", _Lines(names, rows))
        keys = [at for at, name in enumerate(names) if name in delivery.grain]
        if not delivery.is_full:
            same = " and ".join(f"t.{quote(names[at])} = s.c{at}" for at in keys)
            cursor.execute(
                f"delete from {self._table} as t using mesh_staging as s "
                f"where s.kind = '{REMOVED}' and {same}"
            )
        values = [name for at, name in enumerate(names) if at not in keys]
        updated = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in values)
        cursor.execute(
            f"insert into {self._table} ({', '.join(map(quote, names))}) "
            f"select {', '.join(f'c{at}' for at in range(len(names)))} from mesh_staging "
            f"where kind <> '{REMOVED}' on conflict ({', '.join(quote(names[at]) for at in keys)}) "
            + (f"do update set {updated}" if updated else "do nothing")
        )


class _Lines(io.TextIOBase):
    """Changes as the CSV that COPY reads, a part at a time."""

    def __init__(self, names: list[str], rows: Iterator[Change]) -> None:
        self._names = names
        self._rows = rows
        self._rest = ""

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int | None = -1, /) -> str:
        """At most `size` characters; empty at the end."""
        wanted = size if size is not None and size >= 0 else 1 << 62
        parts, length = [self._rest], len(self._rest)
        while length < wanted and (change := next(self._rows, None)) is not None:
            values = change.row or change.key
            parts.append(_line([change.kind, *(values.get(name) for name in self._names)]))
            length += len(parts[-1])
        text = "".join(parts)
        self._rest = text[wanted:]
        return text[:wanted]


def _line(values: list[Any]) -> str:
    # Every text is quoted, so an empty field means null and "" an empty text.
    return ",".join("" if each is None else _quoted(_text(each)) for each in values) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
        case Decimal():
            return format(value, "f")
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return "\\x" + value.hex()
        case dict() | list() | tuple():
            return as_json(value)
        case _:
            return str(value)


def _type(name: str, duckdb_type: str) -> str:
    kind = type_of(duckdb_type)
    if kind.kind == "decimal" and len(kind.numbers) == 2:
        return f"numeric({kind.numbers[0]},{kind.numbers[1]})"
    if kind.is_nested:
        return "jsonb"
    if kind.kind not in _TYPES:
        raise MeshError(
            f"column `{name}` is of type {duckdb_type}, which has no counterpart in PostgreSQL. "
            "Leave it out (`without`)."
        )
    return _TYPES[kind.kind]


def _shown(kind: str) -> str:
    """The type as PostgreSQL's `format_type` writes it."""
    return {
        "timestamp": "timestamp without time zone",
        "timestamptz": "timestamp with time zone",
        "time": "time without time zone",
    }.get(kind, kind)
