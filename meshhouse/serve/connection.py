"""Connections for people and tools that read the mesh: published products and the ledger only.

Belongs here: `meshhouse.connect()`, which `mesh sql` also uses. Not here: raw tables, builds or
candidates, which consumers never see; or which statements are allowed (statements.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshhouse.engines.builds import publishable
from meshhouse.errors import MeshError
from meshhouse.lake import Lake
from meshhouse.lake.ledger_readers import keep_reading
from meshhouse.lake.object_store import is_remote
from meshhouse.lake.views import ColumnsOf, connect_memory, create_views, enable_store
from meshhouse.ledger import HEADS, LEDGERS
from meshhouse.repository import Repository
from meshhouse.repository.environment import stored_schema
from meshhouse.repository.types import parse_type
from meshhouse.serve.reads import Columns, products_read
from meshhouse.serve.relation import Relation, unwrapped
from meshhouse.serve.sandbox import shut_in
from meshhouse.serve.statements import Checked, checked
from meshhouse.usage.record import Recorder, recorder_of

if TYPE_CHECKING:
    import duckdb

LEDGER = "meshhouse"
"""The schema of the ledger's tables."""
_OF_DUCKDB = frozenset(
    [
        "close",
        "description",
        "df",
        "fetch_arrow_table",
        "fetch_df",
        "fetch_df_chunk",
        "fetch_record_batch",
        "fetchall",
        "fetchdf",
        "fetchmany",
        "fetchnumpy",
        "fetchone",
        "interrupt",
        "pl",
        "query_progress",
        "rowcount",
        "to_arrow_reader",
        "to_arrow_table",
        "torch",
    ]
)
"""Attributes of DuckDB's connection that run no statement, so they need no check."""


class Connection:
    """A DuckDB connection whose SQL can only read published products and the ledger.

    `execute`, `sql`, `query` and `cursor` work as in DuckDB. Results are fetched with DuckDB's
    methods (`fetchall`, `df`, `pl`, `to_arrow_table`, ...).
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        relations: set[str],
        recorder: Recorder,
        local: set[str] | None = None,
        columns: dict[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._connection = connection
        self._relations = relations
        self._recorder = recorder
        self._local = set() if local is None else local
        self._columns: dict[str, Mapping[str, str]] = {} if columns is None else columns
        """Of the products; empty until the first query, which looks them up in 10 ms."""

    def execute(self, query: str, parameters: object = None) -> Connection:
        """Runs a query; rows are fetched from the connection.

        Raises:
            UsageError: the query does more than read published data.
        """
        found = self._checked(query)
        self._connection.execute(found.text, parameters)
        self._record(found)
        return self

    def sql(self, query: str, *, alias: str = "", params: object = None) -> Any:
        """A query as a DuckDB relation, which runs when its rows are fetched.

        Methods of the relation that take more SQL, such as `filter`, count as a read of something
        unknown.

        Raises:
            UsageError: the query does more than read published data.
        """
        found = self._checked(query)
        relation = self._connection.sql(found.text, alias=alias, params=params)
        self._record(found)
        if relation is None:  # DuckDB has already run it, because it only explains
            return None
        return Relation(relation, self._recorder.record_unknown)

    query = sql

    def run_whole(self, query: str) -> None:
        """Runs a query, all of it, and leaves its rows out."""
        self._connection.execute(f"explain analyze {self._checked(query).text}").fetchall()

    def cursor(self) -> Connection:
        """A second connection to the same snapshots, for another thread."""
        return Connection(
            self._connection.cursor(), self._relations, self._recorder, self._local, self._columns
        )

    def register(self, name: str, data: object) -> Connection:
        """Lets queries read a data frame or an Arrow table of this process under a name."""
        self._connection.register(name, unwrapped(data))
        self._local.add(name)
        return self

    def unregister(self, name: str) -> Connection:
        """Removes a name that `register` added."""
        self._connection.unregister(name)
        self._local.discard(name)
        return self

    def show(self, published: Mapping[str, str], columns: ColumnsOf) -> None:
        """Moves to other snapshots of the published tables, all in one transaction."""
        _show(self._connection, published, columns)
        self._relations.clear()
        self._relations.update(published)
        self._columns.clear()

    def _checked(self, query: str) -> Checked:
        return checked(self._connection, query, self._relations, self._local)

    def _record(self, query: Checked) -> None:
        """Records which products a query reads. Whatever goes wrong, the query counts."""
        if query.tree is None or self._recorder.folder is None:
            return
        try:
            if not self._columns:
                self._columns.update(_columns(self._connection, self._relations))
            products = products_read(query.tree, self._columns)
        except Exception:  # noqa: BLE001 - no query fails because nobody knows what it reads
            self._recorder.record_unknown()
            return
        self._recorder.record(products)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        if name in _OF_DUCKDB:
            return getattr(self._connection, name)
        raise AttributeError(
            f"A read-only connection has no `{name}`; `connect(unrestricted=True)` returns "
            "DuckDB's own connection."
        )


def connect(
    path: str | Path | None = None, *, unrestricted: bool = False, consumer: str | None = None
) -> Any:
    """A connection that reads the published products, as `<domain>.<product>`, and the ledger.

    All tables are read as of the time of this call, so joins never mix two publications. Call
    `refresh` with the connection to see later publications.

    Args:
        path: a folder inside the repository; by default the working directory.
        unrestricted: return DuckDB's own connection, whose SQL may also read and write files,
            change settings and load extensions.
        consumer: who reads, for the owners of products; by default the setting `MESH_CONSUMER`.

    Returns:
        A `Connection`, or a `duckdb.DuckDBPyConnection` if unrestricted.

    Raises:
        UsageError: there is no Meshhouse repository.
    """
    repository = Repository.find(Path(path) if path else None)
    return opened(repository, unrestricted, recorder_of(repository, "python", consumer))


def opened(repository: Repository, unrestricted: bool, recorder: Recorder, *settings: str) -> Any:
    """The connection of `connect`, with DuckDB settings that must be set at the start."""
    keep_reading(Lake(repository.home))  # before the states are read
    relations = published(repository)
    connection = connect_memory()
    for setting in settings:
        connection.execute(f"set {setting}")
    if unrestricted:
        create_views(connection, relations, columns_of(repository))
        recorder.record_unknown()  # its queries do not pass through here
        return connection
    enable_store(connection, relations.values())
    shut_in(connection, _folders(repository, relations.values()))
    create_views(connection, relations, columns_of(repository))
    return Connection(connection, set(relations), recorder)


def fail_again(connection: Connection | duckdb.DuckDBPyConnection, query: str) -> None:
    """Runs a query that failed once more without streaming rows, so that its own error is raised.

    Raises:
        UsageError: the query does more than read published data.
        duckdb.Error: the query fails.
    """
    if isinstance(connection, Connection):
        connection.run_whole(query)
    else:
        connection.execute(f"explain analyze {query}").fetchall()


def refresh(
    connection: Connection | duckdb.DuckDBPyConnection, path: str | Path | None = None
) -> None:
    """Moves a connection of `connect` to the current publications, all in one transaction."""
    repository = Repository.find(Path(path) if path else None)
    keep_reading(Lake(repository.home))  # before the states are read
    relations, columns = published(repository), columns_of(repository)
    if isinstance(connection, Connection):
        connection.show(relations, columns)
    else:
        _show(connection, relations, columns)


def columns_of(repository: Repository) -> ColumnsOf:
    """A function from relation to declared columns, for the views of damaged tables."""

    def found(relation: str) -> list[tuple[str, object]]:
        schema, _, name = relation.partition(".")
        if schema == LEDGER:
            return list(HEADS if name == "heads" else LEDGERS.get(name, ()))
        try:
            products = [each for domain in repository.domains for each in domain.products]
        except MeshError:  # a declaration that cannot be read must not stop readers
            return []
        return [
            (column.name, parse_type(column.data_type))
            for product in products
            if relation in product.relations
            for column in product.columns
        ]

    return found


def published(repository: Repository) -> dict[str, str]:
    """`schema.table` -> metadata location, of products and the ledger, read at once."""
    schemas = {*repository.domain_names, LEDGER}
    return {
        relation: location
        for relation, location in Lake(repository.home).visible().items()
        if relation.partition(".")[0] in schemas
    }


def _columns(connection: duckdb.DuckDBPyConnection, relations: Collection[str]) -> Columns:
    """Product, in lower case -> its columns, as the connection's views have them."""
    found: dict[str, dict[str, str]] = {}
    products = {each.lower(): each for each in relations if not each.startswith(f"{LEDGER}.")}
    rows = connection.cursor().execute(
        "select lower(schema_name || '.' || table_name), column_name from duckdb_columns() "
        "where not internal"
    )
    for relation, column in rows.fetchall():
        if relation in products:
            found.setdefault(relation, {})[column.lower()] = column
    return found


def _show(
    connection: duckdb.DuckDBPyConnection, relations: Mapping[str, str], columns: ColumnsOf
) -> None:
    connection.execute("begin")
    create_views(connection, relations, columns)
    connection.execute("commit")


def _folders(repository: Repository, locations: Iterable[str]) -> Collection[str]:
    """The folders that may hold files of published tables, now or after later publications."""
    lake = Lake(repository.home)
    schemas = [*repository.domain_names, LEDGER]
    tables = {location.partition("/metadata/")[0] for location in locations}
    # A table is in <folder>/<schema>/<table>.
    stores = {table.rsplit("/", 2)[0] for table in tables if is_remote(table)}
    return {
        *tables,
        *(
            f"{lake.location}/{stored_schema(environment, schema)}"
            for environment in {"", lake.environment}
            for schema in schemas
        ),
        *publishable(repository.home, repository.domain_names, stores),
        *publishable(repository.workspace, repository.domain_names, stores),
    }
