"""Keeping reads: lines become rows of one table, each exactly once.

Belongs here: the table, folding files into it, and how far each source was read. Not here: what the
rows say (usage.py).

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
from meshhouse.usage.reads import HISTORY, Read, from_line
from meshhouse.usage.record import LINES, MOST_BYTES, folder_of

NAME = "reads.db"
KEPT = timedelta(days=400)
"""How long rows are kept: a year, and a month to compare it with the year before."""
_OPEN_DAYS = 2
"""Days after which nobody appends to the file of a day any more, whatever clocks say."""
_WAIT_SECONDS = 10
_AT_ONCE = 10_000
"""Lines whose reads are in memory at once: a full file of 300,000 takes 400 MiB otherwise."""
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
            for path in self._files():
                lines += _fold_file(table, path)
            self._begin(table, now)
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
        reads, positions, began = self._stored(since)
        for path in self._files():
            new = _lines(path, positions.get(path.name, 0))[0]
            reads += [each for line in new for each in from_line(line)]
        known = [each.at for each in reads] if began is None else [began]
        return Kept(min(known, default=None), tuple(reads))

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
            for query, reads in queries:
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
        if table.execute("select 1 from facts where name = 'since'").fetchone():
            return
        [first] = table.execute(
            f"select min(at) from reads where via not like '{HISTORY}%'"
        ).fetchone()
        table.execute(
            "insert into facts values ('since', ?)",
            [min(first or now.isoformat(), now.isoformat())],
        )

    def _stored(self, since: datetime | None) -> tuple[list[Read], dict[str, int], datetime | None]:
        """The rows, the positions of files, and since when reads are recorded."""
        path = self._table
        if path is None or not path.exists():
            return [], {}, None
        with _opened(path) as table:
            table.execute("begin")  # rows and positions of the same instant
            first = since.astimezone(UTC).date().isoformat() if since else ""
            rows = table.execute("select * from reads where day >= ?", [first]).fetchall()
            positions = dict(table.execute("select name, position from files").fetchall())
            began = table.execute("select value from facts where name = 'since'").fetchone()
        return (
            [_read(row) for row in rows],
            positions,
            datetime.fromisoformat(began[0]) if began else None,
        )

    def _files(self) -> list[Path]:
        try:
            return sorted(self._folder.glob(f"*{LINES}")) if self._folder else []
        except OSError:
            return []

    def _remove_old(self, now: datetime) -> None:
        """Removes files of days that are over and folded whole."""
        last = (now - timedelta(days=_OPEN_DAYS)).date().isoformat()
        old = [each for each in self._files() if each.name[: len(last)] < last]
        if not old or self._folder is None:
            return
        with self._writing() as table:
            for path in old:
                found = table.execute(
                    "select position from files where name = ?", [path.name]
                ).fetchone()
                with suppress(OSError):
                    if found and found[0] == path.stat().st_size:
                        path.unlink()
                        table.execute("delete from files where name = ?", [path.name])


def store_of(repository: Repository) -> ReadStore:
    """The reads of a mesh, or of the environment in use."""
    return ReadStore(folder_of(repository))


def _until(source: str) -> str:
    """Name of the fact how far a source was read."""
    return f"until {source}"


def _fold_file(table: sqlite3.Connection, path: Path) -> int:
    found = table.execute("select position from files where name = ?", [path.name]).fetchone()
    lines, end = _lines(path, found[0] if found else 0)
    for first in range(0, len(lines), _AT_ONCE):
        some = lines[first : first + _AT_ONCE]
        _add(table, [read for line in some for read in from_line(line)])
    if lines:
        table.execute("insert or replace into files values (?, ?)", [path.name, end])
    return len(lines)


def _lines(path: Path, begin: int) -> tuple[list[bytes], int]:
    """The whole lines of a file from a position on, and the position after them."""
    try:
        with path.open("rb") as file:
            file.seek(begin)
            content = file.read()
    except OSError:  # another process has folded and removed it, or it is another user's
        return [], begin
    end = content.rfind(b"\n") + 1
    lines = content[:end].splitlines()
    if begin < MOST_BYTES <= begin + end:
        lines.append(b"full")  # what came after it is unknown
    return lines, begin + end


def _add(table: sqlite3.Connection, reads: Iterable[Read]) -> None:
    together: dict[tuple[object, ...], list[Read]] = defaultdict(list)
    for each in reads:
        key = (each.day, each.product, each.columns, each.user, each.consumer, each.via)
        together[key].append(each)
    table.executemany(_ADD, [_row(_sum(each)) for each in together.values()])


def _sum(reads: Sequence[Read]) -> Read:
    """Reads with the same key as one."""
    totals = {}
    for name in ("rows", "bytes", "milliseconds", "nanocredits"):
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
