"""The relation that `sql` of a restricted connection returns.

Belongs here: fetching its rows, and what else DuckDB's relations can do. Not here: the query itself
(connection.py).

DuckDB's relations have methods that take SQL as text, such as `filter` and `project`. That text is
not checked, and nobody sees what it reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

OF_RELATION = frozenset(
    [
        "__arrow_c_stream__",
        "alias",
        "arrow",
        "close",
        "columns",
        "description",
        "df",
        "dtypes",
        "fetch_arrow_reader",
        "fetch_arrow_table",
        "fetch_df_chunk",
        "fetch_record_batch",
        "fetchall",
        "fetchdf",
        "fetchmany",
        "fetchnumpy",
        "fetchone",
        "pl",
        "shape",
        "show",
        "tf",
        "to_arrow_reader",
        "to_arrow_table",
        "to_df",
        "torch",
        "type",
        "types",
    ]
)
"""Attributes of DuckDB's relation that take no SQL and write nothing."""
_REFUSED = frozenset(["query"])
"""Runs any statement."""


class Relation:
    """A query's rows. It has all attributes of DuckDB's relation but `query`.

    Those that return another relation return DuckDB's own.
    """

    def __init__(self, relation: duckdb.DuckDBPyRelation, lose_sight: Callable[[], None]) -> None:
        """Takes what it shows.

        Args:
            relation: DuckDB's.
            lose_sight: called when something else than its rows is asked for.
        """
        self._relation = relation
        self._lose_sight = lose_sight

    def __getattr__(self, name: str) -> Any:
        if name in _REFUSED:
            raise AttributeError(
                f"A read-only relation has no `{name}`. Give the whole query to `sql` of the "
                "connection."
            )
        found = getattr(self._relation, name)
        if name not in OF_RELATION and not name.startswith("_"):
            self._lose_sight()
        return found

    def __getitem__(self, name: str) -> Any:
        return self._relation[name]

    def __contains__(self, name: str) -> bool:
        return name in self._relation

    def __len__(self) -> int:
        return len(self._relation)

    def __repr__(self) -> str:
        return repr(self._relation)

    def __str__(self) -> str:
        return str(self._relation)


def unwrapped(found: object) -> Any:
    """DuckDB's own relation, for SQL of the platform, which only writes the rows in a form."""
    return found._relation if isinstance(found, Relation) else found
