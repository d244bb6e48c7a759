"""One message, as it is stored and sent.

Belongs here: its identity, its text and its canonical JSON. Not here: what it says (causes.py,
changes.py), or the forms of channels (webhook.py, mail.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from meshhouse.notices.secrets import secrets, without_secrets
from meshhouse.repository import printable

OPEN, CLOSED, NOTICE, DIGEST, TEST = "open", "closed", "notice", "digest", "test"
_TITLE, _LINE, _LINES = 200, 1_000, 60
"""Characters of a title and of a line, and lines, that a message has at most."""


@dataclass(frozen=True)
class Message:
    """What one recipient learns at once."""

    key: str
    """What it is about. The opening and the closing message of a cause have the same key."""
    state: str
    """`open` or `closed`: of a cause; `notice`: of a change; `digest`: of many; `test`."""
    kind: str
    """The rule or the kind of change, by which a receiver may sort."""
    domain: str
    """The domain that it concerns: the owner's, or the consumer's. Empty for the whole mesh."""
    title: str
    lines: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same as values, for programs."""
    link: str = ""
    groups: tuple[str, ...] = ()
    """dbt groups whose owners receive e-mail; empty for all owners of the domain."""
    to_consumer: bool = False
    """Whether the domain is a consumer, which is the only one that the message concerns."""

    @property
    def identity(self) -> str:
        """The same however often the message is sent; receivers drop repetitions by it."""
        text = f"{self.key}\n{self.state}\n{self.domain}"
        return f"msg_{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:32]}"

    def body(self, at: datetime) -> str:
        """The message as JSON. These characters are stored, signed and sent.

        Args:
            at: when it was decided.
        """
        known = secrets()
        title = clean(without_secrets(self.title, known), _TITLE)
        lines = clean_lines(without_secrets(self.lines, known))
        document = {
            "id": self.identity,
            "key": self.key,
            "state": self.state,
            "kind": self.kind,
            "domain": self.domain,
            "title": title,
            "text": "\n".join([title, *lines, *([self.link] if self.link else [])]),
            "link": self.link,
            "at": at.isoformat(),
            "facts": without_secrets(self.facts, known),
        }
        return json.dumps(document, sort_keys=True, default=str)


def shortened(text: str, limit: int) -> str:
    """A text without secrets, then cut: half a secret would not be found any more."""
    return str(without_secrets(text, secrets()))[:limit]


def clean(text: str, limit: int = _LINE) -> str:
    """One line without characters that move, hide or reverse text; cut after `limit`.

    Line breaks become spaces: a title is a header of an e-mail.
    """
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def clean_lines(lines: Sequence[str]) -> list[str]:
    """Lines of a message; what is too much is counted."""
    shown = [clean(each) for each in lines[:_LINES]]
    more = len(lines) - len(shown)
    return [*shown, f"... and {more} more lines."] if more else shown
