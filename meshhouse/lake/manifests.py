"""Manifests: the files in which a snapshot lists its data files.

Belongs here: the size of manifests, and their entries. Not here: writing a snapshot (rewrite.py),
or manifests of a table to publish (specs.py).
"""

from __future__ import annotations

from pyiceberg.manifest import ManifestEntry, ManifestEntryStatus, ManifestFile

MANIFEST_BYTES = 8 * 1024 * 1024
"""Iceberg's default target size of a manifest."""


def is_small(manifest: ManifestFile) -> bool:
    """Whether a manifest should be merged with others, so that readers open fewer files."""
    return manifest.manifest_length < MANIFEST_BYTES // 2


def with_status(
    entry: ManifestEntry, status: ManifestEntryStatus, snapshot_id: int | None = None
) -> ManifestEntry:
    """A copy of a manifest entry with another status and, if given, another snapshot."""
    return ManifestEntry.from_args(
        status=status,
        snapshot_id=snapshot_id or entry.snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )
