"""Exchanging the data files of a table, in one snapshot.

Belongs here: the only code that writes a snapshot which removes data files. Not here: choosing or
writing the files (engines/, maintenance/).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Operation

from meshhouse.lake.pyiceberg_private import Exchange, MergingExchange, Relayout, io_of
from meshhouse.lake.states import SAME_ROWS_AS


def exchange_files(
    transaction: Transaction,
    old: Iterable[DataFile],
    new: Iterable[DataFile],
    write_id: uuid.UUID | None = None,
    same_rows: bool = False,
    merges: bool = False,
) -> None:
    """Adds a snapshot to a transaction in which `new` files replace `old` ones.

    Args:
        transaction: a transaction of the table to change.
        old: files of the current snapshot to remove.
        new: files, already written, to add.
        write_id: part of the names of new manifests; unique for each attempt.
        same_rows: the files hold the same rows in another layout, so an incremental reader may
            skip this snapshot (Iceberg's operation `replace`). Small manifests are merged, even
            if no data file is exchanged.
        merges: small manifests are merged although rows change.
    """
    current = transaction.table_metadata.current_snapshot()
    producer = Relayout if same_rows else MergingExchange if merges else Exchange
    properties = {}
    if same_rows and current is not None:
        known = current.summary[SAME_ROWS_AS] if current.summary else None
        properties[SAME_ROWS_AS] = known or str(current.snapshot_id)
    with producer(
        operation=Operation.OVERWRITE if current else Operation.APPEND,
        transaction=transaction,
        io=io_of(transaction),
        commit_uuid=write_id,
        snapshot_properties=properties,
    ) as snapshot:
        for file in old:
            snapshot.delete_data_file(file)
        for file in new:
            snapshot.append_data_file(file)


def files_by_age(table: Table) -> list[str]:
    """Data files of the current snapshot, oldest rows first."""
    snapshot = table.current_snapshot()
    manifests = snapshot.manifests(table.io) if snapshot else []
    entries = [entry for manifest in manifests for entry in manifest.fetch_manifest_entry(table.io)]
    entries.sort(key=lambda entry: entry.sequence_number or 0)
    return [entry.data_file.file_path for entry in entries]
