"""Keeping reads: lines become rows of one table, each exactly once.

Belongs here: the table, folding files into it, and how far each source was read. Not here: what is
new in a file (lines.py), or what the rows say (usage.py).

The table has one row for each product, set of columns, consumer, user, way and day, so its size
does not grow with the number of queries. Each file of lines is remembered with the position up to
which it was folded, in the same transaction as the rows. So a crash neither loses nor repeats a
line, and the files need no lock: a process that appends never waits.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from meshhouse.errors import MeshError
from meshhouse.repository import Repository
from meshhouse.usage.lines import KEPT, dated, new_lines
from meshhouse.usage.reads import Read, unknown
from meshhouse.usage.record import LINES, folder_of

NAME = "reads.db"
_OPEN_DAYS = 2
"""Days after which nobody appends to the file of a day any more."""
_SINCE, _FOLDED = "since", "folded"
"""Names of facts: since when reads are recorded, and when the folder was last folded."""
_WAIT_SECONDS = 10
_LARGEST = 2**50
"""Of an imported figure: 1 PiB, 35,000 years, a million credits. SQLite sums up to 2**63."""
_FIGURES = ("rows", "bytes", "milliseconds", "nanocredits")
_SCHEMA = """
create table if not exists reads (
    day text, product text, columns text, user text, consumer text, via text,
    at text, count integer, rows integer, bytes integer, milliseconds integer, nanocredits integer,
    primary key (day, product, columns, user, consumer, via)
);
create table if not exists files (name text primary key, position integer);
create table if not exists queries (
    source text, query text, at text, primary key (source, query)
);
create table if not exists facts (name text primary key, value text);
"""
_ADD = """
insert into reads values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do update set
    at = max(at, excluded.at),
    count = count + excluded.count,
    rows = case when rows is null then excluded.rows
        else rows + coalesce(excluded.rows, 0) end,
    bytes = case when bytes is null then excluded.bytes
        else bytes + coalesce(excluded.bytes, 0) end,
    milliseconds = case when milliseconds is null then excluded.milliseconds
        else milliseconds + coalesce(excluded.milliseconds, 0) end,
    nanocredits = case when nanocredits is null then excluded.nanocredits
        else nanocredits + coalesce(excluded.nanocredits, 0) end
"""


@dataclass(frozen=True)
class Kept:
    """All reads that are known."""

    since: datetime | None
    """Since when reads are recorded; None if nobody knows."""
    reads: tuple[Read, ...]


class ReadStore:
    """The folder of a mesh's reads."""

    def __init__(self, folder: Path | None) -> None:
        """Takes the folder; None if no reads are recorded."""
        self._folder = folder

    def fold(self, now: datetime | None = None) -> int:
        """Moves new lines into the table, and removes files and rows that are no longer needed.

        Returns:
            The number of lines.

        Raises:
            MeshError: the folder cannot be written, or the table is damaged.
        """
        if self._folder is None:
            return 0
        now = now or datetime.now(UTC)
        with self._writing() as table:
            lines = 0
            folded = _fact(table, _FOLDED)
            for path in self._files():
                lines += _fold_file(table, path, folded, now)
            self._begin(table, now)
            table.execute("insert or replace into facts values (?, ?)", [_FOLDED, now.isoformat()])
            for rows in ("reads where day", "queries where at"):
                table.execute(f"delete from {rows} < ?", [(now - KEPT).date().isoformat()])
        self._remove_old(now)
        return lines

    def read(self, since: datetime | None = None) -> Kept:
        """All reads from a time on, those in files included; works without the right to write.

        Raises:
            MeshError: the table is damaged.
        """
        if self._folder is None:
            return Kept(None, ())
        with suppress(MeshError):  # then the lines are read here, and folded by another user
            self.fold()
        stored, now = self._stored(since), datetime.now(UTC)
        reads, began, files = [*stored.reads], stored.since, self._files()
        for path in files:
            found = new_lines(path, stored.positions.get(path.name, 0))
            if found is None:
                reads.append(unknown("file that cannot be read"))
            else:
                reads += dated(found.reads(), stored.folded, now)
        # What lines say proves nothing: before the first fold, reads are recorded since now.
        return Kept(began or (now if files else None), tuple(reads))

    def add(
        self, source: str, queries: Iterable[tuple[str, Sequence[Read]]], until: str = ""
    ) -> int:
        """Adds imported queries, those only that were not added before, in one transaction.

        Args:
            source: where they come from.
            queries: id and reads of each query.
            until: how far the source was read; `position` returns it next time.

        Returns:
            The number of new queries.
        """
        added = 0
        now = datetime.now(UTC)
        with self._writing() as table:
            self._begin(table, now)
            for query, found in queries:
                reads = [_plausible(each, now) for each in found]
                at = max((each.at for each in reads), default=now).isoformat()
                known = table.execute(
                    "insert or ignore into queries values (?, ?, ?)", [source, query, at]
                )
                if known.rowcount:
                    added += 1
                    _add(table, reads)
            if until:
                table.execute("insert or replace into facts values (?, ?)", [_until(source), until])
        return added

    def imported(self, source: str) -> set[str]:
        """Ids of the queries of a source that were added."""
        path = self._table
        if path is None or not path.exists():
            return set()
        with _opened(path) as table:
            rows = table.execute("select query from queries where source = ?", [source])
            return {query for (query,) in rows.fetchall()}

    def note_since(self, since: datetime) -> None:
        """Notes that reads are recorded from an earlier time on, by an imported history."""
        with self._writing() as table:
            self._begin(table, since)
            table.execute(
                "update facts set value = min(value, ?) where name = 'since'",
                [since.astimezone(UTC).isoformat()],
            )

    def forget(self, source: str, before: datetime) -> None:
        """Forgets ids of queries that the source will not return again."""
        with self._writing() as table:
            table.execute(
                "delete from queries where source = ? and at < ?",
                [source, before.astimezone(UTC).isoformat()],
            )

    def position(self, source: str) -> str | None:
        """How far a source was read; None if it never was."""
        path = self._table
        if path is None or not path.exists():
            return None
        with _opened(path) as table:
            found = table.execute(
                "select value from facts where name = ?", [_until(source)]
            ).fetchone()
        return found[0] if found else None

    @property
    def _table(self) -> Path | None:
        return self._folder / NAME if self._folder else None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self._folder is None:
            raise MeshError("No reads are recorded, because MESH_READS is `off`. Unset it.")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MeshError(f"{self._folder} cannot be written: {error.strerror}.") from error
        with _opened(self._folder / NAME, for_writing=True) as table:
            table.execute("begin immediate")
            yield table
            table.execute("commit")

    def _begin(self, table: sqlite3.Connection, now: datetime) -> None:
        """Notes since when reads are recorded, the first time."""
        at = now.astimezone(UTC).isoformat()
        table.execute("insert or ignore into facts values (?, ?)", [_SINCE, at])

    def _stored(self, since: datetime | None) -> _Stored:
        path = self._table
        if path is None or not path.exists():
            return _Stored([], {}, None, None)
        with _opened(path) as table:
            table.execute("begin")  # rows and positions of the same instant
            first = since.astimezone(UTC).date().isoformat() if since else ""
            rows = table.execute("select * from reads where day >= ?", [first]).fetchall()
            positions = dict(table.execute("select name, position from files").fetchall())
            began, folded = _fact(table, _SINCE), _fact(table, _FOLDED)
        return _Stored([_read(row) for row in rows], positions, began, folded)

    def _files(self) -> list[Path]:
        try:
            return sorted(self._folder.glob(f"*{LINES}")) if self._folder else []
        except OSError:
            return []

    def _remove_old(self, now: datetime) -> None:
        """Removes files of days that are over and folded whole.

        A reader whose clock is wrong may still append to the file of a day long ago.
        """
        over = now - timedelta(days=_OPEN_DAYS)
        last = over.date().isoformat()
        old = [each for each in self._files() if each.name[: len(last)] < last]
        if not old or self._folder is None:
            return
        with self._writing() as table:
            for path in old:
                found = table.execute(
                    "select position from files where name = ?", [path.name]
                ).fetchone()
                with suppress(OSError):
                    about = path.lstat()
                    changed = datetime.fromtimestamp(about.st_mtime, UTC)
                    if found and found[0] == about.st_size and changed < over:
                        path.unlink()
                        table.execute("delete from files where name = ?", [path.name])


def store_of(repository: Repository) -> ReadStore:
    """The reads of a mesh, or of the environment in use."""
    return ReadStore(folder_of(repository))


def _until(source: str) -> str:
    """Name of the fact how far a source was read."""
    return f"until {source}"


def _fact(table: sqlite3.Connection, name: str) -> datetime | None:
    found = table.execute("select value from facts where name = ?", [name]).fetchone()
    return datetime.fromisoformat(found[0]) if found else None


def _fold_file(
    table: sqlite3.Connection, path: Path, folded: datetime | None, now: datetime
) -> int:
    position = table.execute("select position from files where name = ?", [path.name]).fetchone()
    found = new_lines(path, position[0] if position else 0)
    if found is None:
        return 0
    for reads in found.batches():
        _add(table, dated(reads, folded, now))
    if position is None or position[0] != found.end:
        table.execute("insert or replace into files values (?, ?)", [path.name, found.end])
    return len(found.lines)


@dataclass(frozen=True)
class _Stored:
    """What the table has."""

    reads: list[Read]
    positions: dict[str, int]
    """Of files: up to where they are folded."""
    since: datetime | None
    folded: datetime | None
    """When the folder was last folded."""


def _plausible(read: Read, now: datetime) -> Read:
    """An imported read, without a later time and without figures that cannot be."""
    figures = {}
    for name in _FIGURES:
        value = getattr(read, name)
        figures[name] = value if value is not None and 0 <= value <= _LARGEST else None
    return replace(read, at=min(read.at, now), **figures)


def _add(table: sqlite3.Connection, reads: Iterable[Read]) -> None:
    together: dict[tuple[object, ...], list[Read]] = defaultdict(list)
    for each in reads:
        key = (each.day, each.product, each.columns, each.user, each.consumer, each.via)
        together[key].append(each)
    table.executemany(_ADD, [_row(_sum(each)) for each in together.values()])


def _sum(reads: Sequence[Read]) -> Read:
    """Reads with the same key as one."""
    totals = {}
    for name in _FIGURES:
        known = [value for each in reads if (value := getattr(each, name)) is not None]
        totals[name] = sum(known) if known else None
    newest = max(each.at for each in reads)
    return replace(reads[0], at=newest, count=sum(each.count for each in reads), **totals)


def _row(read: Read) -> tuple[object, ...]:
    columns = "" if read.columns is None else json.dumps(read.columns)
    return (
        read.day.isoformat(), read.product, columns, read.user, read.consumer, read.via,
        read.at.isoformat(), read.count, read.rows, read.bytes, read.milliseconds,
        read.nanocredits,
    )  # fmt: skip


def _read(row: Sequence[object]) -> Read:
    _, product, columns, user, consumer, via, at, count, *figures = row
    return Read(
        datetime.fromisoformat(str(at)), str(product),
        tuple(json.loads(str(columns))) if columns else None,
        str(user), str(consumer), str(via), int(str(count)), *figures,
    )  # fmt: skip


@contextmanager
def _opened(path: Path, for_writing: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection to the table.

    Raises:
        MeshError: the file cannot be used.
    """
    mode = "rwc" if for_writing else "ro"
    try:
        with closing(
            sqlite3.connect(
                f"{path.as_uri()}?mode={mode}", uri=True, timeout=_WAIT_SECONDS,
                isolation_level=None,
            )
        ) as table:  # fmt: skip
            if for_writing:
                table.executescript(_SCHEMA)
            yield table
    except sqlite3.Error as error:
        raise MeshError(
            f"The reads in {path} cannot be used: {error}. If the file is damaged, move it away; "
            "reads are then counted from today on."
        ) from error
