"""One look: what is wrong or new, decided, stored and sent.

Belongs here: the order of these steps. Not here: how often to look (orchestration/alerts.py, cron).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from meshhouse.engines import Engine
from meshhouse.errors import MeshError, UsageError
from meshhouse.locks import lock_if_free
from meshhouse.notices.causes import BURNING, REJECTED, causes, compared
from meshhouse.notices.channels import Channel, Channels
from meshhouse.notices.deadline import within
from meshhouse.notices.deliver import WITHIN, Delivery, addressed, deliver, send
from meshhouse.notices.facts import JobFailure
from meshhouse.notices.gather import Reading
from meshhouse.notices.message import CLOSED, TEST, Message
from meshhouse.notices.outbox import Outbox, Queued
from meshhouse.notices.refusal import Refused
from meshhouse.notices.webhook import get
from meshhouse.repository import Repository
from meshhouse.settings import value

_PING = "MESH_ALERT_PING"
_FOLDER = "notices"
_CHANGES = "changes"


@dataclass
class Look:
    """What one look did."""

    begun: list[str] = field(default_factory=list)
    """Titles of what begins."""
    over: list[str] = field(default_factory=list)
    """Titles of what is over."""
    changes: list[str] = field(default_factory=list)
    """Titles of notices of change, each for one consumer."""
    unreceived: list[str] = field(default_factory=list)
    """Titles of messages for which there is no channel."""
    delivery: Delivery = field(default_factory=Delivery)
    busy: str = ""
    """The process that looks at the same time; then this look did nothing."""


def outbox_of(repository: Repository) -> Outbox:
    """The outbox of a mesh."""
    return Outbox(repository.home / _FOLDER / "outbox.sqlite")


def look(
    repository: Repository,
    engine: Engine,
    jobs: Sequence[JobFailure] | None = None,
    now: datetime | None = None,
) -> Look:
    """Looks once, and sends what is due.

    Args:
        repository: the mesh.
        engine: where it runs.
        jobs: failed runs of the orchestrator; None if nobody asked it.
        now: the time.

    Raises:
        UsageError: an environment is in use, or nobody receives anything.
    """
    if repository.environment:
        raise UsageError(
            f"Notices are about production, and {repository.environment} is an environment. Unset "
            "MESH_ENV."
        )
    channels, outbox = Channels.of(repository), outbox_of(repository)
    channels.require()
    now = now or datetime.now(UTC)
    with lock_if_free(repository.home / _FOLDER / "lock") as busy:
        if busy:
            return Look(busy=busy)
        done = Look()
        try:
            _decide(Reading(repository, engine, now), outbox, channels, jobs, done)
        except Exception:
            with suppress(MeshError):  # what waits is sent also if the mesh cannot be read
                deliver(outbox, channels, now)
            raise
        done.delivery = deliver(outbox, channels, now)
        if not done.delivery.is_overdue:
            _ping(done.delivery)
    return done


def drop(repository: Repository, name: str) -> list[Queued]:
    """Gives up messages that wait.

    Args:
        repository: the mesh.
        name: the identity of a message, or a channel, for all that waits for it.

    Raises:
        MeshError: another process looks at the same time.
        UsageError: no such message waits.
    """
    with lock_if_free(repository.home / _FOLDER / "lock") as busy:
        if busy:
            raise MeshError(f"Process {busy} is sending messages. Try again when it is done.")
        found = outbox_of(repository).drop(name)
    if not found:
        raise UsageError(
            f"No message {name} waits, and none for a channel of this name. `mesh notices` lists "
            "what waits."
        )
    return found


def send_test(repository: Repository, now: datetime | None = None) -> dict[str, str]:
    """Sends one test message to each channel at once; channel -> why it failed, or empty."""
    channels = Channels.of(repository)
    channels.require()
    now = now or datetime.now(UTC)
    found = {}
    for channel in channels.by_name.values():
        message = Message(
            f"test:{channel.name}:{now.isoformat()}", TEST, TEST, "", "A test message of the mesh",
            (f"It went to the channel {channel.name}.",),
        )  # fmt: skip
        try:
            found[channel.name] = send(channel, message.identity, message.body(now))
        except Refused as error:
            found[channel.name] = f"{channel.setting}: {error}"
    return found


def _decide(
    reading: Reading,
    outbox: Outbox,
    channels: Channels,
    jobs: Sequence[JobFailure] | None,
    done: Look,
) -> None:
    now = reading.now
    known = [each.cause for each in outbox.open_causes()]
    near = {each.subject for each in known if each.rule in (BURNING, REJECTED)}
    situation = reading.situation(jobs, known)
    found = causes(situation, now, near)
    begun, over = compared(found, known, situation, now)
    begun = outbox.numbered(begun)
    notices, memory = reading.changes(outbox.memory(_CHANGES))
    messages = [
        *(each.opening() for each in begun), *(each.closing(now) for each in over), *notices,
    ]  # fmt: skip

    def receivers(message: Message) -> list[str]:
        # Who heard that something began hears that it is over.
        if message.state == CLOSED:
            return outbox.told(message.key)
        chosen = channels.receivers(message)
        if not chosen:
            done.unreceived.append(message.title)
        return chosen

    since = now - WITHIN
    queued = addressed(messages, receivers, lambda name: outbox.recent(name, since, now), now)
    outbox.decide(begun, over, queued, {_CHANGES: memory}, now)
    done.begun, done.over = [each.title for each in begun], [each.title for each in over]
    done.changes = [each.title for each in notices]


def _ping(delivery: Delivery) -> None:
    """Calls the address that alarms people when nobody calls it any more."""
    address = value(_PING).strip()
    if address:
        try:
            within(lambda: get(Channel("ping", "ping", _PING, address)))
        except Refused as error:
            delivery.problems.append(f"{_PING}: {error}.")
