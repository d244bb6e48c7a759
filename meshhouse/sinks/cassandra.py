"""A table of Cassandra as a sink.

Belongs here: the table, its rows, and the order of deliveries. Not here: connections (cassandra.py
of the package), types (cassandra_types.py), or the changed rows (changes.py).

Cassandra has no transaction over many rows. Instead each delivery claims a stamp, higher than all
before, and writes with it as the timestamp of its cells. Cassandra keeps the newest cell, so a
repeated delivery changes nothing, and a late write of an older one is never seen.
`meshhouse_deliveries`, in the keyspace of the table, holds the stamps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from meshhouse import cassandra
from meshhouse.errors import MeshError
from meshhouse.repository import Sink
from meshhouse.sinks.cassandra_types import converter, type_in_cassandra
from meshhouse.sinks.delivery import ADDED, Change, Delivery
from meshhouse.sql import literal, quote

if TYPE_CHECKING:
    from cassandra.cluster import Session
    from cassandra.query import PreparedStatement

DELIVERIES = "meshhouse_deliveries"
NUMBER = "meshhouse_publication"
"""The column with the number of the publication that wrote the row."""
_BATCH, _AT_ONCE = 2_000, 64


@dataclass(frozen=True)
class _Stored:
    """What `meshhouse_deliveries` has of a table."""

    publication: int | None
    """The last one that was stored completely."""
    started: int | None
    """The one that is being stored, or was stored in part."""
    stamp: int | None


class CassandraSink:
    """Keeps a table equal to the newest publication of a product."""

    def __init__(self, sink: Sink) -> None:
        self._variable = sink.connection
        self._name = sink.target
        self._keyspace, _, self._plain = sink.target.partition(".")
        self._table = f"{quote(self._keyspace)}.{quote(self._plain)}"
        self._deliveries = f"{quote(self._keyspace)}.{quote(DELIVERIES)}"

    def position(self, product: str, recorded: int | None) -> int | None:
        """See `SinkWriter`; the number in Cassandra counts, not the ledger's."""
        with cassandra.connected(self._variable) as session:
            if not (self._columns(session, DELIVERIES) and self._columns(session, self._plain)):
                return None
            stored = self._stored(session, product)
            return stored.publication if stored else None

    def stored_at(self, product: str) -> datetime | None:
        """See `SinkWriter`: a stamp is a time, unless the clock went back."""
        with cassandra.connected(self._variable) as session:
            stored = self._stored(session, product)
            if stored is None or stored.stamp is None:
                return None
            return datetime.fromtimestamp(stored.stamp / 1_000_000, UTC)

    def deliver(self, delivery: Delivery, rows: Iterator[Change]) -> None:
        """See `SinkWriter`."""
        if NUMBER in delivery.columns:
            raise MeshError(
                f"`{NUMBER}` is a name that the sink uses. Leave the column out (`without`)."
            )
        types = {name: type_in_cassandra(name, kind) for name, kind in delivery.columns.items()}
        with cassandra.connected(self._variable) as session:
            stored = self._known(session, delivery.product)
            if not delivery.is_full:
                if stored.publication == delivery.number and stored.started is None:
                    return
                self._check(stored, delivery)
                self._check_kept(self._columns(session, self._plain), delivery.grain, types)
            stamp = self._claim(session, stored, delivery)
            is_new = delivery.is_full and self._make(session, delivery, types, stored, stamp)
            self._store(session, delivery, rows, stamp, is_new)
            if delivery.is_full and not is_new:
                self._sweep(session, delivery.grain, stamp)
            self._finish(session, delivery, stamp)

    def _check(self, stored: _Stored, delivery: Delivery) -> None:
        if stored.started not in (None, delivery.number):
            # Rows that both publications changed and that are equal again would stay as they are.
            raise MeshError(
                f"publication {stored.started} was delivered in part to {self._name}, and its "
                f"rows are gone. Run `mesh sinks --deliver --full {delivery.product}`."
            )
        if stored.publication != delivery.since:
            raise self._rival()

    def _rival(self) -> MeshError:
        return MeshError(
            f"another process delivers to {self._name}. The next run delivers the rest."
        )

    def _columns(self, session: Session, table: str) -> dict[str, tuple[str, str]]:
        """Name -> type and kind of each column; empty if there is no such table."""
        found = session.execute(
            "select column_name, type, kind from system_schema.columns "
            f"where keyspace_name = {literal(self._keyspace)} and table_name = {literal(table)}"
        )
        return {each.column_name: (each.type, each.kind) for each in found}

    def _stored(self, session: Session, product: str) -> _Stored | None:
        from cassandra import ConsistencyLevel

        query = session.prepare(
            f"select product, publication, started, stamp from {self._deliveries} "
            "where table_name = ?"
        )
        query.consistency_level = ConsistencyLevel.LOCAL_SERIAL  # sees every claim
        found = session.execute(query, [self._plain]).one()
        if found is None:
            return None
        if found.product != product:
            raise MeshError(
                f"table {self._name} holds {found.product}, not {product}. Name another table, or "
                f"drop it and delete its row in {self._keyspace}.{DELIVERIES}."
            )
        return _Stored(found.publication, found.started, found.stamp)

    def _known(self, session: Session, product: str) -> _Stored:
        """What is stored; makes sure that the table has a row in `meshhouse_deliveries`."""
        known = session.execute(
            "select keyspace_name from system_schema.keyspaces "
            f"where keyspace_name = {literal(self._keyspace)}"
        ).one()
        if known is None:
            raise MeshError(
                f"there is no keyspace {self._keyspace}. Create it, with the replication that "
                "its data needs."
            )
        if not self._columns(session, DELIVERIES):
            session.execute(
                f"create table if not exists {self._deliveries} (table_name text primary key, "
                "product text, publication bigint, started bigint, stamp bigint)"
            )
        stored = self._stored(session, product)
        if stored is None:
            insert = session.prepare(
                f"insert into {self._deliveries} (table_name, product) values (?, ?) if not exists"
            )
            session.execute(insert, [self._plain, product])
            stored = self._stored(session, product)
        return stored or _Stored(None, None, None)

    def _claim(self, session: Session, stored: _Stored, delivery: Delivery) -> int:
        """Begins a delivery; its stamp is higher than that of all before.

        The time, so that a delivery of all rows also replaces what was changed by hand.
        """
        if stored.stamp is None and self._columns(session, self._plain):
            raise MeshError(
                f"table {self._name} exists, and no sink made it. Name another table, or drop it."
            )
        stamp = max(time.time_ns() // 1_000, (stored.stamp or 0) + 1)
        # Until all rows are stored, the table is not the state of any publication.
        before = None if delivery.is_full else stored.publication
        self._compare_and_set(
            session, "publication = ?, started = ?, stamp = ?", [before, delivery.number, stamp],
            stored.stamp,
        )  # fmt: skip
        return stamp

    def _finish(self, session: Session, delivery: Delivery, stamp: int) -> None:
        done = "publication = ?, started = null"
        try:
            self._compare_and_set(session, done, [delivery.number], stamp)
        except MeshError:
            # Rows written here may have come after the sweep of the other one: all rows are next.
            now = self._stored(session, delivery.product)
            if now and now.stamp != stamp:
                self._compare_and_set(
                    session, "publication = null, stamp = ?", [(now.stamp or 0) + 1], now.stamp
                )
            raise

    def _compare_and_set(
        self, session: Session, changes: str, values: list[int | None], stamp: int | None
    ) -> None:
        update = session.prepare(
            f"update {self._deliveries} set {changes} where table_name = ? if stamp = ?"
        )
        if not session.execute(update, [*values, self._plain, stamp]).was_applied:
            raise self._rival()

    def _make(
        self, session: Session, delivery: Delivery, types: Mapping[str, str], stored: _Stored,
        stamp: int,
    ) -> bool:  # fmt: skip
        """A table with the columns of the publication; whether it is new."""
        present = self._columns(session, self._plain)
        if not present:
            columns = ", ".join(f"{quote(name)} {kind}" for name, kind in types.items())
            keys = ", ".join(map(quote, delivery.grain))
            session.execute(
                f"create table {self._table} ({columns}, {quote(NUMBER)} bigint, "
                f"primary key (({keys})))"
            )
            return True
        self._check_kept(present, delivery.grain, types)
        for name in present.keys() - types.keys() - {NUMBER}:
            # Without a stamp the time of the server counts, and its clock may be ahead.
            session.execute(
                f"alter table {self._table} drop {quote(name)} using timestamp {stamp - 1}"
            )
        for name in types.keys() - present.keys():
            session.execute(f"alter table {self._table} add {quote(name)} {types[name]}")
        return False

    def _check_kept(
        self, present: Mapping[str, tuple[str, str]], grain: Iterable[str], types: Mapping[str, str]
    ) -> None:
        keys_present = {name for name, (_, kind) in present.items() if kind != "regular"}
        changed = [name for name in types if name in present and present[name][0] != types[name]]
        if changed or keys_present != set(grain):
            what = f"the type of `{changed[0]}`" if changed else "the key of a table"
            raise MeshError(
                f"Cassandra cannot change {what}. Drop the table {self._name}; the next run makes "
                "it again, with all rows."
            )

    def _store(
        self, session: Session, delivery: Delivery, rows: Iterator[Change], stamp: int, is_new: bool
    ) -> None:
        from cassandra.query import UNSET_VALUE

        names = list(delivery.columns)
        marks = ", ".join("?" for _ in names)
        upsert = session.prepare(
            f"insert into {self._table} ({', '.join(map(quote, names))}, {quote(NUMBER)}) "
            f"values ({marks}, ?) using timestamp ?"
        )
        delete = self._delete(session, delivery.grain)

        convert = {name: converter(name, kind) for name, kind in delivery.columns.items()}

        def statements() -> Iterator[tuple[PreparedStatement, list[Any]]]:
            for change in rows:
                if change.row is None:
                    yield (
                        delete,
                        [stamp, *(convert[name](change.key[name]) for name in delivery.grain)],
                    )
                    continue
                # A null is a tombstone, which slows reads; a row that was not there needs none.
                absent = is_new or (change.kind == ADDED and not delivery.is_full)
                null = UNSET_VALUE if absent else None
                values = [
                    null if change.row[name] is None else convert[name](change.row[name])
                    for name in names
                ]
                yield upsert, [*values, delivery.number, stamp]

        _execute(session, statements())

    def _delete(self, session: Session, grain: Iterable[str]) -> PreparedStatement:
        same = " and ".join(f"{quote(name)} = ?" for name in grain)
        return session.prepare(f"delete from {self._table} using timestamp ? where {same}")

    def _sweep(self, session: Session, grain: tuple[str, ...], stamp: int) -> None:
        """Removes the rows that a delivery of all rows did not write."""
        kinds = self._columns(session, self._plain)
        # The driver reads a timestamp through a float, which is wrong after the year 2242.
        keys = ", ".join(
            f"tounixtimestamp({quote(name)})" if kinds[name][0] == "timestamp" else quote(name)
            for name in grain
        )
        query = session.prepare(f"select {keys}, writetime({quote(NUMBER)}) from {self._table}")
        delete = self._delete(session, grain)
        _execute(
            session,
            (
                (delete, [stamp, *found[:-1]])
                for found in session.execute(query)  # a page at a time
                if found[-1] != stamp
            ),
        )


def _execute(session: Session, statements: Iterator[tuple[PreparedStatement, list[Any]]]) -> None:
    from cassandra.concurrent import execute_concurrent

    while batch := list(islice(statements, _BATCH)):
        execute_concurrent(session, batch, concurrency=_AT_ONCE, raise_on_first_error=True)
