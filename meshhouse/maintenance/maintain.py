"""Maintenance of tables while others land and read.

Belongs here: choosing tables, locking, and committing to a table that others write to. Not
here: what is merged, expired or removed (compaction.py, expiry.py, lake/orphans.py, builds.py).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from meshhouse.errors import UsageError
from meshhouse.lake import Lake
from meshhouse.lake.damage import Damaged
from meshhouse.lake.heads import FILE_PER_DOMAIN
from meshhouse.lake.ledger import NUMBER, LakeLedger
from meshhouse.lake.object_store import is_remote
from meshhouse.lake.storage import delete, make_young
from meshhouse.ledger import Conflict
from meshhouse.locks import lock
from meshhouse.maintenance.retired import remove_retired
from meshhouse.repository.environment import workspace
from meshhouse.runs.retirement import SUFFIX as RETIRED
from meshhouse.runs.retirement import shown_as

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

    from meshhouse.maintenance.compaction import Compaction, Layout

A_DAY = timedelta(days=1)

KEPT_WHILE_LANDING = 25
"""Snapshots to keep during continuous landing; with 500, a commit takes ten times as long."""

_ATTEMPTS = 10


@dataclass(frozen=True)
class Maintained:
    """The result of maintaining one table."""

    relation: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    """Size of the data files of the current snapshot."""
    snapshots_expired: int
    orphans_removed: int
    """Removed unreferenced files of any kind: of expired snapshots and of killed runs."""
    orphan_bytes: int
    gave_up: bool = False
    """Other writers won every commit, so the table's files were not merged."""


Say = Callable[[str], None]


def maintain(
    lake: Lake,
    relations: Collection[str] = (),
    older_than: timedelta = A_DAY,
    retention: timedelta = A_DAY,
    say: Say = lambda line: None,
    retired_before: datetime | None = None,
) -> list[Maintained]:
    """Merges small files, expires snapshots and removes orphans.

    Without `relations`, also removes files of replaced builds that no publication refers to, and
    corrects the table of heads.
    With a catalog service, no file is removed.

    Landing and reading continue meanwhile. A second maintenance waits for the first one. A run
    of a domain and the maintenance of its products wait for each other, because a run cannot
    publish to a table that changed after the run had read it.

    Args:
        lake: where the tables are.
        relations: the tables; none means all.
        older_than: unreferenced files of at least this age are removed.
        retention: how long a replaced snapshot stays readable.
        say: is called with a message before a wait.
        retired_before: products that were retired before are removed; None keeps them all.

    Raises:
        UsageError: there is no such table.
    """

    def wait(holder: str) -> None:
        say(f"waiting for `mesh maintain` ({holder})")

    if retired_before is not None and not relations:
        with lock(lake.locks / "maintain", wait):
            remove_retired(lake, retired_before)
    chosen = _chosen(lake.states(), relations)
    locks = lake.locks
    done, maintained = [], set()
    with lock(locks / "maintain", wait):
        if not relations:
            _correct_heads(lake, say)
        needed = needed_of(lake)
        for relation in chosen:
            if relation in maintained:
                continue
            names = _names(lake, relation)
            maintained.update(names)
            with ExitStack() as held:
                # The lock of `mesh run` for the domain of a product or of a dbt snapshot's
                # history. No run takes this lock for other tables. A table that moved to another
                # domain has a name in both.
                for owner in owners_of(names):
                    waiting = f"{relation}: waiting for a run of {owner}"
                    path = locks / f"{owner}.run"
                    held.enter_context(lock(path, lambda holder, text=waiting: say(text)))
                done.append(
                    _maintain(lake, names[0], kept_of(names, needed), older_than, retention)
                )
        # With a catalog service, publications on one of its branches may refer to these files.
        if not relations and not lake.is_served:
            done += _maintain_builds(lake, older_than, say)
    return done


def _names(lake: Lake, relation: str) -> list[str]:
    """All names of a table; one with the number of a version is first, as others are aliases."""
    names = lake.names_at(lake.state(relation) or "") or [relation]
    return sorted(names, key=lambda each: re.search(r"_v\d+$", each) is None)


def _published(relation: str) -> str:
    """The name under which the ledger has a table, which may be retired."""
    before = shown_as(relation)
    return before[0] if before else relation


def kept_of(names: Collection[str], needed: Mapping[str, set[int]]) -> set[int]:
    """The snapshots of a table, given by all its names, that publications still need."""
    return set().union(*(needed.get(_published(each), set()) for each in names))


def owners_of(names: Collection[str]) -> list[str]:
    """The domains whose runs change a table, given by all its names, sorted."""
    return sorted({_owner(each) for each in names})


def _owner(relation: str) -> str:
    return relation.partition(".")[0].removesuffix("_build").removesuffix(RETIRED)


def _correct_heads(lake: Lake, say: Say) -> None:
    """Makes the heads from history, if they are damaged or do not say what it says."""
    ledger = LakeLedger(lake)
    try:
        wrong = ledger.stale_heads()
    except Damaged:
        wrong = ["meshhouse.heads"]
    if wrong:
        say(f"meshhouse.heads: made from the history again, because of {', '.join(wrong)}")
        ledger.rebuild_heads()


def _maintain_builds(lake: Lake, older_than: timedelta, say: Say) -> Iterator[Maintained]:
    """Removes files of replaced builds, after the snapshots of products that used them."""
    from meshhouse.engines.builds import building_domains
    from meshhouse.maintenance.builds import remove_replaced_builds

    for domain in building_domains(workspace(lake.home, lake.environment)):
        waiting = f"builds of {domain}: waiting for a run of {domain}"
        with lock(lake.locks / f"{domain}.run", lambda holder, text=waiting: say(text)):
            count, size = remove_replaced_builds(lake, domain, older_than)
        yield Maintained(f"builds of {domain}", 0, 0, 0, 0, 0, count, size)


def maintain_while_landing(lake: Lake, relation: str) -> bool:
    """Keeps commits to a table fast during continuous landing.

    Merges small files and drops all but the newest snapshots from the metadata, because each
    commit copies the list of all snapshots. It removes no files: readers that pinned an older
    metadata file can still read it. `maintain` removes unused files a day later.

    Returns:
        False if other writers won every commit; then the next call does the work.
    """
    needed = needed_of(lake).get(relation, set())
    return tidy(lake, relation, needed, timedelta(0), KEPT_WHILE_LANDING) is not None


def needed_of(lake: Lake) -> Mapping[str, set[int]]:
    """Relation -> snapshots that the ledger's publications still need."""
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
) -> Maintained:
    from meshhouse.lake.orphans import orphans
    from meshhouse.maintenance.compaction import layout

    before = layout(_load(lake, relation))
    expired = tidy(lake, relation, needed, retention)
    after = layout(_load(lake, relation))
    now = datetime.now(UTC)
    # With a catalog service, one of its branches may still refer to files that look orphaned.
    removed = [] if lake.is_served else orphans(lake, relation, now - older_than, now - retention)
    for file in removed:
        delete(file.location)
    return Maintained(
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


def tidy(
    lake: Lake, relation: str, needed: set[int], retention: timedelta, newest: int = 0
) -> int | None:
    """Commits a compaction and the expiry of snapshots, and retries after conflicts.

    Args:
        lake: where the table is.
        relation: the table.
        needed: snapshots that stay at any age.
        retention: how long a replaced snapshot stays in the metadata.
        newest: the number of newest snapshots that stay in any case.

    Returns:
        The number of expired snapshots; None if other writers won every attempt.
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
        # A file's age must count from now, when it stops being part of the table: readers may
        # have pinned the previous metadata file. So reset the file's modification time.
        for location in {file.file_path for file in compaction.old} | _left(dropped, still, table):
            # Leave files outside this lake alone, even if the metadata refers to them.
            if is_remote(location) or lake.owns(location):
                make_young(location)
        change = lake.staged(table, base)
        # All names of a table move together. `base` may be outdated: then `change` conflicts.
        aliases = [replace(change, relation=name) for name in lake.names_at(base)]
        try:
            lake.commit({each.relation: each for each in (*aliases, change)}.values())
        except Conflict:
            if table.metadata.current_snapshot_id != shown:
                _forget_snapshot(table)
            continue
        return expired
    # Discard only here: after any other failure the merged files may have been committed.
    if compaction is not None:
        compaction.discard()
    return None


def _left(dropped: Collection[Snapshot], still: Collection[str], table: Table) -> set[str]:
    """Files of dropped snapshots that the staged table no longer refers to.

    Args:
        dropped: the snapshots.
        still: data files of the current snapshot, which are left out.
        table: the staged table.
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
    """A compaction of the current table; reuses the earlier attempt if it still fits."""
    from meshhouse.maintenance.compaction import compact, layout, target_bytes

    files = layout(table)
    if earlier is not None:
        if earlier.fits(files.files):
            return earlier, files
        earlier.discard()
    is_split = FILE_PER_DOMAIN in table.properties
    to_merge = () if is_split else files.to_merge(target_bytes(table))
    # Old versions wrote ledger entries without a number. Numbering them by position is safe
    # only if all files are merged at once.
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
    """Stages compaction and expiry as one change; stages nothing if there is nothing to do."""
    from meshhouse.lake.pyiceberg_private import remove_snapshots
    from meshhouse.lake.rewrite import exchange_files
    from meshhouse.maintenance.expiry import expired_snapshots

    with table.transaction() as transaction:
        if compaction.old or files.needs_new_manifests:
            exchange_files(transaction, compaction.old, compaction.new, same_rows=True)
        # Without a retention, ignore the clock: it may be behind the times in the table.
        since = datetime.now(UTC) - retention if retention else None
        expired = expired_snapshots(transaction.table_metadata, needed, since, newest)
        if expired:
            remove_snapshots(transaction, expired)
    return len(expired)


def _forget_snapshot(table: Table) -> None:
    """Removes the manifests of a refused snapshot; the next attempt reuses its data files."""
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
