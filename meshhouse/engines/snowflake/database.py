"""The current state of each table in Snowflake: the counterpart of the lake's catalog.

Belongs here: the table `states`, and transactions that change several states at once. Not here: the
rows of raw tables (landing.py) and of generations (engine.py, shown.py).

Snowflake commits every DDL statement by itself, so no transaction can make several products visible
at once. Publication therefore has two steps. One transaction on `states` and the ledger decides
which states are current. Then each product's table is replaced; if that is interrupted, the next
run completes it (shown.py). Consumers never see a state that was not audited.
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
"""Attempts to move states, and the longest pause between two, in seconds.

Snowflake refuses a statement when too many others already wait for the same lock.
"""
_UNKNOWN = 0
"""Stored in `shown` when it is unknown which state readers see: no table has this state."""
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
    "struct": "object",
    "map": "object",
    "array": "array",
}


@dataclass(frozen=True)
class Move:
    """One table's next state."""

    relation: str
    base: int | None
    """The state before it; None for a table without a state."""
    state: int
    properties: Mapping[str, str]
    renamed_to: str | None = None
    """The table's next name, not shown yet; empty if the table loses its name."""


def column_type(data_type: DataType) -> str:
    """Snowflake's name for a declared type."""
    if data_type.kind == "decimal":
        return f"number({data_type.precision}, {data_type.scale})"
    return _TYPES[data_type.kind]


def next_state(base: int | None, at: datetime) -> int:
    """The number of a state made at a time: its microseconds, but always above `base`."""
    return max(base or 0, int(at.timestamp() * 1_000_000) - 1) + 1


def ended_name(relation: str, state: int | None = None) -> str:
    """How the row of a name is called that ends, until readers do not find the name any more.

    Args:
        relation: the name.
        state: its last state; None for the beginning of all such rows of this name.
    """
    domain, _, name = relation.partition(".")
    return f"{domain}_retired.{name}__ended_{'' if state is None else state}"


def hidden_name(relation: str) -> str | None:
    """The name under which readers found a table that is retired or ended; None if it is not."""
    schema, _, name = relation.partition(".")
    if not schema.endswith("_retired"):
        return None
    return f"{schema.removesuffix('_retired')}.{name.rpartition('__')[0]}"


class Database:
    """The tables of one environment in one database of Snowflake."""

    def __init__(
        self,
        session: Session,
        environment: str | None = None,
    ) -> None:
        """Opens nothing.

        Args:
            session: any session of this database.
            environment: the environment whose tables these are; empty for production. The default
                is `MESH_ENV`.
        """
        self.session = session
        self.environment = current_environment() if environment is None else environment
        self.states_table = self.ledger_table("states")
        """Quoted name of the table of states."""
        self._known: set[str] = set()
        self._seen: set[str] = set()
        self._is_prepared = False

    def in_environment(self, environment: str) -> Database:
        """The same database as another environment sees it; empty for production."""
        return Database(self.session, environment)

    def stored(self, relation: str) -> str:
        """The stored name of a table or schema of this environment."""
        return stored_schema(self.environment, relation)

    def ledger_table(self, name: str) -> str:
        """Quoted name of a table of the environment's ledger."""
        return self.session.relation(self.stored(f"{SCHEMA}.{name}"))

    def prepare(self) -> None:
        """Creates the schema and the table of states if they do not exist."""
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
        # Every move updates this row first, so moves wait for one another. Snowflake does not
        # enforce unique keys: two concurrent inserts of one relation would both succeed.
        self.session.execute(
            f"insert into {self.states_table} (relation, state) select '', 0 "
            f"where not exists (select 1 from {self.states_table} where relation = '')"
        )
        self._is_prepared = True

    def schemas(self) -> list[str]:
        """Names of all schemas, in lower case."""
        session = self.session
        found = session.rows(
            f"select schema_name from {session.name('information_schema', 'schemata')}"
        )
        return [name.lower() for (name,) in found]

    def ensure_schema(self, schema: str) -> None:
        """Creates a schema if it does not exist."""
        if schema not in self._known:
            self.session.execute(f"create schema if not exists {self.session.name(schema)}")
            self._known.add(schema)

    def ensure_table(self, relation: str, columns: Iterable[tuple[str, DataType]]) -> None:
        """Creates a table if it does not exist, and adds the columns that it lacks."""
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
        """Creates a stage in the ledger's schema if it does not exist; returns its quoted name."""
        stage = self.session.name(SCHEMA, name)
        if stage not in self._known:
            self.ensure_schema(SCHEMA)
            self.session.execute(f"create stage if not exists {stage}")
            self._known.add(stage)
        return stage

    def columns(self, relation: str) -> dict[str, tuple[str, int | None, int | None]]:
        """Column -> type, precision and scale; empty if the table does not exist."""
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

    def exists(self, relation: str) -> bool:
        """Whether a table exists; asked once, because queries of information_schema are slow."""
        if relation not in self._known | self._seen and self.columns(relation):
            self._seen.add(relation)
        return relation in self._known | self._seen

    def has_states(self) -> bool:
        """Whether the table of states exists: nothing was ever landed or published without it."""
        states = self.stored(f"{SCHEMA}.states")
        if states not in self._known and self.columns(states):
            self._known.add(states)  # queries of information_schema are slow
        return states in self._known

    def states(self) -> dict[str, str]:
        """`schema.table` -> state, of the environment's own tables, read in one statement."""
        return self._states("state")

    def visible(self) -> dict[str, str]:
        """Like `states`, plus production's tables that the environment does not have."""
        if not self.environment:
            return self.states()
        return {**self.in_environment("").states(), **self.states()}

    def shown(self) -> dict[str, str]:
        """Like `visible`, but with an older state where readers do not see the current one yet."""
        production = self.in_environment("").shown() if self.environment else {}
        return {**production, **self._states("coalesce(shown, state)")}

    def _states(self, which: str) -> dict[str, str]:
        if not self.has_states():
            return {}
        rows = self.session.rows(
            f"select relation, {which} from {self.states_table} where relation <> ''"
        )
        return {relation: str(state) for relation, state in rows}

    def properties(self, relation: str) -> tuple[int | None, dict[str, str]]:
        """State and properties of one table; state None if the table has none."""
        if not self.has_states():
            return None, {}
        rows = self.session.rows(
            f"select state, properties from {self.states_table} where relation = ?", relation
        )
        if not rows:
            return None, {}
        state, properties = rows[0]
        return int(state), json.loads(properties or "{}")

    def mark_hidden(self, relation: str) -> None:
        """Notes that readers do not find the table of a retired or ended name any more."""
        if not self.has_states():
            return
        self.session.execute(
            f"delete from {self.states_table} where startswith(relation, ?)", ended_name(relation)
        )
        domain, _, name = relation.partition(".")
        self.session.execute(
            f"update {self.states_table} set shown = state where startswith(relation, ?)",
            f"{domain}_retired.{name}__",
        )

    def move(self, moves: Sequence[Move], also: Callable[[], None] = lambda: None) -> None:
        """Gives tables their next states, and runs further statements, in one transaction.

        Args:
            moves: the new states.
            also: executes statements (DML only) that succeed or fail together with the moves.

        Raises:
            Conflict: a table no longer has the state that a move builds on; nothing was changed.
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
            self.session.execute(
                f"update {self.states_table} set state = state + 1 where relation = ''"
            )
            lost = [move.relation for move in moves if not self._move(move)]
            if lost:
                raise Conflict(lost)
            also()

    def _move(self, move: Move) -> bool:
        properties = json.dumps(dict(move.properties))
        if move.renamed_to == "" and hidden_name(move.relation) is not None:
            cursor = self.session.execute(
                f"delete from {self.states_table} where relation = ? and state = ?",
                move.relation,
                move.base,
            )
        elif move.renamed_to == "":
            cursor = self.session.execute(
                f"update {self.states_table} set relation = ?, shown = {_UNKNOWN} "
                "where relation = ? and state = ?",
                ended_name(move.relation, move.base),
                move.relation,
                move.base,
            )
        elif move.renamed_to is not None:
            cursor = self.session.execute(
                f"update {self.states_table} set relation = ?, shown = {_UNKNOWN} "
                "where relation = ? and state = ?",
                move.renamed_to,
                move.relation,
                move.base,
            )
        elif move.base is None:
            cursor = self.session.execute(
                f"insert into {self.states_table} (relation, state, properties) select ?, ?, ? "
                f"where not exists (select 1 from {self.states_table} where relation = ?)",
                move.relation,
                move.state,
                properties,
                move.relation,
            )
        else:
            cursor = self.session.execute(
                f"update {self.states_table} set state = ?, properties = ?, "
                f"shown = iff(shown = ?, {_UNKNOWN}, shown) where relation = ? and state = ?",
                move.state,
                properties,
                # A rollback to the last recorded state must run again: readers may already see a
                # newer state that was not recorded.
                move.state,
                move.relation,
                move.base,
            )
        return cursor.rowcount == 1
