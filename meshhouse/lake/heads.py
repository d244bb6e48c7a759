"""The table of heads in the lake: one data file per domain, replaced by each commit about it.

Belongs here: reading and replacing those files. Not here: what a head is (meshhouse/ledger.py), or
how it follows from entries (meshhouse/heads.py).

With 200 domains of 10 products, contracts and statistics take 24 MB. A commit about one domain
rewrites the file of this domain, which takes 0.1 MB, and leaves the others as they are.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from meshhouse.heads import Key
from meshhouse.lake import ownership
from meshhouse.lake.catalog import Lake
from meshhouse.lake.ledger_files import shorten
from meshhouse.lake.storage import make_young
from meshhouse.ledger import HEADS, Head, Staged

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table, Transaction

RELATION = f"{ownership.LEDGER}.heads"
MOST_SNAPSHOTS = 12
"""Snapshots from which the metadata is shortened."""
FILE_PER_DOMAIN = "meshhouse.file-per-domain"
"""Property of a table whose small files must not be merged."""
_PROPERTIES = {
    FILE_PER_DOMAIN: "true",
    # Whole names, so that the files of a domain are found without opening any.
    "write.metadata.metrics.default": "none",
    "write.metadata.metrics.column.domain": "full",
}


def head_of(row: Mapping[str, Any]) -> Head:
    """A head from a row of the table, perhaps without documents."""
    return Head(**{**row, "product": row["product"] or ""})


def stage_heads(
    lake: Lake,
    base: str | None,
    heads: Mapping[Key, Head],
    domains: Collection[str] | None,
    properties: Mapping[str, str],
) -> Staged:
    """Stages the table with other rows for some domains.

    Args:
        lake: where the table is.
        base: its current metadata location; None if it does not exist.
        heads: all heads of these domains.
        domains: whose rows are replaced; None for all.
        properties: to set.
    """
    from meshhouse.lake.rewrite import exchange_files
    from meshhouse.lake.schema import iceberg_schema

    schema = iceberg_schema(HEADS)
    table = lake.stage(RELATION, schema, _PROPERTIES, at=base, writer=ownership.LEDGER)
    old = [
        file for file in _files(table) if domains is None or _domains_of(table, file) & {*domains}
    ]
    kept = _others(table, old, domains) if domains is not None else {}
    with table.transaction() as transaction:
        transaction.set_properties({**_PROPERTIES, **properties})
        new = _written(table, transaction, {**kept, **heads})
        exchange_files(transaction, old, new, uuid.uuid4(), merges=True)
        if len(transaction.table_metadata.snapshots) > MOST_SNAPSHOTS:
            shorten(table, transaction, ())
    for file in old:
        make_young(file.file_path)  # a reader may just have begun with it
    return lake.staged(table, base)


def _files(table: Table) -> list[DataFile]:
    snapshot = table.current_snapshot()
    manifests = snapshot.manifests(table.io) if snapshot else []
    return [
        entry.data_file
        for manifest in manifests
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
    ]


def _domains_of(table: Table, file: DataFile) -> set[str]:
    """The domains that a file may hold; those of a merged file are read from it."""
    field = table.schema().find_field("domain").field_id
    bounds = [(each or {}).get(field) for each in (file.lower_bounds, file.upper_bounds)]
    first, last = bounds
    if first is not None and first == last:
        return {first.decode()}
    return {str(each["domain"]) for each in _rows(table, file, ["domain"])}


def _rows(table: Table, file: DataFile, columns: list[str] | None = None) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    with table.io.new_input(file.file_path).open() as opened:
        return pq.read_table(opened, columns=columns).to_pylist()


def _others(table: Table, files: Collection[DataFile], domains: Collection[str]) -> dict[Key, Head]:
    """Heads of other domains in files that are replaced; only a merged file has any."""
    names = {name for name, _ in HEADS}
    found = {}
    for file in files:
        if len(_domains_of(table, file)) == 1:
            continue
        for row in _rows(table, file):
            if row["domain"] not in domains:
                head = head_of({name: row[name] for name in names & row.keys()})
                found[head.domain, head.product] = head
    return found


def _written(table: Table, transaction: Transaction, heads: Mapping[Key, Head]) -> list[DataFile]:
    """Writes one file for each domain."""
    import pyarrow as pa

    from meshhouse.lake.files import write_files

    schema = transaction.table_metadata.schema().as_arrow()
    by_domain: dict[str, list[dict[str, Any]]] = {}
    for head in heads.values():
        by_domain.setdefault(head.domain, []).append(dataclasses.asdict(head))
    files = []
    for rows in by_domain.values():
        batches = pa.Table.from_pylist(rows, schema=schema).to_batches()
        # One id per file: an id and the position in one write make a file's name.
        files += write_files(table.io, transaction.table_metadata, batches, uuid.uuid4())
    return files
