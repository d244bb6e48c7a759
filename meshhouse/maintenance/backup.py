"""Backup: a consistent copy of a mesh, taken while runs and landing continue.

Belongs here: the content of a backup, and the order of copying. Not here: the folder that
holds the backup (bundle.py), or making a mesh from it (restore.py).

The order makes the copy consistent:

1. Private builds. A build that is older than the lake adds the missing rows at its next run; a
   newer one would add rows twice.
2. The catalog, in one transaction, and the files it refers to. They never change, and
   maintenance waits until they are copied.
3. The event log. It must hold every event that the catalog lists as landed.
"""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from meshhouse.errors import MeshError, UsageError
from meshhouse.lake import Lake
from meshhouse.lake.object_store import is_remote
from meshhouse.lake.orphans import locations
from meshhouse.lake.storage import plain_path
from meshhouse.locks import folder_lock, lock
from meshhouse.maintenance.bundle import Bundle, Held, Index
from meshhouse.repository.environment import ENVIRONMENTS
from meshhouse.usage.record import LINES
from meshhouse.usage.store import NAME as READS

Say = Callable[[str], None]


@dataclass
class _Taking:
    """A backup while it is being taken."""

    lake: Lake
    bundle: Bundle
    say: Say
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    files: dict[str, Held] = field(default_factory=dict)

    def add(self, path: str, source: str) -> None:
        if path not in self.files:
            self.files[path] = self.bundle.add(self.id, path, source)

    def add_from_home(self, path: Path) -> None:
        self.add(f"home/{path.relative_to(self.lake.home).as_posix()}", str(path))


def back_up(
    lake: Lake, folder: str, overwrite: bool = False, say: Say = lambda line: None
) -> Index:
    """Copies a mesh: its tables with their history, ledgers, builds and event log.

    Args:
        lake: the mesh's lake.
        folder: an empty folder, or `s3://bucket/folder`.
        overwrite: replace the backup in the folder; the old one is kept until the new one is
            complete.
        say: is called with progress messages, which include sizes.

    Returns:
        The index of the backup.

    Raises:
        UsageError: there is nothing to back up, or the folder is not empty.
        MeshError: a file in use is missing, or a file could not be written.
    """
    bundle = Bundle(folder)
    if not bundle.is_remote and Path(bundle.place).is_relative_to(lake.home):
        raise UsageError(f"{bundle.place} is inside the mesh's own folder. Name another one.")
    _check_source(lake)
    bundle.check_free(overwrite)
    taking = _Taking(lake, bundle, say)
    with ExitStack() as held:
        for workspace in _workspaces(lake.home):
            held.enter_context(
                lock(
                    workspace / "locks" / "maintain",
                    lambda holder: say(f"waiting for `mesh maintain` ({holder})"),
                )
            )
        # A state and its topic must be of the same instant.
        for path in sorted((lake.home / "extract").glob("*.lock")):
            held.enter_context(lock(path, lambda holder: say(f"waiting for process {holder}")))
        known = bundle.index()
        bundle.sweep(known.id if known else None)
        _add_tail(taking)
        _add_extracted(taking)
        _add_reads(taking)
        _add_builds(taking)
        _add_lake(taking)
        _add_events(taking)
        return _finish(taking)


def _finish(taking: _Taking) -> Index:
    index = Index(
        id=taking.id,
        home=str(taking.lake.home),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=tuple(sorted(taking.files.values(), key=lambda each: each.path)),
        not_included=tuple(_not_included(taking.lake.home)),
    )
    taking.bundle.finish(index)
    return index


def _check_source(lake: Lake) -> None:
    if lake.is_served:
        raise UsageError(
            "The catalog is a service, which stores the metadata locations of tables itself: back "
            "up the service and its bucket as its manual says. `mesh backup` copies a mesh whose "
            "catalog is a file."
        )
    lake.states()  # updates the paths of a lake that was moved
    if not lake.catalog_path.exists() and not (lake.home / "events").exists():
        raise UsageError(f"There is nothing to back up in {lake.home}: nothing was landed yet.")


def _workspaces(home: Path) -> list[Path]:
    return [home, *sorted(path for path in (home / ENVIRONMENTS).glob("*") if path.is_dir())]


def _not_included(home: Path) -> Iterator[str]:
    if (home / "kafka").exists():
        yield "the data of `mesh kafka`"
    if any(home.rglob("spark/*/lake/catalog.db")):
        yield "private builds of target spark: the next run builds them again"
    yield "the history of runs in Dagster's page, locks and logs"


def _add_tail(taking: _Taking) -> None:
    """How far log files were shipped. Copied before the events, so that no line is skipped."""
    for path in sorted((taking.lake.home / "tail").rglob("*")):
        if path.is_file():
            taking.add_from_home(path)


def _add_extracted(taking: _Taking) -> None:
    """Which files were extracted, and the parcels that are being sent."""
    for pattern in ("*.db", "*.arrow"):
        for path in sorted((taking.lake.home / "extract").glob(pattern)):
            taking.add_from_home(path)


def _add_reads(taking: _Taking) -> None:
    """Who read what. Copied before the lines, so that each line is in the table or follows it."""
    for workspace in _workspaces(taking.lake.home):
        table = workspace / "reads" / READS
        if table.exists():
            with tempfile.TemporaryDirectory(prefix="meshhouse-backup-") as folder:
                copy = Path(folder, READS)
                with (
                    closing(sqlite3.connect(table)) as source,
                    closing(sqlite3.connect(copy)) as target,
                ):
                    source.backup(target)
                taking.add(f"home/{table.relative_to(taking.lake.home).as_posix()}", str(copy))
        for path in sorted((workspace / "reads").glob(f"*{LINES}")):
            with suppress(FileNotFoundError):  # folded and removed meanwhile
                taking.add_from_home(path)


def _add_builds(taking: _Taking) -> None:
    """The DuckDB file of each domain, under the lock that keeps runs from writing to it."""
    for workspace in _workspaces(taking.lake.home):
        for file in sorted(workspace.glob("build/*/work.duckdb")):
            domain = file.parent.name
            waiting = f"builds of {domain}: waiting for a run of {domain}"
            path = workspace / "locks" / f"{domain}.run"
            with lock(path, lambda holder, text=waiting: taking.say(text)):
                before = len(taking.files)
                notes = sorted(file.parent.glob("*.json"))
                for each in (file, file.with_name("work.duckdb.wal"), *notes):
                    if each.exists():
                        taking.add_from_home(each)
            taking.say(f"builds of {domain}: {_summary([*taking.files.values()][before:])}")


def _add_lake(taking: _Taking) -> None:
    lake = taking.lake
    if not lake.catalog_path.exists():
        return
    with tempfile.TemporaryDirectory(prefix="meshhouse-backup-") as folder:
        copy = Path(folder, "catalog.db")
        with (
            closing(sqlite3.connect(lake.catalog_path)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("pragma journal_mode = delete")
            query = (
                "select table_namespace || '.' || table_name, metadata_location "
                "from iceberg_tables where catalog_name = ? "
                "and coalesce(iceberg_type, 'TABLE') = 'TABLE' order by 1"
            )
            tables = target.execute(query, (lake.name,)).fetchall()
        taking.add("home/lake/catalog.db", str(copy))
    for relation, location in tables:
        before = len(taking.files)
        _add_table(taking, relation, location)
        taking.say(f"{relation}: {_summary([*taking.files.values()][before:])}")


def _add_table(taking: _Taking, relation: str, location: str) -> None:
    try:
        table = taking.lake.load("of.backup", location)
        assert table is not None
        for each in sorted({location, *locations(table)}):
            taking.add(_path_of(taking.lake, each), each)
    except FileNotFoundError as error:
        raise MeshError(
            f"{relation} needs {error.filename or error}, which is missing, so the backup would "
            "be incomplete. `mesh doctor` lists all damage."
        ) from error


def _path_of(lake: Lake, location: str) -> str:
    """The path of a file inside a backup."""
    if is_remote(location):
        return f"store/{location.partition('://')[2]}"
    path = Path(plain_path(location))
    if ".." in path.parts or not path.is_relative_to(lake.home):
        raise MeshError(f"{path} is in use but not in {lake.home}: run `mesh doctor`.")
    return f"home/{path.relative_to(lake.home).as_posix()}"


def _add_events(taking: _Taking) -> None:
    """The embedded event log; a producer waits while its partition is copied."""
    root = taking.lake.home / "events"
    for topic in sorted(root.glob("[!~]*/topic.json")):
        before = len(taking.files)
        try:
            _add_topic(taking, topic)
        except FileNotFoundError:
            if topic.exists():
                raise
            # The topic was deleted meanwhile: the backup must not hold a part of it.
            prefix = f"home/events/{topic.parent.name}/"
            for path in [each for each in taking.files if each.startswith(prefix)]:
                del taking.files[path]
            continue
        events = [*taking.files.values()][before:]
        taking.say(f"events of {topic.parent.name}: {_summary(events)}")
    if (root / "cluster.json").exists():
        taking.add_from_home(root / "cluster.json")


def _add_topic(taking: _Taking, topic: Path) -> None:
    for partition in sorted(each for each in topic.parent.iterdir() if each.is_dir()):
        with folder_lock(partition / "lock", exclusive=False):
            for path in sorted(partition.iterdir()):
                if path.is_file() and path.name != "lock" and path.name[0] != "~":
                    taking.add_from_home(path)
    taking.add_from_home(topic)


def _summary(files: list[Held]) -> str:
    return f"{len(files):,} files, {_size(sum(each.bytes for each in files))}"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
