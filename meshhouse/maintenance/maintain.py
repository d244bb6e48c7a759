"""Maintenance: all upkeep of some tables, beside landers and readers.

Belongs here: which tables, the lock, and committing to a table that others write to.
Does not: what is merged, expired or removed (compaction.py, expiry.py, orphans.py).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from meshhouse.errors import UsageError
from meshhouse.lake import Lake
from meshhouse.lake.ledger import NUMBER, LakeLedger
from meshhouse.lake.object_store import is_remote
from meshhouse.lake.storage import delete, make_young
from meshhouse.ledger import Conflict
from meshhouse.locks import lock
from meshhouse.repository.environment import workspace

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

    from meshhouse.maintenance.compaction import Compaction, Layout

A_DAY = timedelta(days=1)

KEPT_WHILE_LANDING = 25
"""Snapshots; a commit to a table with 500 of them takes ten times as long."""

_ATTEMPTS = 10


@dataclass(frozen=True)
class Upkept:
    """What maintenance did to one table."""

    relation: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    """Size of the data files of the current state."""
    snapshots_expired: int
    orphans_removed: int
    """Files of any kind that nothing refers to: of expired snapshots and of killed runs."""
    orphan_bytes: int
    gave_up: bool = False
    """Others wrote to the table all the while: its files are as they were."""


Say = Callable[[str], None]


def maintain(
    lake: Lake,
    relations: Collection[str] = (),
    older_than: timedelta = A_DAY,
    retention: timedelta = A_DAY,
    say: Say = lambda line: None,
) -> list[Upkept]:
    """Merges small files, expires snapshots and removes orphans; waits for a rival.

    Without `relations`, also what replaced builds left that no publication refers to. With a
    catalog service no file is removed.

    Landers and readers go on meanwhile. A run of the domain that owns a product waits
    while that product is maintained, and the other way round: it could not publish over
    a state that it has not seen.

    Args:
        lake: where the tables are.
        relations: the tables; none means all.
        older_than: age from which on a file that nothing refers to is removed.
        retention: how long a state that was replaced can still be read.
        say: receives what is being waited for.

    Raises:
        UsageError: there is no such table.
    """
    chosen = _chosen(lake.pointers(), relations)
    locks = lake.locks
    done = []
    with lock(locks / "maintain", lambda holder: say(f"waiting for `mesh maintain` ({holder})")):
        needed = needed_of(lake)
        for relation in chosen:
            # The lock of `mesh run` for the domain of a product, or of a dbt snapshot's history;
            # other tables have no such run.
            owner = relation.partition(".")[0].removesuffix("_build")
            waiting = f"{relation}: waiting for a run of {owner}"
            with lock(locks / f"{owner}.run", lambda holder, text=waiting: say(text)):
                kept = needed.get(relation, set())
                done.append(_maintain(lake, relation, kept, older_than, retention))
        # With a catalog service, a branch of its own may show publications that name their files.
        if not relations and not lake.is_served:
            done += _maintain_builds(lake, older_than, say)
    return done


def _maintain_builds(lake: Lake, older_than: timedelta, say: Say) -> Iterator[Upkept]:
    """Removes what replaced builds left, after the states of products that named it."""
    from meshhouse.engines.builds import building_domains
    from meshhouse.maintenance.builds import remove_replaced_builds

    for domain in building_domains(workspace(lake.home, lake.environment)):
        waiting = f"builds of {domain}: waiting for a run of {domain}"
        with lock(lake.locks / f"{domain}.run", lambda holder, text=waiting: say(text)):
            count, size = remove_replaced_builds(lake, domain, older_than)
        yield Upkept(f"builds of {domain}", 0, 0, 0, 0, 0, count, size)


def tidy(lake: Lake, relation: str) -> bool:
    """Keeps a table quick to commit to while somebody lands it continuously.

    Merges small files and drops all but the newest snapshots from the metadata, of which
    a commit copies every one. It removes no file: readers have pinned older states by
    their metadata files, and go on; `maintain` removes what nobody reads a day later.

    Returns:
        False if others always were quicker; the next call will do it.
    """
    needed = needed_of(lake).get(relation, set())
    return _tidy(lake, relation, needed, timedelta(0), KEPT_WHILE_LANDING) is not None


def needed_of(lake: Lake) -> Mapping[str, set[int]]:
    """Relation -> snapshots that publications may still ask for."""
    from meshhouse.maintenance.expiry import needed_snapshots

    return needed_snapshots(LakeLedger(lake).entries("publications"))


def _chosen(known: Iterable[str], wanted: Collection[str]) -> list[str]:
    known = sorted(known)
    for relation in wanted:
        if relation not in known:
            close = difflib.get_close_matches(relation, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            listing = f" Tables: {', '.join(known)}." if known else " There are no tables yet."
            raise UsageError(f"There is no table `{relation}`.{hint or listing}")
    return [relation for relation in known if relation in wanted or not wanted]


def _maintain(
    lake: Lake, relation: str, needed: set[int], older_than: timedelta, retention: timedelta
) -> Upkept:
    from meshhouse.maintenance.compaction import layout
    from meshhouse.maintenance.orphans import orphans

    before = layout(_load(lake, relation))
    expired = _tidy(lake, relation, needed, retention)
    after = layout(_load(lake, relation))
    now = datetime.now(UTC)
    # With a catalog service, a branch of its own may refer to what no table shows.
    removed = [] if lake.is_served else orphans(lake, relation, now - older_than, now - retention)
    for file in removed:
        delete(file.location)
    return Upkept(
        relation=relation,
        files_before=len(before.files),
        files_after=len(after.files),
        bytes_before=before.bytes,
        bytes_after=after.bytes,
        snapshots_expired=expired or 0,
        orphans_removed=len(removed),
        orphan_bytes=sum(file.bytes for file in removed),
        gave_up=expired is None,
    )


def _tidy(
    lake: Lake, relation: str, needed: set[int], retention: timedelta, newest: int = 0
) -> int | None:
    """Commits a compaction and the expiry of snapshots, on whatever state the table has.

    Returns:
        The number of snapshots expired; None if others always were quicker.
    """
    compaction: Compaction | None = None
    for _ in range(_ATTEMPTS):
        table = _load(lake, relation)
        before = {each.snapshot_id: each for each in table.metadata.snapshots}
        compaction, files = _compacted(table, compaction)
        base, shown = table.metadata_location, table.metadata.current_snapshot_id
        expired = _stage(table, compaction, files, needed, retention, newest)
        if table.metadata_location == base:
            return 0
        kept = {each.snapshot_id for each in table.metadata.snapshots}
        dropped = [each for number, each in before.items() if number not in kept]
        still = {file.file_path for file in files.files}
        # A file's age counts from when it was last part of the table: readers may have
        # pinned the state before by its metadata file.
        for location in {file.file_path for file in compaction.old} | _left(dropped, still, table):
            # A file elsewhere is not this lake's to touch, whatever its metadata says.
            if is_remote(location) or lake.owns(location):
                make_young(location)
        try:
            lake.commit([lake.staged(table, base)])
        except Conflict:
            if table.metadata.current_snapshot_id != shown:
                _forget_snapshot(table)
            continue
        return expired
    # Only here: after any other failure the files might be shown, or be tried again.
    if compaction is not None:
        compaction.discard()
    return None


def _left(dropped: Collection[Snapshot], still: Collection[str], table: Table) -> set[str]:
    """Files of dropped snapshots that a staged state of a table no longer names.

    Args:
        dropped: the snapshots.
        still: data files that are no concern.
        table: the staged state.
    """
    if not dropped:
        return set()
    manifests = {}
    for snapshot in dropped:
        manifests |= _manifests_of(snapshot, table)
    for snapshot in table.metadata.snapshots:
        for location in _manifests_of(snapshot, table):
            manifests.pop(location, None)
    left = {*(snapshot.manifest_list for snapshot in dropped), *manifests}
    for manifest in manifests.values():
        with suppress(FileNotFoundError):
            entries = manifest.fetch_manifest_entry(table.io)
            left.update(entry.data_file.file_path for entry in entries)
    return left.difference(still)


def _manifests_of(snapshot: Snapshot, table: Table) -> dict[str, ManifestFile]:
    with suppress(FileNotFoundError):
        return {each.manifest_path: each for each in snapshot.manifests(table.io)}
    return {}


def _compacted(table: Table, earlier: Compaction | None) -> tuple[Compaction, Layout]:
    """Merged files for the state of a table; those of an earlier attempt if they still fit."""
    from meshhouse.maintenance.compaction import compact, layout, target_bytes

    files = layout(table)
    if earlier is not None:
        if earlier.fits(files.files):
            return earlier, files
        earlier.discard()
    to_merge = files.to_merge(target_bytes(table))
    # Older versions gave entries no number, so a reader had to count them. Their place is
    # certain only if all files are merged.
    is_ledger = NUMBER in table.properties and len(to_merge) == len(files.files)
    return compact(table, to_merge, numbered="number" if is_ledger else ""), files


def _stage(
    table: Table,
    compaction: Compaction,
    files: Layout,
    needed: set[int],
    retention: timedelta,
    newest: int,
) -> int:
    """Stages both changes as one new state, or none if there is nothing to change."""
    from meshhouse.lake.pyiceberg_private import remove_snapshots
    from meshhouse.lake.rewrite import exchange_files
    from meshhouse.maintenance.expiry import expired_snapshots

    with table.transaction() as transaction:
        if compaction.old or files.needs_new_manifests:
            exchange_files(transaction, compaction.old, compaction.new, same_rows=True)
        # Without a retention the clock has no say: it may be behind what the table says.
        since = datetime.now(UTC) - retention if retention else None
        expired = expired_snapshots(transaction.table_metadata, needed, since, newest)
        if expired:
            remove_snapshots(transaction, expired)
    return len(expired)


def _forget_snapshot(table: Table) -> None:
    """Removes the manifests of a refused snapshot; its data files are for the next attempt."""
    snapshot = table.current_snapshot()
    assert snapshot is not None
    manifests = snapshot.manifests(table.io)
    own = [each for each in manifests if each.added_snapshot_id == snapshot.snapshot_id]
    for location in (snapshot.manifest_list, *(each.manifest_path for each in own)):
        delete(location)


def _load(lake: Lake, relation: str) -> Table:
    table = lake.load(relation)
    assert table is not None, relation  # tables are never dropped
    lake.check_own(table)
    return table
