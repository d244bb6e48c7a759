"""What environments are called, and what things in them are called.

Belongs here: the name in `MESH_ENV`, the prefix that it gives to every schema, the folder
of its builds and locks. Does not: what an environment holds (lake/, environments.py).

Everything above the catalog says `sales.orders` in every environment. Only where tables
are stored is it `ana__sales.orders`: so code, checks, pins and ledgers of an environment
can be compared with production's as they are.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from meshhouse.errors import UsageError

VARIABLE = "MESH_ENV"
PRODUCTION = "production"
"""What people call the environment whose schemas have no prefix; no other may be called so."""

ENVIRONMENTS = "environments"
"""Folder, in the mesh's own, of the workspaces of all environments."""
_SEPARATOR = "__"
_LONGEST = 40
# One underscore at a time, and none at the end: the first `__` of a schema ends the name.
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def environment_name(text: str, where: str = VARIABLE) -> str:
    """The name of an environment, in lower case; empty for production.

    Args:
        text: what somebody wrote; empty means production.
        where: they wrote it, for the message.

    Raises:
        UsageError: it can be no name.
    """
    name = text.strip().lower()
    if not name:
        return ""
    if name == PRODUCTION:
        raise UsageError(
            f"{where} is `{text}`, but production is where no environment is named. "
            f"Unset {VARIABLE} to work there."
        )
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise UsageError(
            f"{where} is `{text}`, which cannot name an environment. Use letters, digits and "
            "single underscores between them, beginning with a letter, at most "
            f"{_LONGEST} characters, such as pr_12."
        )
    return name


def current_environment() -> str:
    """The environment that `MESH_ENV` names; empty for production.

    Raises:
        UsageError: it names none that there can be.
    """
    return environment_name(os.environ.get(VARIABLE, ""))


def stored_schema(environment: str, schema: str) -> str:
    """What a schema, or a table in it, is called where it is stored, such as `ana__sales`.

    In production that is what it is called everywhere.
    """
    return f"{environment}{_SEPARATOR}{schema}" if environment else schema


def split_schema(stored: str) -> tuple[str, str]:
    """The environment (empty for production) and the schema of a stored schema."""
    environment, separator, schema = stored.partition(_SEPARATOR)
    return (environment, schema) if separator else ("", stored)


def collides(schema: str) -> bool:
    """Whether a domain or schema of this name could be taken for one of an environment."""
    return _SEPARATOR in schema or schema.startswith("_")


def workspace(home: Path, environment: str) -> Path:
    """The folder of an environment's builds, locks and logs; production's is `home` itself."""
    return home / ENVIRONMENTS / environment if environment else home
