"""Addresses in settings, which may contain passwords.

Belongs here: keeping user names and passwords of addresses out of messages and records.
Not here: using an address.
"""

from __future__ import annotations

import re

from meshhouse.errors import UsageError


def refuse_credentials(setting: str, address: str, instead: str) -> None:
    """Refuses an address that contains a user name or password, without repeating it.

    Args:
        setting: the name of the setting, such as `KAFKA_BOOTSTRAP_SERVERS`.
        address: the value of the setting.
        instead: what to do, as a sentence.

    Raises:
        UsageError: the address contains an `@`.
    """
    if "@" in address:
        raise UsageError(f"{setting} holds a user name or a password, before an @. {instead}")


def without_credentials(text: str) -> str:
    """The text with every `user:password@` replaced by `***@`."""
    return re.sub(r"(?<=://)[^\s'\"<>]*@|(?<![\w/])[^\s/'\"<>@:]+:[^\s'\"<>]*@", "***@", text)
