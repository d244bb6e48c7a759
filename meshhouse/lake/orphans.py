"""Orphans: files in a table's folder that none of its snapshots refers to.

Belongs here: finding files that killed landers, refused commits and expired snapshots left.
Not here: expiring snapshots (maintenance/expiry.py, ledger_files.py).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from meshhouse.lake.catalog import Lake
from meshhouse.lake.storage import Stored, listing

if TYPE_CHECKING:
    from pyiceberg.table import Table

KEPT_STATES = 20
"""The number of newest metadata files that are kept at any age, for diagnosis."""

_METADATA = re.compile(r"(\d+)-.*\.metadata\.json")


def orphans(
    lake: Lake,
    relation: str,
    written_before: datetime,
    since: datetime,
    kept_states: int = KEPT_STATES,
) -> list[Stored]:
    """Files that nothing refers to.

    Args:
        lake: where the table is.
        relation: the table.
        written_before: files written later are left out, because a writer may be about to
            commit them.
        since: metadata files that were current at this time or later are left out, because
            readers may use them.
        kept_states: the number of newest metadata files that are left out.
    """
    table = lake.load(relation)
    if table is None:
        return []
    # List the files first, then load the table again: a later commit can only refer to files
    # of that table state or to young files.
    found = list(files_in(table.location()))
    table = lake.load(relation)
    assert table is not None
    kept = referenced(table) | _kept_metadata(found, table, since, kept_states)
    for name, state in lake.stored().items():
        # Another name may show another state of the same folder.
        if state != table.metadata_location and state.startswith(f"{table.location()}/metadata/"):
            other = lake.load(name, state)
            assert other is not None
            kept |= referenced(other) | {name_of(state)}
    oldest_left = written_before.timestamp()
    return [file for file in found if file.name not in kept and file.written_at < oldest_left]


def files_in(folder: str) -> Iterator[Stored]:
    """Files of tables below a folder, which is given as a location."""
    for file in listing(folder):
        # Skip files of other kinds, such as statistics that other engines wrote.
        if file.name.endswith((".parquet", ".avro")) or _METADATA.fullmatch(file.name):
            yield file


def referenced(table: Table) -> set[str]:
    """Names of all files of all snapshots.

    Names without folders, because engines write folders differently (`file:/x`, `file:///x`).
    A name contains a UUID, so it is unique.
    """
    return {name_of(each) for each in locations(table)}


def locations(table: Table) -> set[str]:
    """Locations of all files of all snapshots."""
    manifests = {}
    found = set()
    for snapshot in table.metadata.snapshots:
        found.add(snapshot.manifest_list)
        manifests |= {each.manifest_path: each for each in snapshot.manifests(table.io)}
    for location, manifest in manifests.items():
        found.add(location)
        found |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io)}
    return found


def _kept_metadata(
    found: list[Stored], table: Table, since: datetime, kept_states: int
) -> set[str]:
    """Names of the newest metadata files, and of those that were current since a given time.

    A metadata file was current until the next version was written.
    """
    versions: dict[int, list[Stored]] = defaultdict(list)
    for file in found:
        if match := _METADATA.fullmatch(file.name):
            versions[int(match[1])].append(file)
    current = name_of(table.metadata_location)
    newest = next((each for each in versions if current in _names(versions[each])), 0)
    kept = {current}
    for version, files in versions.items():
        following = versions.get(version + 1, files)
        shown_until = max(file.written_at for file in following)
        if version > newest - kept_states or shown_until > since.timestamp():
            kept |= _names(files)
    return kept


def _names(files: list[Stored]) -> set[str]:
    return {file.name for file in files}


def name_of(location: str) -> str:
    """The name of a file, without its folder."""
    return location.rpartition("/")[2]
