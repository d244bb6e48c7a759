"""The ledger in Snowflake: native tables `meshhouse.*`.

Belongs here: appending entries in the transaction of a publication, and reading them. Not here: the
columns of ledgers (meshhouse/ledger.py), or how products become visible (shown.py, publish.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from meshhouse.engines.snowflake.database import SCHEMA, Database, Move
from meshhouse.engines.snowflake.heads import SnowflakeHeads
from meshhouse.engines.snowflake.session import quote
from meshhouse.engines.snowflake.statements import expression, plain, still
from meshhouse.heads import Key, after_commit, differing, domains_of, from_history
from meshhouse.ledger import LEDGERS, Conflict, Head, Staged, decoded, encoded
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
        self._heads = SnowflakeHeads(database)

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
                change.renamed_to,
            )
            for change in changes
        ]

        domains = domains_of(entries)
        if domains:
            self._heads.prepare()

        def append() -> None:
            # Heads are read in the transaction and before it changes the history that they need.
            known = self._heads.read(domains) if domains else {}
            first = known is None  # of an older version: made from history, of all domains
            known = from_history(self) if known is None else known
            number = self._number()
            after = after_commit(known, entries, number, self) if domains else {}
            for ledger, rows in filled.items():
                new = self._new_contracts(rows, known) if ledger == "contracts" else rows
                if new:
                    self._append_rows(ledger, new, moves)
            if domains:
                self._heads.replace(None if first else domains, after, moves, number)

        self._database.move(moves, also=append)
        if moves:
            # A table that has a name no more is hidden under it, and shown under its next name.
            renamed = [move.renamed_to for move in moves if move.renamed_to]
            self._show([*(move.relation for move in moves), *renamed])

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

    def entries(
        self, ledger: str, domain: str | None = None, since: datetime | None = None
    ) -> list[dict[str, Any]]:
        """See `Ledger.entries`."""
        wanted = [("domain = ?", domain)] if domain else []
        wanted += [("finished_at >= ?", since)] if since else []
        return self._entries(ledger, wanted)

    def entries_from(self, ledger: str, number: int) -> list[dict[str, Any]]:
        """See `Ledger.entries_from`."""
        return self._entries(ledger, [("number >= ?", number)])

    def newest(self, ledger: str) -> list[dict[str, Any]]:
        """See `Ledger.newest`."""
        found = self._entries(ledger, [])
        number = max((each["number"] for each in found), default=0)
        return [each for each in found if each["number"] == number]

    def renames(self) -> list[dict[str, Any]]:
        """See `Ledger.renames`."""
        return self._entries("publications", [("kind = ?", "rename")])

    def _entries(self, ledger: str, wanted: Sequence[tuple[str, object]]) -> list[dict[str, Any]]:
        """Rows that fulfil conditions, oldest first."""
        existing = self._database.columns(self._database.stored(f"{SCHEMA}.{ledger}"))
        names = [name for name, _ in LEDGERS[ledger] if name in existing]
        if not names:
            return []
        where = f"where {' and '.join(each for each, _ in wanted)} " if wanted else ""
        values = [value for _, value in wanted]
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

    def heads(self, domain: str | None = None, documents: bool = True) -> dict[str, Head]:
        """See `Ledger.heads`."""
        found = self._all_heads(domain, documents)
        return {head.relation: head for head in found.values() if head.product}

    def last_runs(self, domain: str | None = None) -> dict[str, Head]:
        """See `Ledger.last_runs`."""
        found = self._all_heads(domain, documents=False)
        return {head.domain: head for head in found.values() if not head.product}

    def contract(self, contract_hash: str) -> str | None:
        """See `Ledger.contract`."""
        rows = self._select("contracts", ["contract"], "hash = ? limit 1", contract_hash)
        return rows[0][0] if rows else None

    def statistics(self, publication_ids: Collection[str]) -> dict[str, str]:
        """See `Ledger.statistics`."""
        if not publication_ids:
            return {}
        where = f"publication_id in ({', '.join('?' for _ in publication_ids)})"
        columns = ["publication_id", "statistics"]
        return dict(self._select("statistics", columns, where, *publication_ids))

    def audits(self, audit_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """See `Ledger.audits`."""
        if not audit_ids:
            return {}
        where = f"audit_id in ({', '.join('?' for _ in audit_ids)})"
        columns = [name for name, _ in LEDGERS["audits"]]
        rows = self._select("audits", columns, where, *audit_ids)
        found = (decoded(dict(zip(columns, row, strict=True))) for row in rows)
        return {row["audit_id"]: row for row in found}

    def stale_heads(self) -> list[str]:
        """See `Ledger.stale_heads`."""
        return differing(self._heads.read() or {}, from_history(self))

    def rebuild_heads(self) -> None:
        """See `Ledger.rebuild_heads`."""
        self._heads.prepare()
        replace = self._heads.replace
        self._database.move([], also=lambda: replace(None, from_history(self), [], self._number()))

    def _all_heads(self, domain: str | None, documents: bool = True) -> dict[Key, Head]:
        found = self._heads.read(None if domain is None else [domain], documents)
        return from_history(self, domain) if found is None else found

    def _new_contracts(
        self, rows: Sequence[Mapping[str, Any]], known: Mapping[Key, Head]
    ) -> list[Mapping[str, Any]]:
        """The contracts that their products were never published with."""
        found = []
        for row in rows:
            product, where = (row["domain"], row["product"]), "domain = ? and product = ?"
            head = known.get(product)
            if head is not None and head.contract_hash == row["hash"]:
                continue
            where = f"{where} and hash = ? limit 1"
            if not self._select("contracts", ["hash"], where, *product, row["hash"]):
                found.append(row)
        return found

    def _select(
        self, ledger: str, columns: Sequence[str], where: str, *values: object
    ) -> list[tuple[Any, ...]]:
        """Rows of a table of the ledger; none if it does not exist."""
        if not self._database.exists(self._database.stored(f"{SCHEMA}.{ledger}")):
            return []
        return self._database.session.rows(
            f"select {', '.join(map(quote, columns))} "
            f"from {self._database.ledger_table(ledger)} where {where}",
            *values,
        )

    def _number(self) -> int:
        """The number of the commit whose transaction is open."""
        [(number,)] = self._database.session.rows(
            f"select state from {self._database.states_table} where relation = ''"
        )
        return int(number)

    def _append_rows(
        self, ledger: str, rows: Sequence[Mapping[str, Any]], moves: Sequence[Move]
    ) -> None:
        """Appends entries, if the transaction that made `moves` is still open."""
        columns = LEDGERS[ledger]
        kept = [encoded(row) for row in rows]
        clause = ", ".join("(" + ", ".join("?" for _ in columns) + ")" for _ in kept)
        expressions = ", ".join(
            self._expression(at, name, kind) for at, (name, kind) in enumerate(columns, start=1)
        )
        alive, values = still(self._database, moves)
        done = self._database.session.execute(
            f"insert into {self._database.ledger_table(ledger)} "
            f"({', '.join(quote(name) for name, _ in columns)}) "
            f"select {expressions} from values {clause}{f' where {alive}' if alive else ''}",
            *(plain(row.get(name)) for row in kept for name, _ in columns),
            *values,
        )
        if done.rowcount != len(kept):
            raise Conflict([move.relation for move in moves])

    def _expression(self, at: int, name: str, kind: DataType) -> str:
        if name == "number":  # every move updates this row first, so numbers are unique
            return f"(select state from {self._database.states_table} where relation = '')"
        return expression(at, kind)
