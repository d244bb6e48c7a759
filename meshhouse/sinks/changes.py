"""The changed rows between two publications, by grain.

Belongs here: opening the rows of publications, and the query over them. Not here: comparing values
of two types (runs/row_diff.py), or which publications a sink needs (deliver.py).

Rows stream from DuckDB, which writes to disk what exceeds its memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from meshhouse.errors import MeshError
from meshhouse.lake import Lake, snapshot_id
from meshhouse.lake.time_travel import as_of
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.repository import Repository
from meshhouse.runs.row_diff import pairs
from meshhouse.sinks.delivery import ADDED, CHANGED, REMOVED, Change
from meshhouse.sql import literal, quote

if TYPE_CHECKING:
    import duckdb

_BATCH = 5_000


@dataclass
class Publications:
    """The rows of publications of one product, as far as they are kept."""

    relation: str
    location: str
    """The metadata location of what consumers see."""
    folder: Path
    connection: duckdb.DuckDBPyConnection

    def has(self, snapshot: int) -> bool:
        """Whether the rows of a publication are kept; in an object store, only the newest."""
        return snapshot_id(as_of(self.location, snapshot, self.folder, True)) == snapshot

    def columns(self, snapshot: int) -> dict[str, str]:
        """Name -> DuckDB's type of each column of a publication."""
        self._show("later", snapshot)
        described = self.connection.execute("describe from later.rows").fetchall()
        return {str(name): str(kind) for name, kind, *_ in described}

    def rows(self, snapshot: int, columns: Collection[str], grain: Collection[str]
             ) -> Iterator[Change]:  # fmt: skip
        """All rows of a publication, as added.

        Raises:
            MeshError: the grain does not identify a row.
        """
        self._show("later", snapshot)
        self._check(grain)
        picked = ", ".join(f"b.{quote(name)} as c{at}" for at, name in enumerate(columns))
        return self._changes(
            f"select '{ADDED}' as kind, {picked} from later.rows as b", columns, grain
        )

    def differences(self, before: int, after: int, columns: Collection[str],
                    grain: Collection[str]) -> Iterator[Change]:  # fmt: skip
        """The rows that differ between two publications with the same columns.

        Raises:
            MeshError: the grain does not identify a row.
        """
        self._show("earlier", before)
        self._show("later", after)
        self._check(grain)
        types = self.columns(after)
        keys = {each.lower() for each in grain}
        compared = list(pairs(types, types))
        on = " and ".join(
            f"a.k{each.number} is not distinct from b.k{each.number}"
            for each in compared if each.name.lower() in keys
        )  # fmt: skip
        wanted = {each.lower() for each in columns}
        differs = [
            f"a.k{each.number} is distinct from b.k{each.number}"
            for each in compared
            if each.name.lower() in wanted - keys
        ]
        values = ", ".join(
            f"{'coalesce(b.c{0}, a.c{0})' if name.lower() in keys else 'b.c{0}'}".format(at)
            + f" as c{at}"
            for at, name in enumerate(columns)
        )
        side = (
            ", ".join(
                [f"{quote(name)} as c{at}" for at, name in enumerate(columns)]
                + [f"{each.after} as k{each.number}" for each in compared]
            )
            + ", true as is_present"
        )
        return self._changes(
            f"with earlier_rows as (select {side} from earlier.rows), "
            f"later_rows as (select {side} from later.rows) "
            f"select case when a.is_present is null then '{ADDED}' "
            f"when b.is_present is null then '{REMOVED}' else '{CHANGED}' end as kind, {values} "
            f"from earlier_rows as a full outer join later_rows as b on {on} "
            "where a.is_present is null or b.is_present is null or "
            f"({' or '.join(differs) or 'false'})",
            columns,
            grain,
        )

    def _changes(
        self, sql: str, columns: Collection[str], grain: Collection[str]
    ) -> Iterator[Change]:
        names, keys = list(columns), {each.lower() for each in grain}
        reader = self.connection.execute(sql).fetch_record_batch(_BATCH)
        for batch in reader:
            for kind, *values in zip(*(each.to_pylist() for each in batch.columns), strict=True):
                row: dict[str, Any] = dict(zip(names, values, strict=True))
                key = {name: row[name] for name in names if name.lower() in keys}
                yield Change(kind, key, None if kind == REMOVED else row)

    def _check(self, grain: Collection[str]) -> None:
        keys = ", ".join(map(quote, grain))
        repeated = f"select {keys} from later.rows group by all having count(*) > 1 limit 1"
        if self.connection.execute(repeated).fetchall():
            raise MeshError(
                f"{', '.join(grain)} repeats in {self.relation}, so its rows have no key. Correct "
                "its grain."
            )

    def _show(self, name: str, snapshot: int) -> None:
        found = as_of(self.location, snapshot, self.folder, own_columns=True)
        create_views(self.connection, {f"{name}.rows": found})


@contextmanager
def publications(repository: Repository, lake: Lake, relation: str) -> Iterator[Publications]:
    """Opens the publications of a product.

    Raises:
        MeshError: the product is not in the lake.
    """
    states: Mapping[str, str] = lake.visible()
    if relation not in states:
        raise MeshError(f"{relation} is not in the lake, so it cannot be delivered.")
    with TemporaryDirectory() as folder, closing(connect_memory()) as connection:
        place = repository.workspace / "sinks"
        # Where DuckDB writes what exceeds its memory; it removes its files when it is closed.
        connection.execute(f"set temp_directory = {literal(str(place))}")
        yield Publications(relation, states[relation], Path(folder), connection)
