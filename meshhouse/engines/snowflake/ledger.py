"""The ledger in Snowflake: native tables `meshhouse.*`.

Belongs here: appending entries in the transaction of a publication, and reading them. Not here: the
columns of ledgers (meshhouse/ledger.py), or how products become visible (engine.py, publish.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from meshhouse.engines.snowflake.database import SCHEMA, Database, Move
from meshhouse.engines.snowflake.session import quote
from meshhouse.ledger import LEDGERS, Conflict, Staged, decoded, encoded
from meshhouse.repository.types import DataType

Show = Callable[[Sequence[str]], None]
"""Is called with the relations whose states a commit has changed."""


class SnowflakeLedger:
    """Appends to and reads the ledgers of one database."""

    def __init__(
        self, database: Database, show: Callable[[Sequence[str]], None] = lambda relations: None
    ) -> None:
        """Opens nothing.

        Args:
            database: holds the ledger.
            show: makes the new states of a commit visible to readers.
        """
        self._database = database
        self._show = show

    @property
    def production(self) -> SnowflakeLedger | None:
        """See `Ledger.production`."""
        if not self._database.environment:
            return None
        return SnowflakeLedger(self._database.in_environment(""), self._show)

    def commit(
        self, changes: Sequence[Staged], entries: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        """See `Ledger.commit`; if a product does not become visible, the next run completes it."""
        filled = {ledger: rows for ledger, rows in entries.items() if rows}
        for ledger in filled:
            self.prepare(ledger)
        moves = [
            Move(
                change.relation,
                None if change.base is None else int(change.base),
                int(change.state),
                {},
            )
            for change in changes
        ]

        def append() -> None:
            for ledger, rows in filled.items():
                self._append_rows(ledger, rows, moves)

        self._database.move(moves, also=append)
        if moves:
            self._show([move.relation for move in moves])

    def prepare(self, ledger: str) -> None:
        """Creates a ledger if it does not exist.

        It must run before the transaction that appends: Snowflake commits DDL by itself.
        """
        self._database.prepare()
        self._database.ensure_table(self._database.stored(f"{SCHEMA}.{ledger}"), LEDGERS[ledger])

    def replace(self, ledger: str, entry: Mapping[str, Any], move: Move) -> None:
        """Replaces the earlier entry of the same run, in the transaction of a move.

        Without it a continuous landing would append about one entry per second.
        """
        self._database.session.execute(
            f"delete from {self._database.ledger_table(ledger)} where run_id = ? and exists "
            f"(select 1 from {self._database.states_table} where relation = ? and state = ?)",
            entry["run_id"],
            move.relation,
            move.state,
        )
        self._append_rows(ledger, [entry], [move])

    def entries(self, ledger: str, domain: str | None = None) -> list[dict[str, Any]]:
        """See `Ledger.entries`."""
        existing = self._database.columns(self._database.stored(f"{SCHEMA}.{ledger}"))
        names = [name for name, _ in LEDGERS[ledger] if name in existing]
        if not names:
            return []
        where, values = ("where domain = ? ", (domain,)) if domain else ("", ())
        rows = self._database.session.rows(
            f"select {', '.join(map(quote, names))} "
            f"from {self._database.ledger_table(ledger)} {where}"
            f"order by {'number nulls first, ' if 'number' in names else ''}"
            "finished_at, started_at",
            *values,
        )
        found = [decoded(dict(zip(names, row, strict=True))) for row in rows]
        # Entries without a number are older than numbering; they get numbers up to zero, because
        # native tables have no order.
        old = sum(each.get("number") is None for each in found)
        for at, each in enumerate(found[:old], start=1 - old):
            each["number"] = at
        return found

    def _append_rows(
        self, ledger: str, rows: Sequence[Mapping[str, Any]], moves: Sequence[Move]
    ) -> None:
        """Appends entries, if the transaction that made `moves` is still open.

        Snowflake rolls back the transaction of a session that was silent for long. A later
        statement would then be committed on its own.
        """
        columns = LEDGERS[ledger]
        kept = [encoded(row) for row in rows]
        clause = ", ".join("(" + ", ".join("?" for _ in columns) + ")" for _ in kept)
        expressions = ", ".join(
            self._expression(at, name, kind) for at, (name, kind) in enumerate(columns, start=1)
        )
        still = (
            f" where exists (select 1 from {self._database.states_table} "
            "where relation = ? and state = ?)"
        )
        done = self._database.session.execute(
            f"insert into {self._database.ledger_table(ledger)} "
            f"({', '.join(quote(name) for name, _ in columns)}) "
            f"select {expressions} from values {clause}{still if moves else ''}",
            *(_plain(row.get(name)) for row in kept for name, _ in columns),
            *((moves[0].relation, moves[0].state) if moves else ()),
        )
        if done.rowcount != len(kept):
            raise Conflict([move.relation for move in moves])

    def _expression(self, at: int, name: str, kind: DataType) -> str:
        if name == "number":  # every move updates this row first, so numbers are unique
            return f"(select state from {self._database.states_table} where relation = '')"
        # Sent as text: Snowflake's driver cannot bind timestamps with a time zone.
        return f"cast(column{at} as timestamp_tz)" if kind.kind == "timestamptz" else f"column{at}"


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
