"""The lake: Iceberg tables, the catalog that lists them, and SQL over them.

Belongs here: everything that reads or writes Iceberg. Not here: how an engine builds tables
(engines/), what is landed (landing/), or when a candidate is published (runs/publication.py).
"""

from meshhouse.lake.catalog import Lake
from meshhouse.lake.states import snapshot_id, table_properties

__all__ = ["Lake", "snapshot_id", "table_properties"]
