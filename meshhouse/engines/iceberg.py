"""What engines share whose products are Iceberg tables in the lake.

Belongs here: what a domain may read, and going back to an earlier publication. Does not:
building and reading, in which such engines differ.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from meshhouse.engines import Candidate
from meshhouse.errors import MeshError, UsageError
from meshhouse.lake import Lake, Staged
from meshhouse.repository import Domain, Product, Repository

PINS_VARIABLE = "MESH_PINS"
"""Names a JSON file {relation: metadata file} when the run has pinned its inputs already."""


def pinned() -> dict[str, str] | None:
    """What the run that started dbt has pinned; None if dbt was started by itself."""
    file = os.environ.get(PINS_VARIABLE)
    return json.loads(Path(file).read_text()) if file else None


class IcebergEngine:
    """Products are tables of the mesh's own lake."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.lake = Lake(repository.home)

    def pin(self, domain: Domain) -> dict[str, str]:
        """What the domain may read now.

        Raises:
            UsageError: a raw table of the domain has never been landed.
        """
        return readable(self._repository, domain, self.lake.pointers())

    def not_shown(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that no reader can see: somebody may be stopped just after publication."""
        return [each for each in candidates if not self.lake.shows(each.staged)]

    def restore(self, product: Product, snapshot_id: int) -> Staged:
        """Stages the product as it was at an earlier snapshot, columns included.

        Raises:
            MeshError: that snapshot is no longer kept.
        """
        from pyiceberg.table.update import SetCurrentSchemaUpdate, update_table_metadata

        from meshhouse.lake.adopt import adopt

        table = self.lake.load(product.relation)
        snapshot = table.metadata.snapshot_by_id(snapshot_id) if table else None
        if table is not None and snapshot is None:
            earlier = self.lake.recall(product.relation, snapshot_id)
            if earlier is not None:
                return adopt(self.lake, product.relation, earlier)
        if table is None or snapshot is None:
            raise MeshError(
                f"The previous publication of {product.relation} is no longer kept, so it cannot "
                "be shown again. Run the domain again to publish a new one."
            )
        base = table.metadata_location
        if snapshot.schema_id is not None:
            table.metadata = update_table_metadata(
                table.metadata, (SetCurrentSchemaUpdate(schema_id=snapshot.schema_id),)
            )
        table.manage_snapshots().set_current_snapshot(snapshot_id=snapshot_id).commit()
        return self.lake.staged(table, base)


def readable(repository: Repository, domain: Domain, pointers: Mapping[str, str]) -> dict[str, str]:
    """What a domain's models may read now: its raw tables, and products of its upstream.

    Returns:
        relation -> metadata file.

    Raises:
        UsageError: a raw table of the domain has never been landed.
    """
    for raw in domain.raw_tables:
        if raw.relation not in pointers:
            raise UsageError(
                f"{raw.relation} does not exist yet: topic `{raw.topic}` was never landed. "
                f"Run `mesh land {domain.name}` first."
            )
    wanted = {raw.relation for raw in domain.raw_tables} | {
        product.relation for name in domain.upstream for product in repository.domain(name).products
    }
    return {relation: pointers[relation] for relation in sorted(wanted) if relation in pointers}
