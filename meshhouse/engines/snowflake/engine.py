"""Target `snowflake`: domains build native tables, publication clones them.

Belongs here: the engine protocol, implemented with Snowflake's statements. Not here: connections
(session.py), landing (landing.py), the ledger (ledger.py), or what readers see (shown.py).

A candidate is a zero-copy clone of the built table, called a generation, which never changes. The
audit reads it, publication clones it to `<domain>.<product>`, and rollback clones an older one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from meshhouse.engines.dbt_snapshots import refuse_snapshots
from meshhouse.engines.iceberg import readable
from meshhouse.engines.protocol import NOTHING, PREVIOUS_SUFFIX, Build, Candidate, Reader
from meshhouse.engines.snowflake.contracts import declared_words, require_values_within
from meshhouse.engines.snowflake.database import SCHEMA, Database, next_state
from meshhouse.engines.snowflake.ledger import SnowflakeLedger
from meshhouse.engines.snowflake.publish import generation, generation_of
from meshhouse.engines.snowflake.reader import SnowflakeReader
from meshhouse.engines.snowflake.session import connect
from meshhouse.engines.snowflake.shown import Shown
from meshhouse.engines.snowflake.store import SnowflakeStore
from meshhouse.engines.types import contract_types, require_contract_types
from meshhouse.errors import MeshError, UsageError
from meshhouse.ledger import Staged
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.environment import split_schema, stored_schema
from meshhouse.settings import value as value_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_NOT_CLONED = re.compile(r"\btransient\b|\bview\b", re.IGNORECASE)
"""Words in Snowflake's refusal to clone a transient table or a view into a permanent table."""


class SnowflakeEngine:
    """Builds, audits and publishes in one database of Snowflake."""

    name: ClassVar[str] = "snowflake"

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._database: Database | None = None
        self._store: SnowflakeStore | None = None
        self._shown: Shown | None = None

    lake: ClassVar[None] = None
    """Snowflake keeps its own tables."""
    compute: ClassVar[str] = "snowflake"
    table_format: ClassVar[str] = "snowflake"
    answers_queries: ClassVar[bool] = True
    builds_apart: ClassVar[bool] = False

    @property
    def database(self) -> Database:
        """The tables of the current environment."""
        if self._database is None:
            self._database = Database(connect())
        return self._database

    @property
    def store(self) -> SnowflakeStore:
        """Where raw tables are landed."""
        if self._store is None:  # it keeps what it knows of each domain's tables
            self._store = SnowflakeStore(self.database)
        return self._store

    @property
    def shown(self) -> Shown:
        """What readers see of the current environment."""
        if self._shown is None:  # it remembers that it made the tags
            self._shown = Shown(self._repository, self.database)
        return self._shown

    @property
    def ledger(self) -> SnowflakeLedger:
        """The ledger of the current environment."""
        return SnowflakeLedger(self.database, self._show)

    def ledger_of(self, environment: str) -> SnowflakeLedger:
        """The ledger of another environment."""
        return SnowflakeLedger(self.database.in_environment(environment), self._show)

    def prepare_dbt(self, domain: Domain) -> None:
        """Nothing to do."""

    def build_folder(self, domain: str) -> Path:
        """The folder for facts about a domain's builds."""
        return self._repository.workspace / "build" / domain / "snowflake"

    def states(self) -> dict[str, str]:
        """`schema.table` -> state, of the environment's own tables."""
        return self.database.states()

    def visible(self) -> dict[str, str]:
        """Like `states`, plus production's tables that the environment does not have."""
        return self.database.visible()

    def schemas_of(self, products: Sequence[Product]) -> list[str]:
        """The schema of each product for the current environment: its own, else production's."""
        own = self.states() if self.database.environment else {}
        return [
            self.database.stored(each.domain) if each.relation in own else each.domain
            for each in products
        ]

    def properties(self, relation: str, state: str) -> dict[str, str]:
        """The properties in which landing recorded its progress, of a raw table."""
        return self.database.properties(relation)[1]

    def state_id(self, state: str) -> int:
        """The number of a state."""
        return int(state)

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Returns the rows of a consumer's query, with column names in lower case.

        Raises:
            UsageError: the text is not a single query that only reads.
            MeshError: Snowflake refuses the query.
        """
        import pyarrow as pa
        import sqlglot
        from sqlglot import exp

        try:
            statements = sqlglot.parse(sql, dialect="snowflake")
        except sqlglot.errors.ParseError as error:
            raise UsageError(f"{' '.join(str(error).split())}.") from error
        if len(statements) != 1 or not isinstance(statements[0], exp.Query):
            raise UsageError("Published products are read-only: write one query that returns rows.")
        session = connect()
        session.tag(step="mesh sql", consumer=value_of("MESH_CONSUMER"))
        pieces = session.arrow(sql)
        first = next(pieces)
        names = [name.lower() for name in first.column_names]

        def batches() -> Iterator[pa.RecordBatch]:
            for piece in (first, *pieces):
                yield from piece.rename_columns(names).to_batches()

        return pa.RecordBatchReader.from_batches(first.rename_columns(names).schema, batches())

    def pin(
        self,
        domain: Domain,
        as_read: Mapping[str, int | None] = NOTHING,
        files: Path | None = None,
    ) -> dict[str, str]:
        """Pins what the domain may read.

        Models read the public tables, so a product is pinned at the state that readers see. A state
        that cannot be made visible yet is read by a later run.

        Raises:
            UsageError: a raw table of the domain has never been landed.
        """
        return readable(self._repository, domain, self.database.shown())

    def staging(self, domain: Domain) -> AbstractContextManager[None]:
        """See `Engine.staging`; the session is open already."""
        return nullcontext()

    def stage(self, product: Product) -> Candidate:
        """Clones dbt's table into a new generation; no row is copied.

        Raises:
            MeshError: dbt has not built a permanent table, its columns differ from the contract, or
                Snowflake refuses.
        """
        session = connect(product.domain)
        session.tag(product=product.relation)
        self.shown.make_tags(session)  # a role without the right to do so fails before any decision
        schema = self._repository.build_schema(product.domain)
        built = session.name(schema, product.build_name)
        base = self.database.properties(product.relation)[0]
        state = next_state(base, datetime.now(UTC))
        name = self.database.stored(generation(product, state))
        kept = session.relation(name)
        self.database.ensure_schema(name.partition(".")[0])
        try:
            session.execute(f"create table {kept} clone {built}")
        except MeshError as error:
            if not _NOT_CLONED.search(str(error)):
                raise
            raise MeshError(
                f"{product.relation} was not built as a permanent table. Give its model "
                f"`materialized: table` and `transient: false`, then run `mesh run "
                f"{product.domain}`. {error}"
            ) from error
        try:
            promised = contract_types(product)
            require_contract_types(product, declared_words(promised, self.database.columns(name)))
            require_values_within(product, promised, session, kept)
        except MeshError:
            self.shown.drop(product, state)
            raise
        ((rows,),) = session.rows(f"select count(*) from {kept}")
        return Candidate(
            product=product,
            staged=Staged(product.relation, None if base is None else str(base), str(state), state),
            rows=int(rows),
            bytes=self._bytes(name),
        )

    @contextmanager
    def reader(
        self, domain: Domain, states: Mapping[str, str], empty: Mapping[str, str]
    ) -> Iterator[Reader]:
        """Reads generations; checks name products by their public names."""
        raw = {each.relation for each in self._raw_tables()}
        behind = self.database.in_environment("")
        production = behind.states().items() | behind.shown().items()
        own = self.database.states().items() | self.database.shown().items()
        named = {name: each for one in self._repository.readings for each in one.products
                 for name in each.aliases}  # fmt: skip
        shown = {}
        for relation, state in states.items():
            product = relation.replace(f"{PREVIOUS_SUFFIX}.", ".")
            if product in named and (product, state) not in own | production:
                product = named[product].relation  # a candidate's alias has no generation yet
            if relation in raw:
                shown[relation] = relation
            elif (product, state) in production:
                shown[relation] = generation_of(product, state)
            else:
                shown[relation] = self.database.stored(generation_of(product, state))
        session = connect(domain.name)
        session.tag(step="audit")
        yield SnowflakeReader(session, shown, {name: shown[like] for name, like in empty.items()})

    def restore_snapshots(self, domain: Domain, names: Sequence[str]) -> None:
        """See `refuse_snapshots`."""
        refuse_snapshots(domain, names)

    def stage_snapshots(self, domain: Domain, names: Sequence[str]) -> list[Staged]:
        """Returns an empty list: this target refuses snapshots."""
        return []

    def withdraw(self, candidates: Sequence[Candidate]) -> None:
        """Drops the candidates' generations, except those that are current."""
        states = self.states()
        for candidate in candidates:
            if states.get(candidate.product.relation) != candidate.staged.state:
                self.shown.drop(candidate.product, int(candidate.staged.state))

    def restore(self, product: Product, snapshot_id: int) -> Staged:
        """Stages an earlier generation again.

        Raises:
            MeshError: the generation is no longer kept.
        """
        base = self.database.properties(product.relation)[0]
        if snapshot_id not in self.shown.generations(product.relation):
            raise MeshError(
                f"The previous publication of {product.relation} is no longer kept, so it cannot "
                "be published again. Run the domain again to publish a new one."
            )
        return Staged(
            product.relation, None if base is None else str(base), str(snapshot_id), snapshot_id
        )

    def attach_build(self, product: Product, connection: duckdb.DuckDBPyConnection) -> Build | str:
        """Says that DuckDB cannot read what Snowflake builds."""
        return "Builds of this target are in Snowflake, where `mesh diff` cannot compare rows."

    def alias(self, relation: str, shown: Staged, with_history: bool = False) -> Staged:
        """Clones the generation that the other name shows; see `Engine.alias`."""
        session = connect(shown.relation.partition(".")[0])
        session.tag(product=relation, step="publication")
        kept = self.shown.generations(shown.relation) if with_history else set()
        schema = f"{relation.partition('.')[0]}_generations"
        self.database.ensure_schema(self.database.stored(schema))
        for state in sorted({*kept, int(shown.state)}):
            own, other = generation_of(relation, state), generation_of(shown.relation, state)
            session.execute(
                f"create table if not exists {session.relation(self.database.stored(own))} "
                f"clone {session.relation(self.database.stored(other))}"
            )
        base = self.database.properties(relation)[0]
        return Staged(relation, None if base is None else str(base), shown.state, shown.snapshot_id)

    def environments(self) -> set[str]:
        """Names of the environments that have schemas."""
        return {split_schema(schema)[0] for schema in self.database.schemas()} - {""}

    def drop(self, environment: str) -> None:
        """Drops every schema of an environment, its ledger last; a second call changes nothing."""
        own = [each for each in self.database.schemas() if split_schema(each)[0] == environment]
        ledger = stored_schema(environment, SCHEMA)
        for schema in sorted(own, key=lambda each: each == ledger):
            self.database.session.execute(
                f"drop schema if exists {self.database.session.name(schema)} cascade"
            )

    def finish_publications(self, domain: Domain) -> None:
        """See `Shown.finish_publications`."""
        self.shown.finish_publications(domain)

    def _show(self, relations: Sequence[str]) -> None:
        self.shown.show(relations)

    def _bytes(self, relation: str) -> int:
        schema, _, name = relation.partition(".")
        session = self.database.session
        rows = session.rows(
            f"select bytes from {session.name('information_schema', 'tables')} "
            "where table_schema = ? and table_name = ?",
            schema.upper(),
            name.upper(),
        )
        return int(rows[0][0] or 0) if rows else 0

    def _raw_tables(self) -> list[Any]:
        return self._repository.raw_tables()
