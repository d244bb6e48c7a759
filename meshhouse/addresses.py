"""Addresses in settings, which may contain passwords and name files.

Belongs here: keeping user names and passwords of addresses out of messages and records, and
whether the files that an address names can be read.
Not here: using an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from meshhouse.errors import MeshError, UsageError


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


def check_files(variable: str, options: Mapping[str, str], names: Iterable[str]) -> None:
    """Refuses options that name files which cannot be read.

    Args:
        variable: the environment variable that holds the address.
        options: the options of the address.
        names: options that are files; one that is missing or empty is left to the caller.

    Raises:
        MeshError: a path is relative, or its file cannot be read.
    """
    for name in names:
        if not options.get(name):
            continue
        path = Path(options[name])
        # Dagster, cron and a shell run commands in different folders.
        if not path.is_absolute():
            raise MeshError(
                f"`{name}` in {variable} needs the whole path of a file, such as "
                "/etc/ssl/ca.pem, because commands run in different folders."
            )
        try:
            path.open("rb").close()
        except (OSError, ValueError) as error:  # ValueError: a zero byte
            why = error.strerror if isinstance(error, OSError) else "its path has a zero byte"
            raise MeshError(f"the file of `{name}` in {variable} cannot be read: {why}.") from None
