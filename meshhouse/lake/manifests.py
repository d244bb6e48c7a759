"""Manifests, the files in which a snapshot lists its data files.

Belongs here: their size and their entries. Not here: writing a snapshot (rewrite.py), or
manifests of another table (specs.py).
"""

from __future__ import annotations

from pyiceberg.manifest import ManifestEntry, ManifestEntryStatus, ManifestFile

MANIFEST_BYTES = 8 * 1024 * 1024
"""Iceberg's own target size of a manifest."""


def is_small(manifest: ManifestFile) -> bool:
    """Whether merging a manifest with others spares readers a file."""
    return manifest.manifest_length < MANIFEST_BYTES // 2


def with_status(
    entry: ManifestEntry, status: ManifestEntryStatus, snapshot_id: int | None = None
) -> ManifestEntry:
    """An entry of a manifest with another status, by default of the same snapshot."""
    return ManifestEntry.from_args(
        status=status,
        snapshot_id=snapshot_id or entry.snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )
