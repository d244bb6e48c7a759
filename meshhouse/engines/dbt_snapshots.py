"""dbt snapshots on targets that cannot keep their history.

Belongs here: the refusal and its message. Not here: keeping the history (duckdb/snapshots.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from meshhouse.errors import UsageError
from meshhouse.repository import Domain

SNAPSHOTS_NEED_LOCAL = (
    "dbt snapshots are kept only on target `local`: elsewhere their history would exist only in "
    "the build, which a failed run changes and another machine lacks."
)


def refuse_snapshots(domain: Domain, names: Sequence[str]) -> None:
    """Refuses a domain with dbt snapshots, for targets that cannot keep their history.

    Raises:
        UsageError: the domain has a snapshot.
    """
    if names:
        raise UsageError(
            f"{domain.name} has the dbt snapshot {', '.join(names)}. {SNAPSHOTS_NEED_LOCAL} Run it "
            "with MESH_TARGET=local, or read the history from a topic."
        )
