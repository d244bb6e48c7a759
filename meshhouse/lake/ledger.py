"""The ledger in the lake: Iceberg tables `meshhouse.*`.

Belongs here: appending entries in the commit that makes tables visible, and reading them. Not
here: the columns and meaning of the ledger (meshhouse/ledger.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from meshhouse.errors import MeshError
from meshhouse.heads import CHANGE_HEADS, Key, after_commit, differing, domains_of, from_history
from meshhouse.lake import ledger_files, ownership
from meshhouse.lake.catalog import Lake
from meshhouse.lake.damage import Damaged, damage_of, read_metadata
from meshhouse.lake.heads import RELATION, head_of, stage_heads
from meshhouse.lake.ledger_readers import prepare, reading
from meshhouse.lake.object_store import explained
from meshhouse.lake.storage import plain_path
from meshhouse.lake.views import check_readable, connect_memory, enable_store
from meshhouse.ledger import (
    DOCUMENTS,
    HEADS,
    LEDGERS,
    Conflict,
    Head,
    Staged,
    decoded,
    encoded,
    retry_conflicts,
)
from meshhouse.locks import advisory_lock
from meshhouse.sql import literal, quote

if TYPE_CHECKING:
    import duckdb

NUMBER = "meshhouse.number"
"""Property of a ledger table: the number of its newest entry."""


class LakeLedger:
    """Appends to and reads the ledger of one lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    @property
    def production(self) -> LakeLedger | None:
        """Production's ledger; None if this is production's."""
        return LakeLedger(self._lake.in_environment("")) if self._lake.environment else None

    @explained()
    def commit(
        self, changes: Sequence[Staged], entries: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        """See `Ledger.commit`."""
        domains = [row.get("domain") for rows in entries.values() for row in rows]
        ownership.check_recorded([each.alias_of or each.relation for each in changes], domains)

        def change() -> set[str]:
            # Read first: if another process commits meanwhile, the state of heads is outdated.
            heads = self._heads_for(entries)
            number = self._next_number()
            new = {**entries, "contracts": self._new_contracts(entries, heads)}
            shorter: set[str] = set()
            appended = [
                self._append(name, rows, number, shorter) for name, rows in new.items() if rows
            ]
            if heads is not None:
                appended.append(self._stage_heads(heads, entries, number))
                if shorter:
                    shorter.add(RELATION)
            self._lake.commit([*changes, *appended], keep=changes)
            return shorter

        prepare(self._lake)
        began = datetime.now(UTC)
        try:
            # One at a time: of two domains that end together, the slower would start again.
            with advisory_lock(self._lake.locks / "ledger.commit"), reading(self._lake):
                shorter = retry_conflicts(change, may_retry=_is_about_the_ledger)
        except Conflict:
            for each in changes:
                self._lake.discard(each)
            raise
        # The commit counts, whatever happens to old files; `mesh maintain` removes them later.
        with suppress(MeshError, OSError):
            for relation in shorter:
                ledger_files.remove_unused(self._lake, relation, began)

    @explained()
    def entries(
        self, ledger: str, domain: str | None = None, since: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Rows of a ledger table, oldest first, JSON columns decoded; empty if there is no table.

        Rows are ordered by the number of their commit. Rows of older versions have none. They are
        numbered here in the order of their commits, until `mesh maintain` stores the numbers.
        """
        with reading(self._lake):
            return self._entries(ledger, domain, since)

    def _entries(
        self, ledger: str, domain: str | None, since: datetime | None
    ) -> list[dict[str, Any]]:
        location = self._lake.state(f"meshhouse.{ledger}")
        if location is None:
            return []
        conditions = [f"domain = {literal(domain)}"] if domain else []
        if since is not None:
            conditions.append(f"finished_at >= timestamptz {literal(since.isoformat())}")
        rows = _rows(location, f"where {' and '.join(conditions)}" if conditions else "")
        if any(row.get("number") is None for row in rows):
            rows = [
                each
                for each in self._numbered(location)
                if domain in (None, each["domain"])
                and (since is None or each["finished_at"] >= since)
            ]
        return _in_order(rows)

    @explained()
    def entries_from(self, ledger: str, number: int) -> list[dict[str, Any]]:
        """See `Ledger.entries_from`."""
        return _in_order(self._select(ledger, f"where number >= {int(number)}"))

    @explained()
    def newest(self, ledger: str) -> list[dict[str, Any]]:
        """See `Ledger.newest`."""
        location = self._lake.state(f"{ownership.LEDGER}.{ledger}")
        if location is None:
            return []
        # A commit may write the number that the table's properties note, or a larger one.
        found = self.entries_from(ledger, _last_number(location))
        number = max((each["number"] for each in found), default=0)
        return [each for each in found if each["number"] == number]

    @explained()
    def renames(self) -> list[dict[str, Any]]:
        """See `Ledger.renames`; they all have numbers, because older versions wrote none."""
        with reading(self._lake):
            location = self._lake.state(f"{ownership.LEDGER}.publications")
            return [dict(each) for each in _renames_at(location)] if location else []

    @explained()
    def heads(self, domain: str | None = None, documents: bool = True) -> dict[str, Head]:
        """See `Ledger.heads`."""
        found = self._heads(domain, documents)
        return {head.relation: head for head in found.values() if head.product}

    @explained()
    def last_runs(self, domain: str | None = None) -> dict[str, Head]:
        """See `Ledger.last_runs`."""
        found = self._heads(domain, documents=False)
        return {head.domain: head for head in found.values() if not head.product}

    @explained()
    def contract(self, contract_hash: str) -> str | None:
        """See `Ledger.contract`."""
        rows = self._select("contracts", f"where hash = {literal(contract_hash)} limit 1")
        return rows[0]["contract"] if rows else None

    @explained()
    def statistics(self, publication_ids: Collection[str]) -> dict[str, str]:
        """See `Ledger.statistics`."""
        if not publication_ids:
            return {}
        listing = ", ".join(map(literal, publication_ids))
        rows = self._select("statistics", f"where publication_id in ({listing})")
        return {row["publication_id"]: row["statistics"] for row in rows}

    @explained()
    def audits(self, audit_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """See `Ledger.audits`."""
        if not audit_ids:
            return {}
        listing = ", ".join(map(literal, audit_ids))
        rows = self._select("audits", f"where audit_id in ({listing})")
        return {row["audit_id"]: decoded(row) for row in rows}

    @explained()
    def stale_heads(self) -> list[str]:
        """See `Ledger.stale_heads`."""
        return differing(self._heads(), from_history(self))

    @explained()
    def rebuild_heads(self) -> None:
        """See `Ledger.rebuild_heads`."""

        def change() -> None:
            base = self._lake.state(RELATION)
            number = self._next_number() - 1
            right = from_history(self)
            if right or base:
                staged = stage_heads(self._lake, base, right, None, {NUMBER: str(number)})
                self._lake.commit([staged])

        with reading(self._lake):
            retry_conflicts(change)

    def _heads(self, domain: str | None = None, documents: bool = True) -> dict[Key, Head]:
        """All stored heads of a domain, or of all domains; from history if they are outdated."""
        with reading(self._lake):
            location = self._up_to_date_heads()
            if location is not None:
                return _stored_heads(location, None if domain is None else [domain], documents)
        return from_history(self, domain)

    def _up_to_date_heads(self) -> str | None:
        """The state of the table of heads; None if it does not exist or is outdated.

        It is outdated if a version without heads has published or run since they were stored.
        """
        # Read before heads, so that a commit in between does not make new heads look outdated.
        others = [self._lake.state(f"{ownership.LEDGER}.{ledger}") for ledger in CHANGE_HEADS]
        location = self._lake.state(RELATION)
        newest = max((_last_number(each) for each in others if each), default=0)
        is_outdated = location is None or _last_number(location) < newest
        return None if is_outdated else location

    def _heads_for(self, entries: Mapping[str, Sequence[Mapping[str, Any]]]) -> _Heads | None:
        """The heads that a commit changes; None if it changes none."""
        domains = domains_of(entries)
        if not domains:
            return None
        base = self._up_to_date_heads()
        if base is None:
            return _Heads(self._lake.state(RELATION), None, from_history(self))
        return _Heads(base, domains, _stored_heads(base, domains))

    def _stage_heads(
        self, heads: _Heads, entries: Mapping[str, Sequence[Mapping[str, Any]]], number: int
    ) -> Staged:
        after = after_commit(heads.known, entries, number, self)
        return stage_heads(self._lake, heads.base, after, heads.domains, {NUMBER: str(number)})

    def _new_contracts(
        self, entries: Mapping[str, Sequence[Mapping[str, Any]]], heads: _Heads | None
    ) -> list[Mapping[str, Any]]:
        """The contracts of a commit that their products were never published with."""
        known = {(key, head.contract_hash) for key, head in (heads.known if heads else {}).items()}
        new = []
        for row in entries.get("contracts", ()):
            if ((row["domain"], row["product"]), row["hash"]) in known:
                continue
            same = " and ".join(
                f"{name} = {literal(row[name])}" for name in ("hash", "domain", "product")
            )
            if not self._select("contracts", f"where {same} limit 1"):
                new.append(row)
        return new

    def _select(self, ledger: str, where: str) -> list[dict[str, Any]]:
        """Rows of a ledger table as they are stored; empty if there is no table."""
        with reading(self._lake):
            location = self._lake.state(f"{ownership.LEDGER}.{ledger}")
            return _rows(location, where) if location else []

    def _numbered(self, location: str) -> list[dict[str, Any]]:
        """All rows of a ledger table; rows without a number are counted from one, oldest first."""
        from meshhouse.lake.rewrite import files_by_age

        table = self._lake.load("", location)
        assert table is not None
        files = {name: at for at, name in enumerate(files_by_age(table))}
        rows = _rows(location)
        old = [row for row in rows if row.get("number") is None]
        old.sort(key=lambda row: (files[row["filename"]], row["file_row_number"]))
        for number, row in enumerate(old, start=1):
            row["number"] = number
            row["file_row_number"] = number
        return rows

    def _next_number(self) -> int:
        """A number above those of all entries in all ledger tables."""
        locations = [self._lake.state(f"meshhouse.{ledger}") for ledger in LEDGERS]
        return 1 + max((_last_number(location) for location in locations if location), default=0)

    def _append(
        self, ledger: str, rows: Iterable[Mapping[str, Any]], number: int, shorter: set[str]
    ) -> Staged:
        """Stages new rows; notes in `shorter` a table from which files can be removed."""
        import pyarrow as pa

        from meshhouse.lake.schema import iceberg_schema

        relation = f"{ownership.LEDGER}.{ledger}"
        table = self._lake.stage(relation, iceberg_schema(LEDGERS[ledger]), writer=ownership.LEDGER)
        base = table.metadata_location or None
        if base:  # another run may have appended since `number` was chosen
            number = max(number, 1 + _last_number(base))
        rows_of = [{**encoded(row), "number": number} for row in rows]
        arrow = pa.Table.from_pylist(rows_of, schema=table.schema().as_arrow())
        if ledger_files.append_rows(table, arrow, {NUMBER: str(number)}, "number"):
            shorter.add(relation)
        return self._lake.staged(table, base)


@dataclass(frozen=True)
class _Heads:
    """Heads before a commit."""

    base: str | None
    """Metadata location of their table."""
    domains: Collection[str] | None
    """Whose heads are known; None for all, because the table must be made from history."""
    known: Mapping[Key, Head]


def _stored_heads(
    location: str, domains: Collection[str] | None, documents: bool = True
) -> dict[Key, Head]:
    """The heads in a state of their table, of some domains or of all."""
    names = [name for name, _ in HEADS if documents or name not in DOCUMENTS]
    listing = ", ".join(map(literal, domains or ()))
    where = "" if domains is None else f"where domain in ({listing})"
    rows = _rows(location, where, ", ".join(map(quote, names)))
    heads = [head_of(row) for row in rows]
    return {(head.domain, head.product): head for head in heads}


def _is_about_the_ledger(conflict: Conflict) -> bool:
    return all(name.startswith(f"{ownership.LEDGER}.") for name in conflict.relations)


def _rows(
    location: str, where: str = "", columns: str = "*, filename, file_row_number"
) -> list[dict[str, Any]]:
    """Rows of a table of the ledger at a metadata location.

    Args:
        location: the metadata location.
        where: SQL of a condition.
        columns: SQL of the columns; by default all, with the data file and the row's number in it.

    Raises:
        Damaged: a file of the ledger is missing or unreadable.
    """
    import duckdb

    cursor = _reader().cursor()
    enable_store(cursor, [location])
    check_readable(cursor, "the ledger", location)
    try:
        cursor.execute(
            f"select {columns} from iceberg_scan({literal(plain_path(location))}) {where}"
        )
    except duckdb.Error as error:
        for damage in damage_of("the ledger", location, deep=True):
            raise Damaged(damage) from error
        raise
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries in the order of their commits, decoded."""
    rows.sort(key=lambda row: (row["number"], row["file_row_number"]))
    for row in rows:
        del row["filename"], row["file_row_number"]
    return [decoded(row) for row in rows]


def _last_number(location: str) -> int:
    """The number of a ledger table's newest entry; without numbers, the count of its entries."""
    metadata = read_metadata(location)
    noted = metadata.get("properties", {}).get(NUMBER)
    if noted is not None:
        return int(noted)
    shown = metadata.get("current-snapshot-id")
    snapshots = (each for each in metadata["snapshots"] if each["snapshot-id"] == shown)
    return int(next(snapshots, {}).get("summary", {}).get("total-records", 0))


@lru_cache(maxsize=4)
def _renames_at(location: str) -> list[dict[str, Any]]:
    """Renames in a state of the publications, which never changes; each domain asks for them."""
    return _in_order(_rows(location, "where kind = 'rename'"))


@cache
def _reader() -> duckdb.DuckDBPyConnection:
    """One connection per process: loading the Iceberg extension takes most of a small read."""
    return connect_memory()
