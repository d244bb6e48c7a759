"""Removes files of builds that neither a publication nor the newest build refers to.

Belongs here: expiring replaced builds and removing their files. Not here: tables of the lake,
whose history people read and roll back to (maintain.py).

A publication refers to the files of its build (zero-copy). So a file is kept as long as a
snapshot of a published table refers to it.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from meshhouse.engines.builds import audit_lake, plain_lake, work_lake
from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.orphans import files_in, name_of, referenced
from meshhouse.lake.storage import delete, plain_path
from meshhouse.ledger import Conflict
from meshhouse.repository.environment import stored_schema, workspace
from meshhouse.runs.retirement import SUFFIX as RETIRED


def remove_replaced_builds(lake: Lake, domain: str, older_than: timedelta) -> tuple[int, int]:
    """Removes the files of a domain's replaced builds.

    The caller must hold the lock of the domain's runs.

    Args:
        lake: where products are published.
        domain: the domain that was built.
        older_than: younger files are kept, because a build by plain dbt takes no lock.

    Returns:
        The number of removed files, and their size in bytes.
    """
    home = workspace(lake.home, lake.environment)
    schema = stored_schema(lake.environment, f"{domain}_build")
    work, plain = work_lake(home, domain), plain_lake(home, domain)
    for builds in (work, plain):
        for relation in builds.states():
            if relation.startswith(f"{schema}."):
                with suppress(Conflict):  # plain dbt is building: the next maintenance does it
                    _expire(builds, relation)
    shown = set()
    owners = _owners(lake, domain)
    products = {
        location
        for relation, location in lake.states().items()
        if relation.partition(".")[0].removesuffix(RETIRED) in owners
    }
    for location in products:
        shown |= _referenced(lake, location)
    before = (datetime.now(UTC) - older_than).timestamp()
    count = size = 0
    for builds in (work, plain, audit_lake(home, domain)):
        # List the files before reading the references; lake/orphans.py says why.
        found = list(files_in(builds.location))
        kept = shown | _of_build(builds)
        for file in found:
            if file.name not in kept and file.written_at < before:
                delete(file.location)
                count, size = count + 1, size + file.bytes
        _remove_empty_folders(builds.warehouse)
    return count, size


def _owners(lake: Lake, domain: str) -> set[str]:
    """A domain, and those to which its products moved, directly or by way of others.

    A product that moved refers to files that each of its earlier domains built.
    """
    found = {domain}
    for entry in LakeLedger(lake).renames():
        if str(entry["renamed_from"]).partition(".")[0] in found:
            found.add(str(entry["domain"]))
    return found


def _of_build(builds: Lake) -> set[str]:
    """Names of all files of the tables in a lake of builds, except tables of other lakes."""
    names: set[str] = set()
    for location, kind in builds.everything().items():
        # Engines write the scheme of a local path differently, so compare plain paths.
        if plain_path(location).startswith(f"{plain_path(builds.location)}/"):
            names.add(name_of(location))
            if kind == "TABLE":
                names |= _referenced(builds, location)
    return names


def _referenced(lake: Lake, location: str) -> set[str]:
    table = lake.load("of.build", location)  # the name does not matter
    assert table is not None, location
    return referenced(table)


def _expire(builds: Lake, relation: str) -> None:
    """Drops all snapshots of a built table except the newest; older builds are never read."""
    from meshhouse.lake.pyiceberg_private import remove_snapshots

    table = builds.load(relation)
    assert table is not None, relation
    heads = {ref.snapshot_id for ref in table.metadata.refs.values()}
    old = [each.snapshot_id for each in table.metadata.snapshots if each.snapshot_id not in heads]
    if old:
        base = table.metadata_location
        with table.transaction() as transaction:
            remove_snapshots(transaction, old)
        builds.commit([builds.staged(table, base)])


def _remove_empty_folders(folder: Path) -> None:
    """Removes empty folders that partitions and dropped tables left."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
