"""Meshhouse: a dbt-centric data mesh lakehouse.

Belongs here: the Python API for consumers, `connect` and `refresh`. Not here: anything else;
each room below has its own door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshhouse.serve.connection import connect, refresh

__all__ = ["connect", "refresh"]


def __getattr__(name: str) -> Any:
    # Imported at first use, so that `mesh --help` does not wait for DuckDB.
    if name in __all__:
        from meshhouse.serve import connection as consumers

        return getattr(consumers, name)
    raise AttributeError(f"module 'meshhouse' has no attribute {name!r}")
