"""Exchanging the data files of a table, in one snapshot.

Belongs here: the one way to write a snapshot that takes files away. Does not: choosing
or writing the files (engines/, landing/).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.table import Transaction
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _OverwriteFiles


class _Exchange(_OverwriteFiles):
    """pyiceberg's overwrite, without manifests that list nothing but deleted files.

    pyiceberg carries those along for ever, and every reader opens every one of them: the
    thirtieth publication of a product would be read four times slower than the first.
    Iceberg's Java library drops them too (`ManifestFilterManager`, `MergingSnapshotProducer`).
    """

    def _existing_manifests(self) -> list[ManifestFile]:
        return [
            manifest
            for manifest in super()._existing_manifests()
            if manifest.has_added_files() or manifest.has_existing_files()
        ]


def exchange_files(
    transaction: Transaction,
    old: Iterable[DataFile],
    new: Iterable[DataFile],
    write_id: uuid.UUID | None = None,
    same_rows: bool = False,
) -> None:
    """Adds a snapshot to a transaction in which `new` files stand for `old` ones.

    Args:
        transaction: of the table to change.
        old: files of the current snapshot to take away.
        new: files, already written, to add.
        write_id: part of the names of what is written; unique per attempt.
        same_rows: the files hold the same rows in another layout, so a reader of changes
            may pass over this snapshot (Iceberg's operation `replace`).
    """
    metadata = transaction.table_metadata
    operation = Operation.OVERWRITE if metadata.current_snapshot() else Operation.APPEND
    if same_rows:
        operation = Operation.REPLACE
    with _Exchange(
        operation=operation, transaction=transaction, io=transaction._table.io, commit_uuid=write_id
    ) as snapshot:
        for file in old:
            snapshot.delete_data_file(file)
        for file in new:
            snapshot.append_data_file(file)
