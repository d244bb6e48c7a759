"""The table of heads in Snowflake: `meshhouse.heads`.

Belongs here: reading rows of domains and replacing them in an open transaction. Not here: what a
head is (meshhouse/ledger.py), or how it follows from entries (meshhouse/heads.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from meshhouse.engines.snowflake.database import SCHEMA, Database, Move
from meshhouse.engines.snowflake.session import quote
from meshhouse.engines.snowflake.statements import expression, plain, still
from meshhouse.heads import CHANGE_HEADS, Key
from meshhouse.ledger import DOCUMENTS, HEADS, Conflict, Head
from meshhouse.repository.types import DataType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_AT_ONCE = 50
"""Rows of one statement: each binds 23 values, and contracts are long."""

_MARK = Head(domain="", product="")
"""A row that belongs to no domain: its number is that of the newest commit that changed heads."""


class SnowflakeHeads:
    """The heads of one environment."""

    def __init__(self, database: Database) -> None:
        """Opens nothing; `database` holds the ledger."""
        self._database = database
        self._table = database.ledger_table("heads")

    def prepare(self) -> None:
        """Creates the table if it does not exist; Snowflake commits DDL by itself."""
        self._database.prepare()
        self._database.ensure_table(self._database.stored(f"{SCHEMA}.heads"), HEADS)

    def read(
        self, domains: Collection[str] | None = None, documents: bool = True
    ) -> dict[Key, Head] | None:
        """The heads of some domains, or of all; None if none are stored or they are outdated.

        They are outdated if a version without heads has published or run since they were stored.
        """
        if not self._database.exists(self._database.stored(f"{SCHEMA}.heads")):
            return None
        # Read before heads, so that a commit in between does not make new heads look outdated.
        newest = self._newest()
        columns = [each for each in HEADS if documents or each[0] not in DOCUMENTS]
        where, wanted = "", (_MARK.domain, *(domains or ()))
        if domains is not None:
            where = f" where domain in ({', '.join('?' for _ in wanted)})"
        rows = self._database.session.rows(
            f"select {', '.join(_read(*each) for each in columns)} from {self._table}{where}",
            *(wanted if domains is not None else ()),
        )
        heads = [
            Head(
                **{
                    name: _value(value, kind)
                    for (name, kind), value in zip(columns, row, strict=True)
                }
            )
            for row in rows
        ]
        found = {(head.domain, head.product): head for head in heads}
        mark = found.pop((_MARK.domain, _MARK.product), _MARK)
        return found if mark.number is not None and mark.number >= newest else None

    def _newest(self) -> int:
        """The number of the newest commit that changed heads; zero if there is none."""
        tables = [
            self._database.ledger_table(ledger)
            for ledger in CHANGE_HEADS
            if self._database.exists(self._database.stored(f"{SCHEMA}.{ledger}"))
        ]
        each = " union all ".join(f"select max(number) as number from {table}" for table in tables)
        rows = self._database.session.rows(each) if each else []
        return max((int(number) for (number,) in rows if number is not None), default=0)

    def replace(
        self,
        domains: Collection[str] | None,
        heads: Mapping[Key, Head],
        moves: Sequence[Move],
        number: int,
    ) -> None:
        """Replaces the rows of some domains, or all, in the transaction that made `moves`.

        Args:
            domains: whose rows are replaced; None for all.
            heads: all heads of these domains.
            moves: of the transaction.
            number: of the commit; see `read`.

        Raises:
            Conflict: Snowflake has ended the transaction.
        """
        alive, values = still(self._database, moves)
        conditions = [alive] if alive else []
        if domains is not None:
            domains = [_MARK.domain, *domains]
            conditions.append(f"domain in ({', '.join('?' for _ in domains)})")
        where = f" where {' and '.join(conditions)}" if conditions else ""
        session = self._database.session
        session.execute(f"delete from {self._table}{where}", *values, *(domains or ()))
        mark = dataclasses.replace(_MARK, number=number)
        rows = [dataclasses.asdict(head) for head in (mark, *heads.values())]
        names = ", ".join(quote(name) for name, _ in HEADS)
        expressions = ", ".join(expression(at, kind) for at, (_, kind) in enumerate(HEADS, start=1))
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            clause = ", ".join("(" + ", ".join("?" for _ in HEADS) + ")" for _ in some)
            done = session.execute(
                f"insert into {self._table} ({names}) select {expressions} from values {clause}"
                f"{f' where {alive}' if alive else ''}",
                *(plain(row[name]) for row in some for name, _ in HEADS),
                *values,
            )
            if done.rowcount != len(some):
                raise Conflict([move.relation for move in moves])


def _read(name: str, kind: DataType) -> str:
    # Times as numbers: fakesnow, which tests use, returns a missing time as 1970.
    return f"date_part(epoch_microsecond, {quote(name)})" if _is_time(kind) else quote(name)


def _value(value: Any, kind: DataType) -> Any:
    if value is None or not _is_time(kind):
        return value
    return _EPOCH + timedelta(microseconds=int(value))


def _is_time(kind: DataType) -> bool:
    return kind.kind == "timestamptz"
