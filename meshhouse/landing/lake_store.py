"""The raw store of landing, in the lake.

Belongs here: the lake behind the protocol `RawStore`. Not here: the commits of one table
(lake_table.py).
"""

from __future__ import annotations

from meshhouse.lake import Lake
from meshhouse.lake.evolution import is_same
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.schema import iceberg_type
from meshhouse.lake.states import table_properties
from meshhouse.landing.lake_table import LakeTableWriter, commit_lock
from meshhouse.landing.rejected import locations_of, total_records
from meshhouse.landing.rejected import relation as rejected_relation
from meshhouse.landing.unrecorded import UNRECORDED, unrecorded
from meshhouse.ledger import retry_conflicts
from meshhouse.locks import advisory_lock
from meshhouse.repository import RawTable
from meshhouse.repository.types import parse_type


class LakeStore:
    """Implements `RawStore` for a lake."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.environment = lake.environment

    def in_environment(self, environment: str) -> LakeStore:
        """See `RawStore`."""
        return LakeStore(self.lake.in_environment(environment))

    def states(self) -> dict[str, str]:
        """See `RawStore`."""
        return self.lake.states()

    def holds(self, raw: RawTable) -> bool:
        """See `RawStore`."""
        table = self.lake.load(raw.relation)
        if table is None:
            return False
        held = {field.name: field.field_type for field in table.schema().fields}
        try:
            wanted = {each.name: iceberg_type(parse_type(each.data_type)) for each in raw.columns}
        except ValueError:
            return False  # landing reports which type is wrong
        return all(name in held and is_same(held[name], kind) for name, kind in wanted.items())

    def writer(self, raw: RawTable) -> LakeTableWriter:
        """See `RawStore`."""
        return LakeTableWriter(self.lake, raw)

    def rejected_share(self, raw: RawTable) -> tuple[int, int]:
        """See `RawStore`."""
        locations = locations_of(self.lake, [raw])
        rejected = total_records(self.lake, rejected_relation(raw), locations)
        return rejected, rejected + total_records(self.lake, raw.relation, locations)

    def record(self, raw: RawTable) -> None:
        """See `RawStore`.

        It is one transaction, so an entry is in the table or in the ledger, never in both. Entries
        of killed landers are moved as well.
        """
        retry_conflicts(lambda: self._record(raw))

    def _record(self, raw: RawTable) -> None:
        location = self.lake.state(raw.relation)
        if location is None or UNRECORDED not in table_properties(location):
            return
        with advisory_lock(commit_lock(self.lake, raw)):
            table = self.lake.load(raw.relation)
            entries = unrecorded(table.properties) if table else []
            if table is None or not entries:
                return
            base = table.metadata_location
            with table.transaction() as transaction:
                transaction.remove_properties(UNRECORDED)
            LakeLedger(self.lake).commit([self.lake.staged(table, base)], {"landings": entries})
