"""dbt snapshots on targets that cannot keep their history.

Belongs here: what such a target says. Not here: keeping the history (duckdb/snapshots.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from meshhouse.errors import UsageError
from meshhouse.repository import Domain

SNAPSHOTS_NEED_LOCAL = (
    "dbt snapshots are kept on target `local` only: elsewhere their history would be in the "
    "build alone, which a failed run changes and another machine lacks."
)


def refuse_snapshots(domain: Domain, names: Sequence[str]) -> None:
    """For targets that cannot keep the history of dbt snapshots.

    Raises:
        UsageError: there is one.
    """
    if names:
        raise UsageError(
            f"{domain.name} takes the snapshot {', '.join(names)}. {SNAPSHOTS_NEED_LOCAL} Run it "
            "with MESH_TARGET=local, or read the history from a topic."
        )
