"""A mesh whose events come from a table of a real database.

Belongs here: the database, the declaration, and reading the topic. Not here: what must hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from meshhouse.events import open_source
from tests.conftest import Mesh
from tests.support import mariadb_here, postgres_here

TOPICS = "domains/shop/models/topics.yml"
TABLE = "shop_raw.sales"
VARIABLE = "SHOP_DATABASE"


@dataclass
class Database:
    """A running server, and one schema in it."""

    kind: str
    url: str
    server: Any
    schema: str = ""

    @property
    def instant(self) -> str:
        """The type of a time with a zone."""
        return "timestamptz" if self.kind == "postgres" else "timestamp(6) null"

    @property
    def local(self) -> str:
        """The type of a time without a zone."""
        return "timestamp" if self.kind == "postgres" else "datetime(6)"

    def do(self, *statements: str) -> list[tuple]:
        """Executes statements in one transaction; `{}` is the schema."""
        return self.server.do(*(each.replace("{}", self.schema) for each in statements))


@dataclass
class _Postgres:
    server: postgres_here.Postgres

    def open(self) -> Any:
        import psycopg2

        found = psycopg2.connect(
            host="127.0.0.1", port=self.server.port, user="dagster",
            password=self.server.password, dbname="unicode",
        )  # fmt: skip
        found.set_client_encoding("UTF8")
        return found

    def do(self, *statements: str) -> list[tuple]:
        with closing(self.open()) as connection, connection, connection.cursor() as cursor:
            for each in statements:
                cursor.execute(each)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def running(kind: str) -> Iterator[Database]:
    """Starts a server of a kind."""
    if kind == "mysql":
        with mariadb_here.running() as maria:
            yield Database(kind, maria.url, maria)
        return
    with postgres_here.running() as found:
        found.do("create database unicode encoding 'UTF8' template template0")
        url = f"postgresql://dagster:{found.password}@127.0.0.1:{found.port}/unicode"
        yield Database(kind, url, _Postgres(found))


@dataclass
class Shop:
    """A mesh and its database."""

    mesh: Mesh
    database: Database
    topic: str = "shop.sales"
    environment: dict[str, str] = field(default_factory=dict)

    def declare(self, extract: str, table: str = "sales") -> None:
        """Declares the extraction of the topic; see `declared` for what is always there."""
        database = self.database
        self.mesh.edit(
            TOPICS, "topic: shop.sales, format: json",
            f"topic: {self.topic}, extract: {{database: {database.kind}, connection: {VARIABLE}, "
            f"table: {database.schema}.{table}, {extract}}}",
        )  # fmt: skip

    def run(self, *arguments: str, code: int = 0):
        """`mesh extract`."""
        environment = {VARIABLE: self.database.url, **self.environment}
        return self.mesh.run("extract", *arguments, code=code, environment=environment)

    def events(self) -> list[dict[str, Any]]:
        """The values in the topic, in order."""
        return [json.loads(each) for each in self.column("value")]

    def column(self, name: str) -> list[Any]:
        """`key`, `value` or `timestamp` of each event, in order."""
        source = open_source(self.mesh.root, self.mesh.home)
        held = source.describe(self.topic).partitions
        ranges = {n: (each.begin, each.end) for n, each in held.items() if each.end}
        batches = source.read(self.topic, ranges, 1 << 20) if ranges else []
        return [value for batch in batches for value in batch.events[name].to_pylist()]

    def numbers(self) -> list[int]:
        """The sales in the topic, in order."""
        return [each["sale_id"] for each in self.events()]
