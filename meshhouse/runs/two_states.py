"""Two states of a product side by side, on one DuckDB connection, for `mesh diff --data`.

Belongs here: finding the rows of a publication and of the newest build, and which values may be
shown. Not here: comparing them (row_diff.py), or how a target builds (engines/).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from meshhouse.engines import Engine
from meshhouse.errors import MeshError, UsageError
from meshhouse.governance.clear import clear_columns
from meshhouse.governance.contract import Contract
from meshhouse.lake import snapshot_id
from meshhouse.lake.object_store import is_remote
from meshhouse.lake.time_travel import as_of
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.ledger import Head
from meshhouse.repository import Product, Repository
from meshhouse.runs.diff import Publication
from meshhouse.runs.row_diff import RowDifference, compare_rows
from meshhouse.sql import literal, quote_relation

if TYPE_CHECKING:
    import duckdb

    from meshhouse.lake import Lake


@dataclass(frozen=True)
class RowsOfTwo:
    """How the rows of two states of a product differ."""

    relation: str
    before: str
    """What the earlier state is, for people."""
    after: str
    difference: RowDifference


def rows_of_publications(
    repository: Repository,
    engine: Engine,
    product: Product,
    before: Publication,
    after: Publication,
) -> RowsOfTwo:
    """Compares the rows of two publications.

    Raises:
        UsageError: the target keeps its tables outside the lake, or in an object store.
        MeshError: rows of a publication are no longer kept.
    """
    lake = _lake(engine)
    location = _shown(lake, product.relation)
    if is_remote(location):
        raise UsageError(
            "In an object store, rows of two publications cannot be compared. Leave out --data, "
            "or leave out --from to compare with the newest build."
        )
    with TemporaryDirectory() as folder, closing(_connection(repository)) as connection:
        views = {}
        for name, each in (("earlier", before), ("later", after)):
            found = as_of(location, each.snapshot_id, Path(folder), own_columns=True)
            if snapshot_id(found) != each.snapshot_id:
                raise MeshError(
                    f"The rows of publication {each.number} of {product.relation} are no longer "
                    "kept: maintenance has removed them. Compare later publications."
                )
            views[f"{name}.rows"] = found
        create_views(connection, views)
        grain = after.contract.grain if after.contract else product.grain
        clear = clear_columns(product, [before.contract, after.contract])
        difference = _compared(connection, *views, grain, clear)
    return RowsOfTwo(product.relation, _named(before), _named(after), difference)


def rows_of_build(
    repository: Repository, engine: Engine, product: Product, head: Head
) -> RowsOfTwo | str:
    """Compares the rows that consumers see with the newest build.

    A run that refused to publish has withdrawn its candidate, and the build stays.

    Args:
        repository: where the product is declared.
        engine: the target in use.
        product: which one.
        head: what consumers see of it.

    Returns:
        How they differ; or why there is no build to compare with.

    Raises:
        UsageError: the target keeps its tables outside the lake.
    """
    lake = _lake(engine)
    location = _shown(lake.in_environment(""), head.relation)
    with closing(_connection(repository)) as connection:
        build = engine.attach_build(product, connection)
        if isinstance(build, str):
            return build
        create_views(connection, {"earlier.rows": location})
        published = Contract.from_text(head.contract) if head.contract else None
        clear = clear_columns(product, [published])
        difference = _compared(connection, "earlier.rows", build.relation, product.grain, clear)
    return RowsOfTwo(
        product.relation,
        f"publication {head.number} ({_time(head.published_at)})",
        f"the newest build, in {build.place} (last written {_time(build.written_at)})",
        difference,
    )


def _lake(engine: Engine) -> Lake:
    if engine.lake is None:
        raise UsageError(
            f"Target `{engine.name}` keeps its tables outside the lake, so `mesh diff` cannot "
            "compare their rows. Leave out --data."
        )
    return engine.lake


def _shown(lake: Lake, relation: str) -> str:
    location = lake.visible().get(relation)
    if location is None:
        raise MeshError(f"{relation} is not in the lake, so its rows cannot be compared.")
    return location


def _connection(repository: Repository) -> duckdb.DuckDBPyConnection:
    connection = connect_memory()
    folder = repository.workspace / "diff"
    # Where DuckDB writes what exceeds its memory; it removes its files when it is closed.
    connection.execute(f"set temp_directory = {literal(str(folder))}")
    return connection


def _compared(
    connection: duckdb.DuckDBPyConnection,
    before: str,
    after: str,
    grain: Iterable[str],
    clear: frozenset[str],
) -> RowDifference:
    def rows(sql: str) -> list[dict[str, Any]]:
        cursor = connection.execute(sql)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    tables = [each if each.startswith('"') else quote_relation(each) for each in (before, after)]
    return compare_rows(rows, *tables, tuple(grain), clear)


def _named(publication: Publication) -> str:
    return f"publication {publication.number} ({_time(publication.entry['finished_at'])})"


def _time(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time else "at an unknown time"
