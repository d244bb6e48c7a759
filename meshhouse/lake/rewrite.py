"""Exchanging the data files of a table, in one snapshot.

Belongs here: the one way to write a snapshot that takes files away. Does not: choosing
or writing the files (engines/, upkeep/).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

from pyiceberg.manifest import (
    DataFile,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
)
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _OverwriteFiles
from pyiceberg.typedef import EMPTY_DICT

from meshhouse.lake.states import SAME_ROWS_AS

MANIFEST_BYTES = 8 * 1024 * 1024
"""Iceberg's own target size of a manifest."""


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


class _Relayout(_OverwriteFiles):
    """The same rows in other files, and all small manifests written as one.

    New files take the sequence number of the newest file that they stand for, so that
    rows which landed meanwhile still count as newer.
    """

    def _manifests(self) -> list[ManifestFile]:
        snapshot = self._transaction.table_metadata.current_snapshot()
        kept: list[ManifestFile] = []
        gone: list[ManifestEntry] = []
        staying: list[ManifestEntry] = []
        for manifest in snapshot.manifests(self._io) if snapshot else ():
            if manifest.content != ManifestContent.DATA:
                kept.append(manifest)
                continue
            live = manifest.fetch_manifest_entry(self._io, discard_deleted=True)
            old = [entry for entry in live if entry.data_file in self._deleted_data_files]
            if not old and not is_small(manifest):
                kept.append(manifest)
                continue
            gone += old
            staying += [entry for entry in live if entry.data_file not in self._deleted_data_files]
        self._validate_required_deletes(gone)
        sequence = max((entry.sequence_number or 0 for entry in gone), default=None)
        entries = [_with_status(entry, ManifestEntryStatus.EXISTING) for entry in staying]
        entries += [
            ManifestEntry.from_args(
                status=ManifestEntryStatus.ADDED,
                snapshot_id=self._snapshot_id,
                sequence_number=sequence,
                file_sequence_number=None,
                data_file=file,
            )
            for file in self._added_data_files
        ]
        entries.sort(key=lambda entry: entry.sequence_number or 0)
        # Deleted files have manifests of their own, which the next commit leaves behind.
        taken = [
            _with_status(entry, ManifestEntryStatus.DELETED, self._snapshot_id) for entry in gone
        ]
        return [*self._written(entries), *self._written(taken), *kept]

    def _written(self, entries: Iterable[ManifestEntry]) -> Iterator[ManifestFile]:
        waiting = iter(entries)
        entry = next(waiting, None)
        while entry is not None:
            with self.new_manifest_writer(self._transaction.table_metadata.spec()) as writer:
                while entry is not None and writer.tell() < MANIFEST_BYTES:
                    writer.add_entry(entry)
                    entry = next(waiting, None)
            yield writer.to_manifest_file()

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        # pyiceberg 0.12 counts the totals of every operation but `replace`.
        summary = super()._summary(snapshot_properties)
        return summary.model_copy(update={"operation": Operation.REPLACE})


def is_small(manifest: ManifestFile) -> bool:
    """Whether merging a manifest with others spares readers a file."""
    return manifest.manifest_length < MANIFEST_BYTES // 2


def _with_status(
    entry: ManifestEntry, status: ManifestEntryStatus, snapshot_id: int | None = None
) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=status,
        snapshot_id=snapshot_id or entry.snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )


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
            may pass over this snapshot (Iceberg's operation `replace`). Small manifests
            become one, even if no file is exchanged.
    """
    current = transaction.table_metadata.current_snapshot()
    producer = _Relayout if same_rows else _Exchange
    properties = {}
    if same_rows and current is not None:
        known = current.summary[SAME_ROWS_AS] if current.summary else None
        properties[SAME_ROWS_AS] = known or str(current.snapshot_id)
    with producer(
        operation=Operation.OVERWRITE if current else Operation.APPEND,
        transaction=transaction,
        io=transaction._table.io,
        commit_uuid=write_id,
        snapshot_properties=properties,
    ) as snapshot:
        for file in old:
            snapshot.delete_data_file(file)
        for file in new:
            snapshot.append_data_file(file)


def files_by_age(table: Table) -> list[str]:
    """Data files of the current snapshot, those with the oldest rows first."""
    snapshot = table.current_snapshot()
    manifests = snapshot.manifests(table.io) if snapshot else []
    entries = [entry for manifest in manifests for entry in manifest.fetch_manifest_entry(table.io)]
    entries.sort(key=lambda entry: entry.sequence_number or 0)
    return [entry.data_file.file_path for entry in entries]
