"""Sends what waits in the outbox.

Belongs here: the order, when to try again, and the limit of messages at once. Not here: what is
worth a message, or how a channel is reached (webhook.py, mail.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from meshhouse.notices.channels import EMAIL, SLACK, Channel, Channels
from meshhouse.notices.deadline import within
from meshhouse.notices.digest import digest, halves
from meshhouse.notices.mail import mail
from meshhouse.notices.message import Message
from meshhouse.notices.outbox import Addressed, Outbox, Queued
from meshhouse.notices.refusal import Refused
from meshhouse.notices.webhook import post, post_slack

MOST, WITHIN = 20, timedelta(minutes=1)
"""Messages that a channel gets one by one in this time. If there are more, the new ones become one
digest."""
_OF_DIGEST = 500
"""Messages in one digest. Receivers refuse bodies of megabytes; 500 are 250 KB."""
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
_BUDGET = 25.0
"""Seconds after which a look sends nothing more: Dagster ends a sensor after 60. The last message
and the ping may take 15 s each."""
OVERDUE = timedelta(minutes=15)
"""After this time, a message that waits stops the dead-man's ping."""


@dataclass
class Delivery:
    """What one look sent."""

    sent: int = 0
    waiting: int = 0
    """Messages that no channel has taken yet."""
    is_overdue: bool = False
    """Whether one of them waits for too long."""
    problems: list[str] = field(default_factory=list)
    """Why, one line for each channel or message."""


def addressed(
    messages: Sequence[Message],
    receivers: Callable[[Message], Sequence[str]],
    recent: Callable[[str], int],
    now: datetime,
) -> list[Addressed]:
    """Messages for each channel; too many at once become one digest.

    Args:
        messages: what is worth a message now.
        receivers: names of the channels that a message goes to.
        recent: how many messages a channel was given in the last minute.
        now: the time.
    """
    found: dict[str, list[Message]] = {}
    for message in messages:
        for channel in receivers(message):
            found.setdefault(channel, []).append(message)
    result = []
    for channel, ones in found.items():
        is_storm = len(ones) > 1 and recent(channel) + len(ones) > MOST
        size = _OF_DIGEST if is_storm else 1
        for start in range(0, len(ones), size):
            part = ones[start : start + size]
            about = [each.key for each in part]
            sent = digest(part) if is_storm else part[0]
            result.append(_addressed(channel, sent, about, now))
    return result


def deliver(outbox: Outbox, channels: Channels, now: datetime) -> Delivery:
    """Sends every message that is due, the oldest first.

    A channel that does not answer is left alone until the next look. A closing message waits for
    its opening one, also if that is part of a digest.
    """
    done = Delivery()
    down: set[str] = set()
    blocked: set[tuple[str, str]] = set()
    unset: set[str] = set()
    end = time.monotonic() + _BUDGET
    for each in outbox.waiting():
        channel = channels.by_name.get(each.channel)
        done.waiting += 1
        if channel is None:
            unset.add(each.channel)
        elif (
            timedelta(0) < each.next_at - now <= _LONGEST_WAIT  # longer: the clock was ahead
            or each.channel in down
            or any((each.channel, key) in blocked for key in each.about)
            or time.monotonic() > end
        ):
            blocked.update((each.channel, key) for key in each.about)
        else:
            # Before sending: where nothing can be written, as on a full disk, nothing is sent. Else
            # each look would send the same message again.
            outbox.attempt(each.number, now + wait(each.attempts))
            try:
                problem = _in_parts(channel, each.identity, each.body, end)
            except Refused as error:
                reason = f"{channel.setting}: {error}"
                outbox.note(each.number, reason)
                remedy = "" if error.concerns_all else f" {_drop(each.identity)}"
                done.problems.append(f"{reason}.{remedy}")
                blocked.update((each.channel, key) for key in each.about)
                if error.concerns_all:
                    down.add(each.channel)
            else:
                outbox.mark_sent(each.number, datetime.now(UTC), problem)
                done.sent, done.waiting = done.sent + 1, done.waiting - 1
                done.problems += [f"{channel.setting}: {problem}."] if problem else []
                continue
        done.is_overdue |= channel is not None and is_overdue(each, now)
    done.problems += [
        f"Messages wait for {name}, which is not set any more. {_drop(name)}"
        for name in sorted(unset)
    ]
    return done


def _drop(name: str) -> str:
    return f"To give up: `mesh notices drop {name}`."


def _in_parts(channel: Channel, identity: str, body: str, end: float) -> str:
    """Sends a message; a digest that is too large for the receiver is sent as halves of it."""
    try:
        return send(channel, identity, body)
    except Refused as error:
        parts = halves(body) if error.is_too_large and time.monotonic() < end else []
        if not parts:
            raise
        problems = [_in_parts(channel, *part, end) for part in parts]
        return ", ".join(dict.fromkeys(each for each in problems if each))


def send(channel: Channel, identity: str, body: str) -> str:
    """Sends one message; returns what is wrong although it was sent.

    Raises:
        Refused: it was not sent, or nobody knows because the answer did not come in time.
    """
    return within(lambda: _sent(channel, identity, body))


def _sent(channel: Channel, identity: str, body: str) -> str:
    if channel.kind == EMAIL:
        return mail(channel, body)
    if channel.kind == SLACK:
        post_slack(channel, body)
    else:
        post(channel, identity, body, datetime.now(UTC))
    return ""


def wait(attempts: int) -> timedelta:
    """The time before the next attempt: 30 s, 1 min, 2 min, ... up to an hour."""
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempts, 10))


def is_overdue(message: Queued, now: datetime) -> bool:
    """Whether a message waits for so long that nobody can rely on the channel.

    The address of one domain's owner does not count: who wrote it wrong would otherwise silence the
    ping of the whole mesh.
    """
    is_owner = message.channel.startswith(f"{EMAIL}:")
    return not is_owner and abs(now - message.queued_at) > OVERDUE  # it may have been ahead


def _addressed(channel: str, message: Message, about: Sequence[str], now: datetime) -> Addressed:
    body = message.body(now)
    return Addressed(
        channel, message.identity, message.key, message.state, message.kind,
        json.loads(body)["title"], body, tuple(about),
    )  # fmt: skip
