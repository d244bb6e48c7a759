"""Reading for the audit in Snowflake.

Belongs here: rewriting SQL that names products by their public names, so that it reads the audited
generations. Not here: the checks themselves (audit/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from meshhouse.engines.snowflake.session import Session, explained, quote


class SnowflakeReader:
    """Reads relations at given generations."""

    engine = "snowflake"
    type_names: ClassVar[Mapping[str, str]] = {
        "string": "text",
        "timestamptz": "timestamp_tz",
        "timestamp": "timestamp_ntz",
        "double": "float",
        "bigint": "number",
        "integer": "number",
    }

    def __init__(
        self, session: Session, shown: Mapping[str, str], empty: Mapping[str, str]
    ) -> None:
        """See `Engine.reader`.

        Args:
            session: the domain's session.
            shown: relation -> the stored relation that is read in its place.
            empty: relation that is read without rows -> the relation whose columns it has.
        """
        self._session = session
        self._shown = shown
        self._empty = empty

    def data_source(self, name: str) -> Any:
        """See `Reader`."""
        from soda_core.common.data_source_connection import DataSourceConnection
        from soda_snowflake.common.data_sources.snowflake_data_source import (
            SnowflakeDataSourceImpl,
        )
        from soda_snowflake.common.data_sources.snowflake_data_source_connection import (
            SnowflakeDataSource,
            SnowflakeDataSourceConnection,
        )

        class Connection(SnowflakeDataSourceConnection):
            """Soda's connection, which uses the existing session."""

            def __init__(self, connection: Any) -> None:
                DataSourceConnection.__init__(self, name, {}, connection)

            def close_connection(self) -> None:
                """Closes nothing: other code still uses the session."""

        model = SnowflakeDataSource.model_construct(name=name, type="snowflake")
        return SnowflakeDataSourceImpl(model, Connection(self._session.connection))

    def dataset(self, relation: str) -> str:
        """See `Reader`."""
        return "/".join((self._session.database, *self._shown[relation].upper().split(".")))

    def column(self, name: str) -> str:
        """See `Reader`."""
        return name.upper()

    def sql(self, text: str) -> str:
        """See `Reader`."""
        from sqlglot import exp, parse_one

        tree = parse_one(text, dialect="snowflake")
        for table in list(tree.find_all(exp.Table)):
            relation = f"{table.db}.{table.name}".lower()
            if relation in self._shown:
                found = self._session.relation(self._shown[relation])
                source: exp.Expression = exp.to_table(found, dialect="snowflake")
            elif relation in self._empty:
                like = self._session.relation(self._empty[relation])
                source = parse_one(f"(select * from {like} where false)", dialect="snowflake")
            else:
                continue
            name = table.alias or table.name
            table.replace(exp.alias_(source, name, table=True))
        for column in tree.find_all(exp.Column):
            if f"{column.text('db')}.{column.table}".lower() in {*self._shown, *self._empty}:
                column.set("db", None)
        return tree.sql(dialect="snowflake")

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """See `Reader`."""
        cursor = self._session.execute(self.sql(sql))
        names = [column.name.lower() for column in cursor.description]
        with explained():
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def quote(self, identifier: str) -> str:
        """See `Reader`."""
        return quote(identifier)

    def checksum(self, columns: Sequence[str]) -> tuple[str, str]:
        """See `Reader`."""
        return "hash", f"hash({', '.join(columns) or '0'})"
