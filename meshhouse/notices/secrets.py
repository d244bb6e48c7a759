"""Takes secrets of the environment out of what is about to be sent or logged.

Belongs here: which variables hold secrets, and replacing their values. Not here: settings
(settings.py).

A run fails with words of other programs, and some of them quote the address or password that they
were given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

_SECRET = re.compile(
    r"PASSWORD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|ACCESS_KEY|PRIVATE_KEY|USER_INFO|API_KEY"
    r"|^MESH_ALERT_(WEBHOOK|SLACK|PING)"
)
_SHORTEST = 6
"""Characters: shorter values, such as `true`, are parts of ordinary words."""
HIDDEN = "***"


def secrets(environment: Mapping[str, str] | None = None) -> list[str]:
    """Values of variables that hold secrets, the longest first."""
    found = os.environ if environment is None else environment
    values = {value for name, value in found.items() if _SECRET.search(name)}
    return sorted((each for each in values if len(each) >= _SHORTEST), key=len, reverse=True)


def without_secrets(value: Any, known: list[str]) -> Any:
    """A value of JSON in which each known secret is `***`; names of keys stay."""
    if isinstance(value, str):
        for secret in known:
            value = value.replace(secret, HIDDEN)
        return value
    if isinstance(value, Mapping):
        return {name: without_secrets(each, known) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(each, known) for each in value]
    return value
