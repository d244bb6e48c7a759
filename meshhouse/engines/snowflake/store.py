"""The raw store of landing, in Snowflake.

Belongs here: one environment of a Snowflake database behind the protocol `RawStore`. Not here: the
commits of one table (landing.py), or the table of states (database.py).
"""

from __future__ import annotations

from meshhouse.engines.snowflake.database import Database
from meshhouse.engines.snowflake.landing import TOTAL_REJECTED, TOTAL_ROWS, SnowflakeTableWriter
from meshhouse.engines.snowflake.session import connect
from meshhouse.errors import UsageError
from meshhouse.repository import RawTable


class SnowflakeStore:
    """Implements `meshhouse.landing.store.RawStore` for Snowflake."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.environment = database.environment
        self._of_domains: dict[str, Database] = {}

    def in_environment(self, environment: str) -> SnowflakeStore:
        """See `RawStore`."""
        return SnowflakeStore(self._database.in_environment(environment))

    def states(self) -> dict[str, str]:
        """See `RawStore`."""
        return self._database.states()

    def holds(self, raw: RawTable) -> bool:
        """See `RawStore`; landing compares the columns."""
        return raw.relation in self._database.states()

    def rejected_share(self, raw: RawTable) -> tuple[int, int]:
        """See `RawStore`."""
        _, properties = self._database.properties(raw.relation)
        rejected = int(properties.get(TOTAL_REJECTED, 0))
        return rejected, rejected + int(properties.get(TOTAL_ROWS, 0))

    def record(self, raw: RawTable) -> None:
        """Does nothing: rows and their ledger entry are committed in one transaction."""

    def writer(self, raw: RawTable) -> SnowflakeTableWriter:
        """See `RawStore`."""
        if self.environment:
            raise UsageError(
                f"{raw.relation} cannot be landed in the environment {self.environment}: in "
                "Snowflake, environments read production's raw tables. Land into production: unset "
                f"MESH_ENV and run `mesh land {raw.relation}`."
            )
        if raw.domain not in self._of_domains:  # the domain's own warehouse pays for landing
            self._of_domains[raw.domain] = Database(connect(raw.domain), self.environment)
        return SnowflakeTableWriter(self._of_domains[raw.domain], raw)
