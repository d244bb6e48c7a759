"""The lake: Iceberg tables, the catalog that points to them, and SQL over them."""

from meshhouse.lake.catalog import Lake
from meshhouse.lake.states import snapshot_id, table_properties

__all__ = ["Lake", "snapshot_id", "table_properties"]
