"""All uses of pyiceberg's private names.

Belongs here: code that needs a name with a leading underscore. Not here: anything that
pyiceberg's public names can do.

Private names may change in any release. `VERSION` is the release that this code was compared
with. A test fails with any other release and says what to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.table import CreateTableTransaction, Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update import (
    RemoveSnapshotsUpdate,
    TableUpdate,
    _apply_table_update,
    _TableMetadataUpdateContext,
    _update_table_metadata_log,
)
from pyiceberg.table.update.snapshot import _OverwriteFiles
from pyiceberg.typedef import EMPTY_DICT
from pyiceberg.utils.datetime import datetime_to_millis

from meshhouse.lake.avro_readers import keep_readers
from meshhouse.lake.manifests import MANIFEST_BYTES, is_small, with_status

if TYPE_CHECKING:
    from pyiceberg.catalog.rest import RestCatalog
    from requests import Session

VERSION = "0.12.0"

PRIVATE = {
    "pyiceberg.table.update.snapshot._OverwriteFiles": (
        "_existing_manifests", "_manifests", "_summary", "_validate_required_deletes",
    ),
    "pyiceberg.table.Transaction": ("_apply", "table_metadata"),
    "pyiceberg.catalog.rest.RestCatalog": ("_create_session",),
    "pyiceberg.io.pyarrow.ArrowProjectionVisitor": ("_cast_if_needed", "_construct_field"),
}  # fmt: skip
"""Class -> its private methods that are called or replaced here, or in projection.py."""

keep_readers()  # this module is loaded with every lake


class Exchange(_OverwriteFiles):
    """pyiceberg's overwrite, without manifests that list only deleted files.

    pyiceberg never drops such manifests, and readers open all of them: reading a product takes
    four times as long at its thirtieth publication as at its first. Iceberg's Java library drops
    them too (`ManifestFilterManager`, `MergingSnapshotProducer`).
    """

    def _existing_manifests(self) -> list[ManifestFile]:
        return [
            manifest
            for manifest in super()._existing_manifests()
            if manifest.has_added_files() or manifest.has_existing_files()
        ]


class Relayout(_OverwriteFiles):
    """The same rows in other files, and all small manifests merged into one.

    New files get the sequence number of the newest file that they replace, so rows that landed
    meanwhile still count as newer.
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
        entries = [with_status(entry, ManifestEntryStatus.EXISTING) for entry in staying]
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
        # Deleted files go into separate manifests, which the next commit can drop as a whole.
        taken = [
            with_status(entry, ManifestEntryStatus.DELETED, self._snapshot_id) for entry in gone
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
        # Set afterwards: pyiceberg 0.12 computes no totals for the operation `replace`.
        summary = super()._summary(snapshot_properties)
        return summary.model_copy(update={"operation": Operation.REPLACE})


class MergingExchange(Relayout):
    """Other rows, and all small manifests merged into one.

    For a table of many small files, of which each commit replaces one: readers open one manifest.
    """

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        return _OverwriteFiles._summary(self, snapshot_properties)


def metadata_after(
    base: TableMetadata, updates: Iterable[TableUpdate], location: str | None = None
) -> TableMetadata:
    """Metadata with changes: pyiceberg's `update_table_metadata` without its deep copy.

    The copy took 8% of a run of three small domains, and grows with the snapshots of a table. It is
    not needed: no change writes into a part of the metadata, all of them replace the part.

    Args:
        base: the metadata before.
        updates: the changes.
        location: the location of `base`, for the log of metadata files; None to log nothing.
    """
    context = _TableMetadataUpdateContext()
    metadata = base
    for update in updates:
        metadata = _apply_table_update(update, metadata, context)
    if context.has_changes():
        if location:
            metadata = _update_table_metadata_log(metadata, location, base.last_updated_ms)
        if metadata.last_updated_ms == base.last_updated_ms:
            now = datetime_to_millis(datetime.now(UTC))
            metadata = metadata.model_copy(update={"last_updated_ms": now})
    metadata.spec().check_compatible(metadata.schema())
    metadata.sort_order().check_compatible(metadata.schema())
    return metadata


class StagedTransaction(Transaction):
    """A transaction that computes its metadata once for each change.

    pyiceberg computes it again at each of the 20 times that one commit looks at it. With its deep
    copy, that was half of the time of a small commit.
    """

    _known: tuple[Any, Any, TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        """The table's metadata with the changes so far."""
        known, base = self._known, self._table.metadata
        if known is None or known[0] is not base or known[1] is not self._updates:
            known = (base, self._updates, metadata_after(base, self._updates))
            self._known = known
        return known[2]


class StagedTable(Table):
    """A table whose transactions are `StagedTransaction`."""

    def transaction(self) -> Transaction:
        """Opens a transaction."""
        return StagedTransaction(self)


class NoCatalog:
    """In place of a pyiceberg catalog: keeps every metadata file."""

    def _delete_old_metadata(self, io: Any, base: Any, metadata: Any) -> None:
        """Does nothing; pyiceberg calls it after a commit."""


def io_of(transaction: Transaction) -> FileIO:
    """The FileIO of a transaction's table."""
    return transaction._table.io


def metadata_before(transaction: CreateTableTransaction) -> TableMetadata:
    """The metadata of a new table, before the changes of the transaction.

    Not `transaction.table_metadata`: that lists every schema twice, which Spark cannot read.
    """
    return transaction._table.metadata


def remove_snapshots(transaction: Transaction, snapshot_ids: list[int]) -> None:
    """Removes snapshots from a table.

    pyiceberg's public `ExpireSnapshots.by_ids` copies all metadata once for each snapshot.
    """
    transaction._apply((RemoveSnapshotsUpdate(snapshot_ids=snapshot_ids),))


def bytes_written(writer: Any) -> int:
    """The present length of a Parquet file that pyiceberg's writer has not finished."""
    return writer._fos.tell()


def rest_catalog(
    name: str, properties: Mapping[str, Any], prepare: Callable[[Session], None]
) -> RestCatalog:
    """A REST catalog whose HTTP session is prepared before its first request."""
    # Imported here: it takes 0.1 s, and most meshes have their catalog in a file.
    from pyiceberg.catalog.rest import RestCatalog

    class Prepared(RestCatalog):
        def _create_session(self) -> Session:
            session = super()._create_session()
            prepare(session)
            return session

    return Prepared(name, **properties)


def session_of(catalog: RestCatalog) -> Session:
    """The HTTP session of a REST catalog, with its credentials."""
    return catalog._session


def can_rename(catalog: RestCatalog) -> bool:
    """Whether a service offers to rename tables."""
    from pyiceberg.catalog.rest import Capability

    return Capability.V1_RENAME_TABLE in catalog._supported_endpoints
