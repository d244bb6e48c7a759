"""Raw tables in Snowflake: rows, rejected events and offsets in one transaction.

Belongs here: uploading Parquet to a stage, COPY, and storing the offsets. Not here: decoding events
(landing/decode.py), or the fence against a second lander, which is the same for every store
(landing/target.py).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from meshhouse.engines.snowflake.database import Database, Move, column_type, next_state
from meshhouse.engines.snowflake.ledger import SnowflakeLedger
from meshhouse.engines.snowflake.nested import as_texts, empty_column, loaded_column
from meshhouse.engines.snowflake.session import literal, quote
from meshhouse.errors import MeshError, UsageError
from meshhouse.lake.schema import iceberg_type
from meshhouse.landing.columns import check_column
from meshhouse.landing.decode import REJECTED_COLUMNS, Decoder
from meshhouse.landing.pending import Pending, stamped
from meshhouse.landing.store import Notes, RawState, raw_state
from meshhouse.landing.unrecorded import Lander
from meshhouse.ledger import Conflict
from meshhouse.repository import RawTable, display_path
from meshhouse.repository.types import DataType, parse_type

if TYPE_CHECKING:
    import pyarrow as pa

TOTAL_ROWS = "meshhouse.total-rows"
TOTAL_REJECTED = "meshhouse.total-rejected"
NESTED = "meshhouse.nested-columns"
"""Column -> declared type, of the nested columns: Snowflake only knows that each is an object."""
_STAGE = "landing"
_ENTRY_SECONDS = 60.0
"""A continuous landing starts a new ledger entry after this time, not with every commit."""


@dataclass(frozen=True)
class _Loaded:
    """Rows uploaded to a temporary table."""

    relation: str
    waiting: str
    rows: int
    columns: tuple[str, ...]
    kinds: Mapping[str, DataType]
    """Declared types of its columns; a column without one is loaded as it is."""


class SnowflakeTableWriter:
    """Implements `meshhouse.landing.store.TableWriter` for a table in Snowflake."""

    def __init__(self, database: Database, raw: RawTable) -> None:
        self._database = database
        self._ledger = SnowflakeLedger(database)
        self._session = database.session
        self._raw = raw
        self._lander = Lander()
        self._properties: dict[str, str] = {}
        self._kinds = {column.name: parse_type(column.data_type) for column in raw.columns}
        self._narrow: dict[str, DataType] = {}
        """Decimal columns that the table stores with fewer digits than declared."""
        self._entry: dict[str, Any] = {}
        """The ledger entry for this landing's commits since `_entry_begun`."""
        self._entry_begun = 0.0

    def current(self) -> str | None:
        """See `TableWriter`."""
        state, _ = self._database.properties(self._raw.relation)
        return None if state is None else str(state)

    def read(self) -> RawState:
        """See `TableWriter`."""
        state, self._properties = self._database.properties(self._raw.relation)
        return RawState() if state is None else self._state_of(state)

    def lock(self) -> AbstractContextManager[None]:
        """Locks nothing: Snowflake itself makes transactions wait for one another."""
        return nullcontext()

    def check_columns(self) -> None:
        """See `TableWriter`."""
        raw = self._raw
        existing = self._database.columns(raw.relation)
        declared = self._kinds
        nested = json.loads(self._properties.get(NESTED, "{}"))
        place = f"{display_path(raw.path)}:{raw.line}"
        for name, found in existing.items():
            if name.startswith("_"):
                continue
            if name not in declared:
                raise UsageError(
                    f"{place}: column `{name}` of {raw.relation} is no longer declared, but the "
                    "table holds its values. Declare it again; a model need not use it."
                )
            if not _holds(found, declared[name]):
                raise UsageError(
                    f"{place}: column `{name}` of {raw.relation} holds {_described(found)}; its "
                    f"type cannot become {declared[name]}. Declare the old type (or, of a decimal, "
                    "more digits of the same scale) and cast in staging."
                )
            if name in nested:
                check_column(raw, name, iceberg_type(parse_type(nested[name])))
            if declared[name].kind == "decimal" and found[1] != declared[name].precision:
                self._narrow[name] = declared[name]

    def commit(
        self,
        pending: Pending,
        rows: pa.Table | None,
        rejected: pa.Table | None,
        on: RawState,
        notes: Notes,
    ) -> RawState:
        """See `TableWriter`."""
        raw, landed_at = self._raw, notes.landed_at
        counts = pending.counts
        rejected_before = int(self._properties.get(TOTAL_REJECTED, 0))
        properties = {
            **self._properties,
            **notes.properties,
            TOTAL_ROWS: str(on.total_rows + counts[0]),
            TOTAL_REJECTED: str(rejected_before + counts[1]),
            **self._nested(),
        }
        base = on.snapshot_id
        state = next_state(base, landed_at)
        self._session.tag(raw_table=raw.relation)
        self._prepare()
        folder = uuid.uuid4().hex
        with TemporaryDirectory(prefix="mesh-landing-") as local:
            waiting = [
                self._load(relation, kinds, stamped(table, landed_at), Path(local), folder)
                for relation, kinds, table in (
                    (raw.relation, self._kinds, rows),
                    (f"{raw.schema}.{raw.rejected}", dict(REJECTED_COLUMNS), rejected),
                )
                if table is not None and table.num_rows
            ]
        move = Move(raw.relation, base, state, properties)
        entry = self._next_entry(pending, state)

        def also() -> None:
            for each in waiting:
                self._insert(each, move)
            self._ledger.replace("landings", entry, move)

        self._database.move([move], also)
        self._entry = entry
        self._properties = properties
        return self._state_of(state)

    def _nested(self) -> dict[str, str]:
        """The property `NESTED`, if the table has nested columns."""
        kinds = {name: str(kind.as_held()) for name, kind in self._kinds.items() if kind.is_nested}
        return {NESTED: json.dumps(kinds)} if kinds else {}

    def _state_of(self, state: int) -> RawState:
        total = int(self._properties.get(TOTAL_ROWS, 0))
        return raw_state(str(state), self._properties, state, total)

    def _next_entry(self, pending: Pending, state: int) -> dict[str, Any]:
        """The ledger entry with one more commit; a new entry after `_ENTRY_SECONDS`."""
        entry = self._entry
        if not entry or time.monotonic() - self._entry_begun >= _ENTRY_SECONDS:
            self._lander.since = entry["finished_at"] if entry else self._lander.since
            self._entry_begun = time.monotonic()
            entry = {"run_id": str(uuid.uuid4()), "rows": 0, "rejected": 0, "offsets": {}}
        rows, rejected = pending.counts
        offsets = {**entry["offsets"], **{str(key): end for key, end in pending.offsets.items()}}
        return {
            **self._lander.entry(self._raw, (0, 0), {}, state),
            "run_id": entry["run_id"],
            "rows": entry["rows"] + rows,
            "rejected": entry["rejected"] + rejected,
            "offsets": offsets,
        }

    def _prepare(self) -> None:
        """Creates schema and tables before the transaction: Snowflake commits DDL by itself."""
        raw = self._raw
        self._ledger.prepare("landings")
        self._database.ensure_schema(raw.schema)
        self._database.ensure_table(raw.relation, Decoder(raw).columns)
        self._database.ensure_table(f"{raw.schema}.{raw.rejected}", REJECTED_COLUMNS)
        for name, kind in self._narrow.items():
            self._session.execute(
                f"alter table {self._session.relation(raw.relation)} alter column {quote(name)} "
                f"set data type {column_type(kind)}"
            )
        self._narrow = {}

    def _load(
        self,
        relation: str,
        kinds: Mapping[str, DataType],
        table: pa.Table,
        local: Path,
        folder: str,
    ) -> _Loaded:
        """Uploads a table and copies it into a temporary one, outside the transaction."""
        import pyarrow.parquet as parquet

        file = local / f"{uuid.uuid4().hex}.parquet"
        parquet.write_table(as_texts(table), file, compression="zstd", coerce_timestamps="us")
        place = f"@{self._database.ensure_stage(_STAGE)}/{folder}/{file.stem}"
        columns = ", ".join(empty_column(name, kinds.get(name)) for name in table.column_names)
        waiting = self._session.relation(f"{relation}__landing")
        try:
            self._session.execute(f"put {literal(f'file://{file}')} {place} auto_compress = false")
            self._session.execute(
                f"create or replace temporary table {waiting} as "
                f"select {columns} from {self._session.relation(relation)} where false"
            )
            self._session.execute(
                f"copy into {waiting} from {place} "
                "file_format = (type = parquet use_logical_type = true binary_as_text = false) "
                "match_by_column_name = case_insensitive on_error = abort_statement purge = true"
            )
        finally:
            with suppress(MeshError):  # an earlier error must not be hidden by this one
                self._session.execute(f"remove {place}")
        return _Loaded(relation, waiting, table.num_rows, tuple(table.column_names), kinds)

    def _insert(self, loaded: _Loaded, move: Move) -> None:
        """Moves loaded rows to their table, if the transaction is still open.

        Snowflake rolls back the transaction of a session that was silent for long. A later
        statement would then be committed on its own.
        """
        columns = ", ".join(quote(name) for name in loaded.columns)
        values = ", ".join(loaded_column(name, loaded.kinds.get(name)) for name in loaded.columns)
        done = self._session.execute(
            f"insert into {self._session.relation(loaded.relation)} ({columns}) "
            f"select {values} from {loaded.waiting} where exists "
            f"(select 1 from {self._database.states_table} where relation = ? and state = ?)",
            move.relation,
            move.state,
        )
        if done.rowcount != loaded.rows:
            raise Conflict([move.relation])


def _holds(found: tuple[str, int | None, int | None], declared: DataType) -> bool:
    """Whether a Snowflake column can store a declared type, as it is or after widening."""
    kind, precision, scale = found
    wanted = column_type(declared).partition("(")[0].strip()
    if kind.lower() in ("text", "varchar"):
        return wanted == "varchar"
    if kind.lower() == "variant":  # fakesnow's word for each type of JSON
        return declared.is_nested
    if kind.lower() != wanted.lower():
        return False
    if declared.kind == "decimal":
        return scale == declared.scale and (precision or 0) <= declared.precision
    return wanted != "number" or not scale


def _described(found: tuple[str, int | None, int | None]) -> str:
    kind, precision, scale = found
    return f"{kind.lower()}({precision},{scale})" if kind.lower() == "number" else kind.lower()
