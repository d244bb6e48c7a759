"""Reads of products in Spark's event logs.

Belongs here: finding finished logs in a folder, and the products and columns that their queries
read. Not here: keeping reads (usage/store.py).

An event log has one JSON document a line. The plan of a query names each table that it scans, with
the columns that Spark reads of it: `BatchScan mesh.sales.orders[order_id#3L, amount#9] ...`.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import IO, Any

from meshhouse.engines.histories import Imported, Known, shared
from meshhouse.errors import MeshError, UsageError
from meshhouse.usage.reads import HISTORY, UNKNOWN, Read, clean
from meshhouse.usage.store import ReadStore

SOURCE = "spark"
CONSUMER = "spark.meshhouse.consumer"
"""Setting by which an application names its consumer."""
_SQL = "org.apache.spark.sql.execution.ui.SparkListenerSQL"
_BEGIN = '{"Event":"SparkListener'
_ROLLING = "eventlog_v2_"
CATALOG = "mesh"
"""What applications call the lake's catalog, see the pages of products."""
_IN_PROGRESS = ".inprogress"
_SCAN = re.compile(r"^BatchScan (?P<name>\S+)$")
_COLUMN = re.compile(r"(?:^|, )(?P<name>.+?)#\d+L?(?=, |$)", re.DOTALL)
_CUT = re.compile(r"\.\.\. \d+ more fields")
_OF_RUNS = re.compile(r"_(work|dbt|audit)_[0-9a-f]+$")
"""Catalogs in which the mesh builds and audits; the ledger has what they read."""
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Log:
    """The event log of one application."""

    id: str
    """Its name, which is the application's id and attempt."""
    files: tuple[Path, ...]
    is_finished: bool


def import_logs(store: ReadStore, folder: Path | None, known: Known) -> Imported:
    """Adds the reads of the finished logs of a folder, each log once.

    Raises:
        UsageError: the folder does not exist.
    """
    if folder is None:
        raise UsageError("Name the folder of Spark's event logs: the setting spark.eventLog.dir.")
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder. Name that of spark.eventLog.dir.")
    found = logs_in(folder)
    finished = [each for each in found if each.is_finished]
    before = store.imported(SOURCE)
    added, others, broken = 0, [], []
    for log in finished:
        if log.id in before:
            continue
        try:
            reads = _of_log(log, known)
        except MeshError as error:  # the others count all the same, and it is tried again next time
            broken.append(f"{log.id} ({error})")
            continue
        if reads is None:
            others.append(log.id)
        else:
            added += store.add(SOURCE, [(log.id, reads)])
    waiting = [each.id for each in found if not each.is_finished]
    left_out = {
        "the application still runs or was killed": waiting,
        "not an event log": others,
        "cannot be read": broken,
    }
    notes = (f"Left out, {why}: {', '.join(names)}." for why, names in left_out.items() if names)
    return Imported(added, "log", "logs", tuple(notes), is_whole=not broken)


def logs_in(folder: Path) -> list[Log]:
    """The event logs of a folder, rolling ones included, by name."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(("appstatus_", ".", "_")):
            continue
        if path.is_dir() and path.name.startswith(_ROLLING):
            status = list(path.glob("appstatus_*"))
            files = sorted(path.glob("events_*"), key=_position)
            running = not status or any(each.name.endswith(_IN_PROGRESS) for each in status)
            found.append(Log(path.name.removeprefix(_ROLLING), tuple(files), not running))
        elif path.is_file():
            name = path.name.removesuffix(_IN_PROGRESS)
            log = name.partition(".")[0] if path.suffix in _CODECS else name
            found.append(Log(log, (path,), not path.name.endswith(_IN_PROGRESS)))
    return found


def reads_of(lines: Iterable[str], known: Known) -> list[Read]:
    """The reads of one application, in the order of its queries.

    Args:
        lines: its event log.
        known: the products whose reads count.
    """
    seen = _Application()
    damaged = 0
    for line in lines:
        try:
            seen.take(json.loads(line), known)
        except _DAMAGE:
            damaged += bool(line.strip())
    reads = [read for query in seen.queries.values() for read in seen.reads(query, known)]
    if damaged:
        # The time of a damaged line is unknown, so it counts as one of now.
        at = datetime.now(UTC)
        about = at, UNKNOWN, None, seen.user, seen.consumer, f"{HISTORY}{SOURCE}"
        reads.append(Read(*about, count=damaged))
    return reads


_DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError
)  # fmt: skip
"""What a damaged line raises: OSError for a time that the operating system does not know."""


@dataclass
class _Query:
    """One query, with those that Spark runs for it."""

    at: datetime
    scans: dict[str, set[str] | None] = field(default_factory=dict)
    """Product -> columns; None if they are unknown."""
    ended: datetime | None = None
    has_failed: bool = False
    bytes: int = 0


@dataclass
class _Application:
    user: str = "unknown"
    consumer: str = ""
    queries: dict[int, _Query] = field(default_factory=dict)
    roots: dict[int, int] = field(default_factory=dict)
    """Execution -> the query for which it runs."""
    stages: dict[int, int] = field(default_factory=dict)

    def take(self, event: dict[str, Any], known: Known) -> None:
        """Takes one event of the log."""
        match event["Event"]:
            case "SparkListenerApplicationStart":
                self.user = clean(str(event["User"]))
            case "SparkListenerEnvironmentUpdate":
                self.consumer = clean(str(event["Spark Properties"].get(CONSUMER, "")))
            case "SparkListenerJobStart":
                execution = (event.get("Properties") or {}).get("spark.sql.execution.id")
                if execution is not None:
                    self.stages.update(dict.fromkeys(event["Stage IDs"], int(execution)))
            case "SparkListenerStageCompleted":
                self._stage(event["Stage Info"])
            case name if name == f"{_SQL}ExecutionStart":
                self._start(event, known)
            case name if name == f"{_SQL}ExecutionEnd":
                query = self.queries[self.roots[event["executionId"]]]
                query.ended = _time(event["time"])
                query.has_failed |= bool(event.get("errorMessage"))

    def reads(self, query: _Query, known: Known) -> Iterator[Read]:
        """The reads of one query; none if it failed or did not end."""
        if query.ended is None or query.has_failed:
            return
        spent = round((query.ended - query.at).total_seconds() * 1000)
        times, sizes = shared(spent, query.scans), shared(query.bytes, query.scans)
        for product, columns in query.scans.items():
            names = None if columns is None else known.names(product, columns)
            yield Read(
                query.at, product, names, self.user, self.consumer, f"{HISTORY}{SOURCE}",
                bytes=sizes[product], milliseconds=times[product],
            )  # fmt: skip

    def _start(self, event: dict[str, Any], known: Known) -> None:
        execution = event["executionId"]
        root = event.get("rootExecutionId")
        root = root if root in self.queries else execution
        self.roots[execution] = root
        query = self.queries.setdefault(root, _Query(_time(event["time"])))
        for catalog, product, columns in _scans(event["sparkPlanInfo"]):
            if product not in known.columns:
                continue
            if catalog != CATALOG:  # it may be this lake's or another one's
                query.scans[UNKNOWN] = None
                continue
            before = query.scans.setdefault(product, set())
            if columns is None or before is None:
                query.scans[product] = None
            else:
                before.update(columns)

    def _stage(self, stage: dict[str, Any]) -> None:
        root = self.roots.get(self.stages.get(stage["Stage ID"], -1), -1)
        if root in self.queries:
            self.queries[root].bytes += sum(
                int(each["Value"])
                for each in stage.get("Accumulables", ())
                if each.get("Name") == "internal.metrics.input.bytesRead"
            )


def _scans(plan: dict[str, Any]) -> Iterator[tuple[str, str, list[str] | None]]:
    """Catalog, table and columns of each table that a plan scans; None if Spark cut the columns."""
    waiting = [plan]
    while waiting:
        node = waiting.pop()
        waiting += node["children"]
        found = _SCAN.match(node["nodeName"])
        parts = found["name"].split(".") if found else []
        if len(parts) == 3 and not _OF_RUNS.search(parts[0]):
            columns = _columns(node["nodeName"], node["simpleString"])
            yield parts[0].lower(), ".".join(parts[1:]).lower(), columns


def _columns(name: str, text: str) -> list[str] | None:
    listed = text.removeprefix(name).partition("] IcebergScan(")
    if not listed[1] or not listed[0].startswith("[") or _CUT.search(listed[0]):
        return None
    return [each["name"] for each in _COLUMN.finditer(listed[0][1:])]


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _position(path: Path) -> tuple[int, str]:
    """The number of a file of a rolling log: `events_10_...` comes after `events_9_...`."""
    number = _NUMBER.search(path.name)
    return int(number[0]) if number else 0, path.name


def _of_log(log: Log, known: Known) -> list[Read] | None:
    """The reads of a log; None if the file is not a log of Spark's.

    Raises:
        MeshError: it cannot be read.
    """
    import pyarrow as pa

    def lines() -> Iterator[str]:
        for path in log.files:
            with _opened(path) as file:
                yield from file

    try:
        found = lines()
        first = next(found, "")
        return reads_of(chain([first], found), known) if _BEGIN in first[:100] else None
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise MeshError(" ".join(str(error).split()) or type(error).__name__) from error


_CODECS = {".zstd", ".gz", ".lz4", ".lzf", ".snappy"}


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    if path.suffix in (".lz4", ".lzf", ".snappy"):
        raise MeshError(
            f"it is compressed in Spark's own form of {path.suffix[1:]}: set "
            "spark.eventLog.compression.codec=zstd, which is Spark's default"
        )
    if path.suffix == ".zstd":
        import pyarrow as pa

        raw = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
        with io.TextIOWrapper(io.BufferedReader(raw), encoding="utf-8", errors="replace") as file:
            yield file
    elif path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
            yield file
    else:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield file
