"""Parts of the statements that write the ledger.

Belongs here: values and conditions that several tables of the ledger share. Not here: whole
statements (ledger.py, heads.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from meshhouse.engines.snowflake.database import Database, Move
from meshhouse.repository.types import DataType


def still(database: Database, moves: Sequence[Move]) -> tuple[str, tuple[object, ...]]:
    """A condition that is true while the transaction of `moves` is open, and its values.

    Snowflake rolls back the transaction of a session that was silent for long. A later statement
    would then be committed on its own.
    """
    if not moves:
        return "", ()
    condition = f"exists (select 1 from {database.states_table} where relation = ? and state = ?)"
    return condition, (moves[0].renamed_to or moves[0].relation, moves[0].state)


def expression(at: int, kind: DataType) -> str:
    """The value at a position of a row, as its column stores it."""
    # Sent as text: Snowflake's driver cannot bind timestamps with a time zone.
    return f"cast(column{at} as timestamp_tz)" if kind.kind == "timestamptz" else f"column{at}"


def plain(value: object) -> object:
    """A value that Snowflake's driver can bind."""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
