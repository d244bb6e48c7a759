"""Sends what waits in the outbox.

Belongs here: the order, when to try again, and the limit of messages at once. Not here: what is
worth a message, or how a channel is reached (webhook.py, mail.py).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from meshhouse.notices.causes import SEVERAL
from meshhouse.notices.channels import EMAIL, SLACK, Channel, Channels
from meshhouse.notices.mail import mail
from meshhouse.notices.message import DIGEST, Message, clean
from meshhouse.notices.outbox import Addressed, Outbox, Queued
from meshhouse.notices.refusal import Refused
from meshhouse.notices.webhook import post, post_slack

MOST, WITHIN = 20, timedelta(minutes=1)
"""Messages that a channel gets one by one in this time. If there are more, the new ones become one
digest."""
_OF_DIGEST = 500
"""Messages in one digest. Receivers refuse bodies of megabytes; 500 are 250 KB."""
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
_BUDGET = 40.0
"""Seconds after which a look sends nothing more: Dagster ends a sensor after 60."""
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


def digest(messages: Sequence[Message]) -> Message:
    """One message that stands for many; it has their facts."""
    kinds = Counter(f"{each.kind} {each.state}" for each in messages)
    said = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    identities = "\n".join(sorted(each.identity for each in messages))
    domains = {each.domain for each in messages}
    return Message(
        key=f"digest:{hashlib.sha256(identities.encode()).hexdigest()[:32]}",
        state=DIGEST,
        kind=SEVERAL,
        domain=domains.pop() if len(domains) == 1 else "",
        title=f"{len(messages)} notices at once: {said}",
        lines=tuple(each.title for each in messages),
        facts={
            "messages": [
                {"id": each.identity, "key": each.key, "state": each.state, "kind": each.kind,
                 "domain": each.domain, "title": clean(each.title), "facts": each.facts}
                for each in messages
            ]
        },
    )  # fmt: skip


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
            try:
                problem = send(channel, each.identity, each.body)
            except Refused as error:
                reason = f"{channel.setting}: {error}"
                outbox.postpone(each.number, reason, now + wait(each.attempts))
                done.problems.append(f"{reason}.")
                blocked.update((each.channel, key) for key in each.about)
                if error.concerns_all:
                    down.add(each.channel)
            else:
                outbox.mark_sent(each.number, datetime.now(UTC), problem)
                done.sent, done.waiting = done.sent + 1, done.waiting - 1
                done.problems += [f"{channel.setting}: {problem}."] if problem else []
                continue
        done.is_overdue |= channel is not None and is_overdue(each, now)
    done.problems += [f"Messages wait for {name}, which is not set any more." for name in
                      sorted(unset)]  # fmt: skip
    return done


def send(channel: Channel, identity: str, body: str) -> str:
    """Sends one message; returns what is wrong although it was sent.

    Raises:
        Refused: it was not sent.
    """
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
