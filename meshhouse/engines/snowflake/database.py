"""What stands in Snowflake for the lake's catalog: which state each table has.

Belongs here: the table of states, and moving several of them in one transaction with
whatever belongs to the move. Does not: what raw tables and generations hold.

Snowflake commits every DDL statement by itself, so no transaction can show several
products. What is to be shown is therefore decided by one transaction on `states`, with
the ledger in it, and carried out afterwards; whatever was stopped in between is carried
out by the next run (engines/snowflake.py). Nothing that was not audited is ever shown.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from meshhouse.engines.snowflake.session import Crowded, Session, quote
from meshhouse.ledger import Conflict
from meshhouse.repository.environment import current_environment, stored_schema
from meshhouse.repository.types import DataType

SCHEMA = "meshhouse"
"""Schema of the ledger, the states and the stage."""
_ATTEMPTS, _LONGEST_WAIT = 10, 4.0
"""To move states, and seconds in between, where more want to than Snowflake lets wait."""
_UNKNOWN = 0
"""Shown, where it is not known what readers see: no table has this state."""
_TYPES = {
    "bigint": "number(38, 0)",
    "integer": "number(38, 0)",
    "string": "varchar",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp_ntz(6)",
    "timestamptz": "timestamp_tz(6)",
    "double": "float",
    "binary": "binary",
}


@dataclass(frozen=True)
class Move:
    """One table's next state."""

    relation: str
    base: int | None
    """The state that it follows; None for a table that has none yet."""
    state: int
    properties: Mapping[str, str]


def column_type(data_type: DataType) -> str:
    """Snowflake's name for a declared type."""
    if data_type.kind == "decimal":
        return f"number({data_type.precision}, {data_type.scale})"
    return _TYPES[data_type.kind]


def next_state(base: int | None, at: datetime) -> int:
    """The number of a state made at a moment: microseconds, later than what it follows."""
    return max(base or 0, int(at.timestamp() * 1_000_000) - 1) + 1


class Database:
    """The tables of one environment in one database of Snowflake."""

    def __init__(
        self,
        session: Session,
        environment: str | None = None,
    ) -> None:
        """Opens nothing.

        Args:
            session: any of this database.
            environment: whose tables these are, empty for production; by default that of
                `MESH_ENV`.
        """
        self.session = session
        self.environment = current_environment() if environment is None else environment
        self.states = self.ledger_table("states")
        """The table of states, quoted."""
        self._known: set[str] = set()
        self._is_prepared = False

    def in_environment(self, environment: str) -> Database:
        """The same database as another environment sees it; empty for production."""
        return Database(self.session, environment)

    def stored(self, relation: str) -> str:
        """What a table, or a schema, of this environment is called where it is stored."""
        return stored_schema(self.environment, relation)

    def ledger_table(self, name: str) -> str:
        """A table of the environment's ledger, quoted."""
        return self.session.relation(self.stored(f"{SCHEMA}.{name}"))

    def prepare(self) -> None:
        """Makes the schema and the table of states, once; says nothing if they exist."""
        if self._is_prepared:
            return
        self.ensure_schema(self.stored(SCHEMA))
        self.ensure_table(
            self.stored(f"{SCHEMA}.states"),
            [
                ("relation", DataType("string")),
                ("state", DataType("bigint")),
                ("shown", DataType("bigint")),
                ("properties", DataType("string")),
            ],
        )
        # Every move updates this row first: moves wait for one another, as Snowflake does
        # not hold two inserts of one key apart.
        self.session.execute(
            f"insert into {self.states} (relation, state) select '', 0 "
            f"where not exists (select 1 from {self.states} where relation = '')"
        )
        self._is_prepared = True

    def ensure_schema(self, schema: str) -> None:
        """Makes a schema that may exist."""
        if schema not in self._known:
            self.session.execute(f"create schema if not exists {self.session.name(schema)}")
            self._known.add(schema)

    def ensure_table(self, relation: str, columns: Iterable[tuple[str, DataType]]) -> None:
        """Makes a table that may exist, and adds columns that it lacks."""
        if relation in self._known:
            return
        columns = list(columns)
        listing = ", ".join(f"{quote(name)} {column_type(kind)}" for name, kind in columns)
        table = self.session.relation(relation)
        self.session.execute(f"create table if not exists {table} ({listing})")
        existing = self.columns(relation)
        for name, kind in columns:
            if name not in existing:
                self.session.execute(
                    f"alter table {table} add column {quote(name)} {column_type(kind)}"
                )
        self._known.add(relation)

    def ensure_stage(self, name: str) -> str:
        """Makes a stage of the ledger's schema that may exist; returns its name, quoted."""
        stage = self.session.name(SCHEMA, name)
        if stage not in self._known:
            self.ensure_schema(SCHEMA)
            self.session.execute(f"create stage if not exists {stage}")
            self._known.add(stage)
        return stage

    def columns(self, relation: str) -> dict[str, tuple[str, int | None, int | None]]:
        """Name -> type, precision and scale of the columns of a table; empty if there is none."""
        schema, _, name = relation.partition(".")
        found = self.session.rows(
            "select column_name, data_type, numeric_precision, numeric_scale "
            f"from {self.session.name('information_schema', 'columns')} "
            "where table_schema = ? and table_name = ? order by ordinal_position",
            schema.upper(),
            name.upper(),
        )
        return {
            column.lower(): (kind, precision, scale) for column, kind, precision, scale in found
        }

    def has_states(self) -> bool:
        """Whether anything was ever kept in this database."""
        states = self.stored(f"{SCHEMA}.states")
        if states not in self._known and self.columns(states):
            self._known.add(states)  # asking Snowflake for its own schema takes long
        return states in self._known

    def pointers(self) -> dict[str, str]:
        """`schema.table` -> state, of what the environment has of its own, at one moment."""
        return self._states("state")

    def visible(self) -> dict[str, str]:
        """Like `pointers`, with production's where the environment has none of its own."""
        if not self.environment:
            return self.pointers()
        return {**self.in_environment("").pointers(), **self.pointers()}

    def shown(self) -> dict[str, str]:
        """Like `visible`, but the state that readers see where the decided one is not shown yet."""
        production = self.in_environment("").shown() if self.environment else {}
        return {**production, **self._states("coalesce(shown, state)")}

    def _states(self, which: str) -> dict[str, str]:
        if not self.has_states():
            return {}
        rows = self.session.rows(
            f"select relation, {which} from {self.states} where relation <> ''"
        )
        return {relation: str(state) for relation, state in rows}

    def properties(self, relation: str) -> tuple[int | None, dict[str, str]]:
        """State and properties of one table; no state if it has none yet."""
        if not self.has_states():
            return None, {}
        rows = self.session.rows(
            f"select state, properties from {self.states} where relation = ?", relation
        )
        if not rows:
            return None, {}
        state, properties = rows[0]
        return int(state), json.loads(properties or "{}")

    def move(self, moves: Sequence[Move], also: Callable[[], None] = lambda: None) -> None:
        """Gives tables their next states, and does what belongs to it, in one transaction.

        Args:
            moves: the new states.
            also: statements (DML only) that succeed or fail with the move.

        Raises:
            Conflict: a table no longer has the state that a move builds on; nothing happened.
        """
        self.prepare()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._move_once(moves, also)
            except Crowded:
                if attempt == _ATTEMPTS:
                    raise
                time.sleep(random.uniform(0, _LONGEST_WAIT))  # noqa: S311 - no secret
            else:
                return

    def _move_once(self, moves: Sequence[Move], also: Callable[[], None]) -> None:
        with self.session.transaction():
            self.session.execute(f"update {self.states} set state = state + 1 where relation = ''")
            lost = [move.relation for move in moves if not self._move(move)]
            if lost:
                raise Conflict(lost)
            also()

    def _move(self, move: Move) -> bool:
        properties = json.dumps(dict(move.properties))
        if move.base is None:
            cursor = self.session.execute(
                f"insert into {self.states} (relation, state, properties) select ?, ?, ? "
                f"where not exists (select 1 from {self.states} where relation = ?)",
                move.relation,
                move.state,
                properties,
                move.relation,
            )
        else:
            cursor = self.session.execute(
                f"update {self.states} set state = ?, properties = ?, "
                f"shown = iff(shown = ?, {_UNKNOWN}, shown) where relation = ? and state = ?",
                move.state,
                properties,
                # Going back to what was noted last: something newer may stand there, not noted.
                move.state,
                move.relation,
                move.base,
            )
        return cursor.rowcount == 1
