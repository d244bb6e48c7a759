"""The outbox: what is open, and every message with what became of it, in one SQLite file.

Belongs here: storing decisions before they are sent, in one transaction. Not here: deciding
(causes.py, changes.py), or sending (deliver.py).

A look writes what begins, what is over and all messages about it together. Only then are messages
sent, and marked as sent afterwards. A process that dies in between sends the same characters with
the same identity again; nothing is lost.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from meshhouse.errors import MeshError
from meshhouse.notices.causes import Cause
from meshhouse.notices.message import CLOSED
from meshhouse.notices.secrets import secrets, without_secrets

_TABLES = """
create table if not exists causes (
    key text primary key, begin text not null, cause text not null,
    opened_at text not null, closed_at text
);
create table if not exists told (
    key text not null, channel text not null, primary key (key, channel)
);
create table if not exists messages (
    id integer primary key, channel text not null, identity text not null, key text not null,
    state text not null, kind text not null, title text not null, body text not null,
    about text not null, queued_at text not null,
    attempts integer not null default 0, next_at text not null, sent_at text,
    problem text not null default '', unique (channel, identity)
);
create index if not exists begins on causes (begin);
create index if not exists waiting on messages (next_at) where sent_at is null;
create index if not exists queued on messages (channel, queued_at);
create table if not exists memory (name text primary key, value text not null);
"""
KEPT = timedelta(days=90)
"""How long sent messages and closed causes are kept."""
_PATIENCE = 30.0
"""Seconds that a reader waits for a writer."""


@dataclass(frozen=True)
class OpenCause:
    """A cause that has an opening message and no closing one."""

    cause: Cause
    opened_at: datetime


@dataclass(frozen=True)
class Queued:
    """A message for one channel."""

    number: int
    channel: str
    identity: str
    key: str
    state: str
    kind: str
    title: str
    body: str
    about: tuple[str, ...]
    """Keys of all that it says; a digest has many."""
    queued_at: datetime
    attempts: int
    next_at: datetime
    sent_at: datetime | None
    problem: str
    """Why the last attempt failed."""


@dataclass(frozen=True)
class Addressed:
    """A message that is about to be queued for one channel."""

    channel: str
    identity: str
    key: str
    state: str
    kind: str
    title: str
    body: str
    about: tuple[str, ...]
    """Keys of all that it says. The channel hears again when causes among them are over."""


class Outbox:
    """The file. Writers hold the lock of `look.py`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def exists(self) -> bool:
        """Whether a look was ever made."""
        return self._path.exists()

    def open_causes(self) -> list[OpenCause]:
        """What is wrong, as the last look found it; the oldest first."""
        rows = self._rows(
            "select cause, opened_at from causes where closed_at is null order by opened_at, rowid"
        )
        return [OpenCause(_cause(text), datetime.fromisoformat(at)) for text, at in rows]

    def numbered(self, begun: Sequence[Cause]) -> list[Cause]:
        """Gives each cause that comes back with the begin of an earlier one its own key."""
        last = {
            begin: int(most)
            for begin, most in self._rows(
                "select begin, max(json_extract(cause, '$.opening_number')) from causes"
                " group by begin"
            )
        }
        return [replace(each, opening_number=last.get(each.begin, 0) + 1) for each in begun]

    def told(self, key: str) -> list[str]:
        """The channels that received the opening message of a cause."""
        return [
            channel
            for (channel,) in self._rows(
                "select channel from told where key = ? order by channel", key
            )
        ]

    def recent(self, channel: str, since: datetime, until: datetime) -> int:
        """How many messages a channel was given in this time."""
        [(count,)] = self._rows(
            "select count(*) from messages where channel = ? and queued_at > ? and queued_at <= ?",
            channel, _at(since), _at(until),
        ) or [(0,)]  # fmt: skip
        return int(count)

    def memory(self, name: str) -> dict[str, Any]:
        """What a look remembered for the next one; empty if nothing."""
        rows = self._rows("select value from memory where name = ?", name)
        return json.loads(rows[0][0]) if rows else {}

    def waiting(self) -> list[Queued]:
        """Messages that are not sent, in their order."""
        return self._messages("where sent_at is null order by id")

    def sent(self, most: int) -> list[Queued]:
        """The newest messages that were sent, newest first."""
        return self._messages("where sent_at is not null order by sent_at desc, id desc limit ?",
                              most)  # fmt: skip

    def decide(
        self,
        begun: Sequence[Cause],
        over: Sequence[Cause],
        messages: Sequence[Addressed],
        memory: Mapping[str, Mapping[str, Any]],
        now: datetime,
    ) -> None:
        """Stores what a look decided, whole or not at all."""
        at, old = _at(now), _at(now - KEPT)
        with self._writing() as database:
            database.executemany(
                "insert into causes (key, begin, cause, opened_at) values (?, ?, ?, ?)",
                [(each.key, each.begin, _text(each), at) for each in begun],
            )
            database.executemany(
                "update causes set closed_at = ? where key = ?", [(at, each.key) for each in over]
            )
            for each in messages:
                database.execute(
                    "insert or ignore into messages (channel, identity, key, state, kind, title,"
                    " body, about, queued_at, next_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (each.channel, each.identity, each.key, each.state, each.kind, each.title,
                     each.body, json.dumps(each.about), at, at),
                )  # fmt: skip
                database.executemany(
                    "insert or ignore into told values (?, ?)",
                    [(key, each.channel) for key in each.about],
                )
            database.executemany(
                "insert or replace into memory values (?, ?)",
                [(name, json.dumps(value)) for name, value in memory.items()],
            )
            database.execute("delete from messages where sent_at < ?", (old,))
            # A key is used again only after every message with it is forgotten: the later ones
            # would count as queued already.
            database.execute(
                "delete from causes where closed_at < ? and not exists"
                " (select 1 from messages, json_each(messages.about) as about"
                "  where about.value = causes.key)",
                (old,),
            )
            database.execute("delete from told where key not in (select key from causes)")

    def attempt(self, number: int, next_at: datetime) -> None:
        """A message is about to be sent; it is due again then, if nothing marks it as sent."""
        with self._writing() as database:
            database.execute(
                "update messages set attempts = attempts + 1, next_at = ? where id = ?",
                (_at(next_at), number),
            )

    def mark_sent(self, number: int, now: datetime, problem: str = "") -> None:
        """A channel took a message."""
        with self._writing() as database:
            database.execute(
                "update messages set sent_at = ?, problem = ? where id = ?",
                (_at(now), problem, number),
            )

    def note(self, number: int, problem: str) -> None:
        """A channel did not take a message."""
        with self._writing() as database:
            database.execute("update messages set problem = ? where id = ?", (problem, number))

    def drop(self, name: str) -> list[Queued]:
        """Gives up messages that wait; returns them.

        What is dropped is not sent again. A channel that never heard that something began does not
        hear either that it is over.

        Args:
            name: the identity of a message, or a channel, for all that waits for it.
        """
        found = [each for each in self.waiting() if name in (each.identity, each.channel)]
        with self._writing() as database:
            for each in found:
                database.execute("delete from messages where id = ?", (each.number,))
                if each.state != CLOSED:
                    database.executemany(
                        "delete from told where key = ? and channel = ?",
                        [(key, each.channel) for key in each.about],
                    )
        return found

    def _messages(self, clause: str, *values: Any) -> list[Queued]:
        rows = self._rows(
            "select id, channel, identity, key, state, kind, title, body, about, queued_at,"
            f" attempts, next_at, sent_at, problem from messages {clause}",
            *values,
        )
        return [
            Queued(*row[:8], tuple(json.loads(row[8])), datetime.fromisoformat(row[9]), row[10],
                   datetime.fromisoformat(row[11]),
                   datetime.fromisoformat(row[12]) if row[12] else None, row[13])
            for row in rows
        ]  # fmt: skip

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        if not self.exists:
            return []
        # Not `ro`: a reader repairs what a killed writer left. It never creates the file.
        with self._connected(f"{self._path.resolve().as_uri()}?mode=rw") as database:
            if not database.execute("select 1 from sqlite_master where name = 'causes'").fetchall():
                return []  # the process that created the file died at once
            return database.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self.exists:  # messages name products and people
            self._path.touch(0o660)
        with self._connected(self._path.resolve().as_uri()) as database:
            database.execute("pragma synchronous = full")
            database.execute("begin immediate")
            for statement in _TABLES.split(";"):
                database.execute(statement)
            yield database
            database.execute("commit")

    @contextmanager
    def _connected(self, address: str) -> Iterator[sqlite3.Connection]:
        try:
            database = sqlite3.connect(address, timeout=_PATIENCE, uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            yield database
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        finally:
            database.close()

    def _unusable(self, error: sqlite3.Error) -> MeshError:
        return MeshError(
            f"{self._path} cannot be used: {error}. If it is damaged, move it away: what is wrong "
            "is sent again, and changes since the last look are not."
        )


def _cause(text: str) -> Cause:
    stored = json.loads(text)
    since = datetime.fromisoformat(stored["since"])
    several = {name: tuple(stored[name]) for name in ("lines", "groups")}
    return Cause(**{**stored, "since": since, **several})


def _text(cause: Cause) -> str:
    assert cause.since is not None
    stored = asdict(cause)
    said = {name: stored[name] for name in ("title", "lines", "facts")}
    stored |= without_secrets(said, secrets())  # the list of what is wrong is printed
    return json.dumps({**stored, "since": cause.since.isoformat()}, default=str)


def _at(moment: datetime) -> str:
    """A time as text that sorts, in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
