"""Digests: one message that stands for many.

Belongs here: making a digest, and halves of one that is too large. Not here: when there are too
many messages (deliver.py).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from meshhouse.notices.causes import SEVERAL
from meshhouse.notices.message import DIGEST, Message, clean
from meshhouse.notices.secrets import secrets, without_secrets


def digest(messages: Sequence[Message]) -> Message:
    """One message that stands for many; it has their facts."""
    kinds = Counter(f"{each.kind} {each.state}" for each in messages)
    said = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    identities = "\n".join(sorted(each.identity for each in messages))
    domains = {each.domain for each in messages}
    known = secrets()  # before a title is cut: half a secret would not be found any more
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
                 "domain": each.domain, "title": clean(without_secrets(each.title, known)),
                 "facts": each.facts}
                for each in messages
            ]
        },
    )  # fmt: skip


def halves(body: str) -> list[tuple[str, str]]:
    """The identity and body of each half of a stored digest; empty if it cannot be divided.

    The same digest always has the same halves, so a receiver that gets one of them twice drops it.
    """
    document = json.loads(body)
    ones = document["facts"]["messages"] if document["state"] == DIGEST else []
    if len(ones) < 2:
        return []
    messages = [
        Message(each["key"], each["state"], each["kind"], each["domain"], each["title"],
                facts=each["facts"])
        for each in ones
    ]  # fmt: skip
    at, middle = datetime.fromisoformat(document["at"]), len(messages) // 2
    parts = (messages[:middle], messages[middle:])
    found = [digest(part) if len(part) > 1 else part[0] for part in parts]
    return [(each.identity, each.body(at)) for each in found]
