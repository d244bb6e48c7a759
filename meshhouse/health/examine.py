"""Runs all checks of a mesh; a check that fails does not stop the others.

Belongs here: the order of the checks, and the small ones. Not here: checks of the event log and
the ledger (events.py, ledger.py), or of one table's files (lake/damage.py).
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import duckdb

from meshhouse.engines import host_programs
from meshhouse.errors import MeshError, UsageError
from meshhouse.health.events import events
from meshhouse.health.finding import Finding, Level
from meshhouse.health.ledger import ledger
from meshhouse.health.streams import streams
from meshhouse.lake import Lake, catalog_file
from meshhouse.lake.damage import Damage, damage_of
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.ledger_readers import LOCK, reading
from meshhouse.ledger import LEDGERS
from meshhouse.locks import holders
from meshhouse.repository import Repository
from meshhouse.runs.status import broken_domains
from meshhouse.sinks import sink_states

_FEW_BYTES = 1024**3
_AHEAD = timedelta(minutes=2)
_PACKAGES = ("dbt-core", "dbt-duckdb", "duckdb", "pyiceberg", "pyarrow", "dagster")
_EXTENSIONS = ("duckdb-extension-avro", "duckdb-extension-iceberg", "duckdb-extension-httpfs")
_BACKUP = "Put it back from a backup (`mesh restore`)."


def examine(repository: Repository, lake: Lake | None, deep: bool = False) -> list[Finding]:
    """Checks everything that a mesh stores.

    Args:
        repository: where the mesh is declared.
        lake: its tables; None if the target does not keep them as files.
        deep: also read every data file and every event.
    """
    home = repository.home
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("declarations", lambda: _declarations(repository)),
        ("events", lambda: events(home, lake, deep)),
        ("streams", lambda: streams(repository)),
        ("locks", lambda: _locks(home)),
        ("disk", lambda: _disk(home)),
        ("versions", _versions),
    ]
    if lake is not None:
        checks = [
            ("catalog", lambda: _catalog(lake)),
            ("tables", lambda: _tables(lake, deep)),
            ("ledger", lambda: ledger(lake)),
            ("sinks", lambda: _sinks(repository, lake)),
            ("clock", lambda: _clock(lake)),
            *checks,
        ]
    return [finding for area, check in checks for finding in _guarded(area, check)]


def _guarded(area: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of a check; an error that stops the check becomes a finding too."""
    try:
        yield from check()
    except MeshError as error:
        yield Finding(area, area, Level.DAMAGED, str(error))
    except duckdb.Error as error:
        what = " ".join(str(error).split())[:200]
        yield Finding(area, area, Level.DAMAGED, what, "Repair the damage listed above first.")
    except OSError as error:
        what = f"{error.filename or ''} {error.strerror or error}".strip()
        remedy = "Check its permissions and the free disk space."
        yield Finding(area, area, Level.DAMAGED, what, remedy)


def _declarations(repository: Repository) -> Iterator[Finding]:
    broken = broken_domains(repository)
    for domain, because in broken.items():
        remedy = "Correct it; `mesh check` lists every mistake."
        yield Finding("declarations", domain, Level.DAMAGED, because, remedy)
    if not broken:
        count = len(repository.domains)
        yield Finding("declarations", "domains", Level.OK, f"{count} can be read")


def _catalog(lake: Lake) -> Iterator[Finding]:
    subject, file = "catalog.db", str(lake.catalog_path)
    if lake.is_served:
        count = len(lake.stored())
        yield Finding("catalog", "service", Level.OK, f"answers, and lists {count} tables")
        return
    with catalog_file.reading(lake.catalog_path) as connection:
        if connection is None:
            yield Finding("catalog", subject, Level.OK, "does not exist yet: nothing was landed")
            return
        try:
            told = [row[0] for row in connection.execute("pragma integrity_check(5)").fetchall()]
        except sqlite3.DatabaseError as error:
            told = [str(error)]
        columns = connection.execute("pragma table_info(iceberg_tables)").fetchall()
        log = connection.execute("pragma journal_mode").fetchone()[0]
    if told != ["ok"]:
        what = f"is damaged: {' '.join(' '.join(told).split())[:200]}"
        yield Finding("catalog", subject, Level.DAMAGED, what, _BACKUP, file)
    missing = {"metadata_location", "table_namespace"} - {column[1] for column in columns}
    if missing:
        what = f"lacks the columns {', '.join(sorted(missing))} of Iceberg's catalogs"
        yield Finding("catalog", subject, Level.DAMAGED, what, _BACKUP, file)
    if log == "wal":
        what = "has a write-ahead log from an older version, so readers need write permission"
        yield Finding("catalog", subject, Level.NOTE, what, "The next landing removes it.", file)
    if told == ["ok"] and not missing:
        count = len(lake.stored())
        yield Finding("catalog", subject, Level.OK, f"is intact, and lists {count} tables")


def _tables(lake: Lake, deep: bool) -> Iterator[Finding]:
    with reading(lake):
        yield from _of_tables(lake, deep)


def _of_tables(lake: Lake, deep: bool) -> Iterator[Finding]:
    for relation, location in sorted(lake.stored().items()):
        found = list(damage_of(relation, location, history=True, deep=deep))
        current = {each.file for each in damage_of(relation, location)} if found else set()
        for each in found:
            past = "" if each.file in current or deep else " (only an earlier snapshot needs it)"
            yield Finding(
                "tables",
                relation,
                Level.DAMAGED,
                f"{each.what}{past}",
                _remedy(each),
                each.file,
            )
        if not found:
            read = "can be read completely" if deep else "has all its files"
            yield Finding("tables", relation, Level.OK, read)


def _remedy(damage: Damage) -> str:
    schema = damage.relation.partition(".")[0]
    if schema.endswith(("_raw", "meshhouse")):
        return _BACKUP
    # A run needs the table's metadata and manifests, but reads none of its data files.
    again = f"; or build it again: `mesh run {schema} --force`"
    return (
        f"{_BACKUP} Or return to the previous publication: `mesh rollback {damage.relation}`"
        f"{again if damage.file.endswith('.parquet') else ''}."
    )


def _locks(home: Path) -> Iterator[Finding]:
    held = 0
    found_locks = {*home.glob("locks/**/*"), *home.glob("environments/*/locks/**/*")}
    # An open connection keeps old files of the ledger, and stops nobody.
    for path in sorted(each for each in found_locks if each.is_file() and each.name != LOCK):
        found = holders(path)
        if found is None:
            what = "the system does not say which process holds it"
            remedy = f"`lsof {path}` lists the processes that have it open."
            yield Finding("locks", path.name, Level.NOTE, what, remedy, str(path))
        for process in found or ():
            yield _held(path, process)
        held += 1 if found is None else len(found)
    if not held:
        yield Finding("locks", "locks", Level.OK, "no process on this machine holds a lock")


def _held(path: Path, process: int) -> Finding:
    if Path("/proc", str(process)).exists():
        what = f"is held by process {process}, which is running"
        return Finding("locks", path.name, Level.NOTE, what, "", str(path))
    what = f"is held, although process {process}, which took it, has ended"
    remedy = f"A child process may still hold it: `fuser {path}` names it. End it."
    return Finding("locks", path.name, Level.NOTE, what, remedy, str(path))


def _disk(home: Path) -> Iterator[Finding]:
    folder = next(each for each in (home, *home.parents) if each.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:,.1f} GiB free"
    if free < _FEW_BYTES:
        remedy = (
            "Free disk space before the next landing: `mesh maintain` removes files that nothing "
            "needs."
        )
        yield Finding("disk", str(home), Level.DAMAGED, f"only {text}", remedy)
    else:
        yield Finding("disk", str(home), Level.OK, text)
    if not os.access(folder, os.W_OK):
        what = "you have no permission to write to it"
        yield Finding("disk", str(home), Level.NOTE, what, "Only its owner can land and publish.")


def _sinks(repository: Repository, lake: Lake) -> Iterator[Finding]:
    if repository.environment:
        return  # sinks receive production's publications
    domains = [each for each in repository.readings if not each.problems]
    for each in sink_states(LakeLedger(lake), domains):
        subject = f"{each.product} to {each.sink}"
        waiting = (
            "1 publication waits" if each.waiting == 1 else f"{each.waiting} publications wait"
        )
        if each.problem:
            what = f"failed, and {waiting}: {each.problem}"
            remedy = f"Correct that, then run `mesh sinks --deliver {each.product}`."
            yield Finding("sinks", subject, Level.NOTE, what, remedy)
        elif each.waiting:
            remedy = (
                f"Run `mesh sinks --deliver {each.product}`. Runs in Dagster deliver only with the "
                "schedule `sinks_every_five_minutes`."
            )
            yield Finding("sinks", subject, Level.NOTE, waiting, remedy)
        else:
            number = "nothing, as nothing is published"
            number = f"publication {each.delivered}" if each.delivered is not None else number
            yield Finding("sinks", subject, Level.OK, f"has {number}")


def _clock(lake: Lake) -> Iterator[Finding]:
    now, newest, which = datetime.now(UTC), None, ""
    ledger = LakeLedger(lake)
    for name in LEDGERS:
        try:
            entries = ledger.entries(name)
        except MeshError:
            continue  # `_tables` reports the damage
        for entry in entries:
            at = entry.get("finished_at")
            if at is not None and (newest is None or at > newest):
                newest, which = at, name
    if newest is not None and newest > now + _AHEAD:
        what = f"the newest entry of {which} is dated {newest:%Y-%m-%d %H:%M:%S}, in the future"
        remedy = (
            "Correct this machine's clock (UTC). The order of entries is not affected, but "
            "freshness promises and `mesh maintain` compare times."
        )
        yield Finding("clock", "clock", Level.DAMAGED, what, remedy)
    else:
        yield Finding("clock", "clock", Level.OK, f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _versions() -> Iterator[Finding]:
    yield Finding("versions", "python", Level.OK, platform.python_version())
    for name in (*_PACKAGES, *_EXTENSIONS):
        found = _installed(name)
        if found is not None:
            yield Finding("versions", name, Level.OK, found)
        elif name != "duckdb-extension-httpfs":  # an extra
            yield Finding(
                "versions", name, Level.DAMAGED, "is not installed", "Run `make install`."
            )
    duckdb = _installed("duckdb")
    for name in _EXTENSIONS:
        found = _installed(name)
        if found is not None and duckdb is not None and not found.startswith(duckdb):
            what = f"is for DuckDB {found}, and DuckDB is {duckdb}"
            yield Finding("versions", name, Level.DAMAGED, what, "Run `make install`.")
    try:
        programs = host_programs()
    except UsageError as error:
        yield Finding("versions", "java", Level.DAMAGED, "is missing", str(error))
        return
    for name, found in programs.items():
        yield Finding("versions", name, Level.OK, found)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
