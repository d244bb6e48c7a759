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
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

_SECRET = re.compile(
    r"PASSWORD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|ACCESS_KEY|PRIVATE_KEY|USER_INFO|API_KEY"
    r"|^MESH_ALERT_(WEBHOOK|SLACK|PING)"
)
_SHORTEST = 6
"""Characters: shorter values, such as `true`, are parts of ordinary words."""
_IN_VALUE = (
    re.compile(r"[a-z][\w+.-]*://[^\s:/?#@]*:(\S+)@", re.IGNORECASE),
    re.compile(r"[a-z][\w+.-]*://[^\s:/?#@]*:([^\s/?#@]+)@", re.IGNORECASE),
    re.compile(r"\b(?:password|passwd|pwd)\s*=\s*'((?:[^'\\]|\\.)+)'", re.IGNORECASE),
    re.compile(r"\b(?:password|passwd|pwd)\s*=\s*([^\s'&;]+)", re.IGNORECASE),
)
"""Where the value of any variable, such as `SHOP_DATABASE`, has a password: in an address, or in
pairs of names and values. The first pattern finds a password with signs that should be escaped."""
_ADDRESS = re.compile(r"([a-z][\w+.-]{0,30}://[^\s:/?#@]{0,200}:)[^\s/?#@]+@", re.IGNORECASE)
HIDDEN = "***"


def secrets(environment: Mapping[str, str] | None = None) -> list[str]:
    """Values of variables that hold secrets, and passwords inside other values, longest first."""
    found = os.environ if environment is None else environment
    values = {value for name, value in found.items() if _SECRET.search(name)}
    for value in found.values():
        values |= _passwords(value)
    return sorted((each for each in values if len(each) >= _SHORTEST), key=len, reverse=True)


@lru_cache(maxsize=1_000)
def _passwords(value: str) -> frozenset[str]:
    """Passwords inside the value of a variable, as they are written and decoded.

    Kept, because each message asks for those of every variable.
    """
    found = {password for pattern in _IN_VALUE for password in pattern.findall(value)}
    return frozenset(found | {unquote(each) for each in found})


def without_secrets(value: Any, known: list[str]) -> Any:
    """A value of JSON in which each known secret is `***`; names of keys stay.

    So is the password of any address, known or not.
    """
    if isinstance(value, str):
        for secret in known:
            value = value.replace(secret, HIDDEN)
        return _ADDRESS.sub(rf"\1{HIDDEN}@", value)
    if isinstance(value, Mapping):
        return {name: without_secrets(each, known) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(each, known) for each in value]
    return value
