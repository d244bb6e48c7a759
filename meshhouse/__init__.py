"""Meshhouse: a dbt-centric data mesh lakehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshhouse.serve.connection import connect, refresh

__all__ = ["connect", "refresh"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: `mesh --help` must not wait for DuckDB.
    if name in __all__:
        from meshhouse.serve import connection as consumers

        return getattr(consumers, name)
    raise AttributeError(f"module 'meshhouse' has no attribute {name!r}")
