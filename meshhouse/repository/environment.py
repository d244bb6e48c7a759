"""Names of environments, and of the schemas and folders in them.

Belongs here: the name in `MESH_ENV`, the prefix that it gives to every schema, and the folder
of an environment's builds and locks. Not here: the tables of an environment (lake/,
maintenance/environments.py).

Everything above the catalog says `sales.orders` in every environment. Only the catalog
stores it as `ana__sales.orders`. So code, checks, pins and ledger entries of an environment
can be compared with those of production without translation.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from meshhouse.errors import UsageError

VARIABLE = "MESH_ENV"
PRODUCTION = "production"
"""The name of the environment whose schemas have no prefix; it is reserved."""

ENVIRONMENTS = "environments"
"""Folder in `MESH_HOME` that holds the workspaces of all environments."""
_SEPARATOR = "__"
_LONGEST = 40
# Single underscores only, and none at the end: the first `__` of a stored schema ends the name.
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def environment_name(text: str, where: str = VARIABLE) -> str:
    """The name of an environment, in lower case; empty for production.

    Args:
        text: as the user wrote it; empty means production.
        where: the variable or option that holds the text, for the message.

    Raises:
        UsageError: the text cannot name an environment.
    """
    name = text.strip().lower()
    if not name:
        return ""
    if name == PRODUCTION:
        raise UsageError(
            f"{where} is `{text}`, but production is used when no environment is named. "
            f"Unset {VARIABLE} to work in production."
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
        UsageError: the text in `MESH_ENV` cannot name an environment.
    """
    return environment_name(os.environ.get(VARIABLE, ""))


def stored_schema(environment: str, schema: str) -> str:
    """The name under which the catalog stores a schema or table, such as `ana__sales`.

    In production the stored name is the plain name.
    """
    return f"{environment}{_SEPARATOR}{schema}" if environment else schema


def split_schema(stored: str) -> tuple[str, str]:
    """The environment (empty for production) and the plain schema of a stored schema."""
    environment, separator, schema = stored.partition(_SEPARATOR)
    return (environment, schema) if separator else ("", stored)


def collides(schema: str) -> bool:
    """Whether a domain or schema of this name could be mistaken for an environment's."""
    return _SEPARATOR in schema or schema.startswith("_")


def workspace(home: Path, environment: str) -> Path:
    """The folder of an environment's builds, locks and logs; production uses `home` itself."""
    return home / ENVIRONMENTS / environment if environment else home
