"""Addresses that people write into settings, and the passwords that some write into them.

Belongs here: keeping user names and passwords in addresses out of messages and records.
Not here: what an address is used for.
"""

from __future__ import annotations

import re

from meshhouse.errors import UsageError


def refuse_credentials(setting: str, address: str, instead: str) -> None:
    """Refuses an address that holds a user name or a password; the message does not repeat it.

    Args:
        setting: its name, such as `KAFKA_BOOTSTRAP_SERVERS`.
        address: its value.
        instead: what to do, as a sentence.

    Raises:
        UsageError: there is an `@` in the address.
    """
    if "@" in address:
        raise UsageError(f"{setting} holds a user name or a password, before an @. {instead}")


def without_credentials(text: str) -> str:
    """A text in which every `user:password@` of an address is replaced by `***@`."""
    return re.sub(r"(?<=://)[^\s'\"<>]*@|(?<![\w/])[^\s/'\"<>@:]+:[^\s'\"<>]*@", "***@", text)
