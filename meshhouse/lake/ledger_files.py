"""The files of the ledger's tables: appending rows, and keeping the tables short as they grow.

Belongs here: when small files are merged, snapshots expire and unused files are removed, as part of
a commit to the ledger. Not here: the rows (ledger.py, heads.py), or all other tables, which
maintenance/ keeps short.

Every commit adds a data file, a manifest, a manifest list and a metadata file to six tables. Left
alone, reading the ledger opens more files with each publication, and each commit writes a longer
list of snapshots: 200 publications took 148 MB, and the last one three times as long as the 25th.
Nobody reads the ledger of the past: all entries stay in the newest snapshot.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

from meshhouse.lake.catalog import Lake
from meshhouse.lake.ledger_readers import unread
from meshhouse.lake.object_store import is_remote
from meshhouse.lake.storage import delete, make_young
from meshhouse.locks import lock_if_free

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile, ManifestFile
    from pyiceberg.table import Table, Transaction
    from pyiceberg.table.snapshots import Snapshot

WORTH_MERGING = 8
"""The number of manifests, or of files of similar size, from which merging is worth its cost."""
KEPT_SNAPSHOTS = 4
"""Snapshots that the metadata lists after it was shortened; each commit copies the list."""
GRACE = timedelta(seconds=20)
"""For how long files stay at least after the ledger stopped using them, for other engines and other
machines. Readers on this machine are protected by a lock; see ledger_readers.py."""
_SMALL_BYTES = 64 * 1024
_FACTOR = 8
_LARGEST_LEVEL = 2
"""Files of 4 MB and more are left to `mesh maintain`."""
_MOST_MERGED = 64
"""Files that one commit merges at most, so that its work is bounded."""
_KEPT_STATES = 5
"""Metadata files that stay at any age, so that a lost one can be diagnosed."""


def append_rows(table: Table, rows: pa.Table, properties: Mapping[str, str], numbered: str) -> bool:
    """Appends rows to a table of the ledger, and shortens the table when that is worth it.

    Args:
        table: a staged table.
        rows: with the columns of the table.
        properties: to set.
        numbered: a column; files in which it has nulls are not merged, because the position of
            their rows counts.

    Returns:
        Whether files fell out of use, which `remove_unused` can remove after the commit.
    """
    from meshhouse.lake.files import rows_of, write_files
    from meshhouse.lake.rewrite import exchange_files

    manifests = _manifests(table, table.current_snapshot())
    is_long = len(manifests) >= WORTH_MERGING
    number = table.schema().find_field(numbered).field_id
    old = _worth_merging(_files(table, manifests), number) if is_long else []
    batches = chain(*(rows_of(table, file) for file in old), rows.to_batches())
    write_id = uuid.uuid4()
    with table.transaction() as transaction:
        transaction.set_properties(dict(properties))
        new = write_files(table.io, transaction.table_metadata, batches, write_id)
        if is_long:
            exchange_files(transaction, old, new, write_id, merges=True)
            shorten(table, transaction, [file.file_path for file in old])
        else:
            with transaction.update_snapshot().fast_append() as snapshot:
                for file in new:
                    snapshot.append_data_file(file)
    return is_long


def shorten(table: Table, transaction: Transaction, left: Collection[str]) -> None:
    """Drops all but the newest snapshots from the metadata.

    Files that fall out of use count as written now: a reader may just have begun with them.

    Args:
        table: the table as it was.
        transaction: a transaction of it, with the new snapshot.
        left: data files that the new snapshot does not use any more.
    """
    from meshhouse.lake.pyiceberg_private import remove_snapshots

    by_age = sorted(
        transaction.table_metadata.snapshots, key=lambda each: each.sequence_number or 0
    )
    dropped, kept = by_age[:-KEPT_SNAPSHOTS], by_age[-KEPT_SNAPSHOTS:]
    if dropped:
        remove_snapshots(transaction, [each.snapshot_id for each in dropped])
    listed = {each.manifest_path for old in dropped for each in _manifests(table, old)}
    listed -= {each.manifest_path for one in kept for each in _manifests(table, one)}
    for location in (*left, *listed, *(each.manifest_list for each in dropped)):
        make_young(location)


def remove_unused(lake: Lake, relation: str, committed_at: datetime) -> None:
    """Removes files that a table of the ledger stopped using well before a commit.

    It does nothing while a backup, `mesh maintain` or an open connection may read them, and none of
    it in an object store or with a catalog service: there, `mesh maintain` decides.

    Args:
        lake: where the table is.
        relation: the table, right after a commit to it by this process. A writer that began before
            cannot commit any more, and files of one that began later are too young.
        committed_at: when that commit was staged.
    """
    from meshhouse.lake.orphans import orphans

    location = lake.state(relation)
    if lake.is_served or location is None or is_remote(location):
        return
    with lock_if_free(lake.locks / "maintain") as maintaining, unread(lake) as is_unread:
        if maintaining or not is_unread:
            return
        before = committed_at - GRACE
        for file in orphans(lake, relation, before, before, _KEPT_STATES):
            delete(file.location)


def _manifests(table: Table, snapshot: Snapshot | None) -> list[ManifestFile]:
    return list(snapshot.manifests(table.io)) if snapshot is not None else []


def _files(table: Table, manifests: Sequence[ManifestFile]) -> Iterator[DataFile]:
    for manifest in manifests:
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            yield entry.data_file


def _worth_merging(files: Iterator[DataFile], number: int) -> list[DataFile]:
    """The files to merge: those of each size of which there are many.

    A row is rewritten once for each size that its file grows out of, however long the ledger is.
    """
    levels: dict[int, list[DataFile]] = {}
    for file in files:
        if (file.null_value_counts or {}).get(number) == 0:
            levels.setdefault(_level(file.file_size_in_bytes), []).append(file)
    many = [each for level, each in levels.items()
            if level <= _LARGEST_LEVEL and len(each) >= WORTH_MERGING]  # fmt: skip
    return [file for each in many for file in each][:_MOST_MERGED]


def _level(size: int) -> int:
    level, limit = 0, _SMALL_BYTES
    while size >= limit:
        level, limit = level + 1, limit * _FACTOR
    return level
