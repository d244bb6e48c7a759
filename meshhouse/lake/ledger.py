"""The ledger in the lake: Iceberg tables `meshhouse.*`.

Belongs here: appending entries in the commit that makes tables visible, and reading them. Not
here: the columns and meaning of the ledger (meshhouse/ledger.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from meshhouse.lake import ownership
from meshhouse.lake.catalog import Lake
from meshhouse.lake.damage import Damaged, damage_of, read_metadata
from meshhouse.lake.object_store import explained
from meshhouse.lake.storage import plain_path
from meshhouse.lake.views import check_readable, connect_memory, enable_store
from meshhouse.ledger import LEDGERS, Conflict, Staged, decoded, encoded, retry_conflicts
from meshhouse.sql import literal

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

        def change() -> None:
            number = self._next_number()
            appended = [self._append(name, rows, number) for name, rows in entries.items() if rows]
            self._lake.commit([*changes, *appended], keep=changes)

        try:
            retry_conflicts(change, may_retry=_is_about_the_ledger)
        except Conflict:
            for each in changes:
                self._lake.discard(each)
            raise

    @explained()
    def entries(self, ledger: str, domain: str | None = None) -> list[dict[str, Any]]:
        """Rows of a ledger table, oldest first, JSON columns decoded; empty if there is no table.

        Rows are ordered by the number of their commit. Rows of older versions have none. They are
        numbered here in the order of their commits, until `mesh maintain` stores the numbers.
        """
        location = self._lake.state(f"meshhouse.{ledger}")
        if location is None:
            return []
        rows = _rows(location, f"where domain = {literal(domain)}" if domain else "")
        if any(row.get("number") is None for row in rows):
            rows = [each for each in self._numbered(location) if domain in (None, each["domain"])]
        rows.sort(key=lambda row: (row["number"], row["file_row_number"]))
        for row in rows:
            del row["filename"], row["file_row_number"]
        return [decoded(row) for row in rows]

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

    def _append(self, ledger: str, rows: Iterable[Mapping[str, Any]], number: int) -> Staged:
        import pyarrow as pa

        from meshhouse.lake.schema import iceberg_schema

        columns = LEDGERS[ledger]
        schema = iceberg_schema(columns)
        table = self._lake.stage(f"{ownership.LEDGER}.{ledger}", schema, writer=ownership.LEDGER)
        base = table.metadata_location or None
        if base:  # another run may have appended since `number` was chosen
            number = max(number, 1 + _last_number(base))
        with table.transaction() as transaction:
            transaction.set_properties({NUMBER: str(number)})
            rows_of = [{**encoded(row), "number": number} for row in rows]
            transaction.append(pa.Table.from_pylist(rows_of, schema=table.schema().as_arrow()))
        return self._lake.staged(table, base)


def _is_about_the_ledger(conflict: Conflict) -> bool:
    return all(name.startswith(f"{ownership.LEDGER}.") for name in conflict.relations)


def _rows(location: str, where: str = "") -> list[dict[str, Any]]:
    """Rows of a ledger table at a metadata location, each with its data file and its row number.

    Raises:
        Damaged: a file of the ledger is missing or unreadable.
    """
    import duckdb

    cursor = _reader().cursor()
    enable_store(cursor, [location])
    check_readable(cursor, "the ledger", location)
    try:
        cursor.execute(
            "select *, filename, file_row_number "
            f"from iceberg_scan({literal(plain_path(location))}) {where}"
        )
    except duckdb.Error as error:
        for damage in damage_of("the ledger", location, deep=True):
            raise Damaged(damage) from error
        raise
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _last_number(location: str) -> int:
    """The number of a ledger table's newest entry; without numbers, the count of its entries."""
    metadata = read_metadata(location)
    noted = metadata.get("properties", {}).get(NUMBER)
    if noted is not None:
        return int(noted)
    shown = metadata.get("current-snapshot-id")
    snapshots = (each for each in metadata["snapshots"] if each["snapshot-id"] == shown)
    return int(next(snapshots, {}).get("summary", {}).get("total-records", 0))


@cache
def _reader() -> duckdb.DuckDBPyConnection:
    """One connection per process: loading the Iceberg extension takes most of a small read."""
    return connect_memory()
