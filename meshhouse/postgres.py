"""Connections to PostgreSQL that a declaration names by an environment variable.

Belongs here: connecting, and what may be said of PostgreSQL's errors. Not here: the statements of a
sink (sinks/postgres.py) or of an extraction (extraction/postgres.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from meshhouse.errors import MeshError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_CONNECT_SECONDS = 10
_REASONS = (
    ("password authentication failed", "PostgreSQL refuses the user or the password"),
    ("no password supplied", "the connection has no password"),
    ("Connection refused", "nothing listens at its host and port"),
    ("timeout", f"PostgreSQL did not answer within {_CONNECT_SECONDS} s"),
    ("could not translate host name", "its host is unknown"),
    ("does not exist", "its database or user does not exist"),
    ("starting up", "PostgreSQL is starting"),
)
"""A part of libpq's message -> what is said instead: the message may repeat the connection."""


@contextmanager
def connected(variable: str) -> Iterator[Connection]:
    """A connection, closed at the end; the caller begins and ends transactions.

    Args:
        variable: the environment variable with the connection.

    Raises:
        MeshError: PostgreSQL refuses something; without credentials and rows.
    """
    import psycopg2  # optional, and only for meshes that use PostgreSQL

    secret = os.environ.get(variable, "")
    if not secret.strip():
        raise MeshError(
            f"the environment variable {variable} is not set. Set it to the connection "
            "of PostgreSQL, such as postgresql://user:password@host/database."
        )
    try:
        connection = psycopg2.connect(
            secret, connect_timeout=_CONNECT_SECONDS, application_name="meshhouse"
        )
    except psycopg2.Error as error:
        raise MeshError(
            f"cannot connect to PostgreSQL with {variable}: {_reason(str(error))}."
        ) from None
    with closing(connection):
        try:
            connection.set_client_encoding("UTF8")
            yield connection
        except psycopg2.Error as error:
            raise MeshError(f"PostgreSQL refused: {_said(error)}.") from None


def _reason(message: str) -> str:
    for part, reason in _REASONS:
        if part in message:
            return reason
    return "the connection cannot be used (its text is not shown, as it may hold a password)"


def _said(error: Any) -> str:
    """What PostgreSQL says, without the values of a row."""
    message = getattr(error.diag, "message_primary", None)
    if not message:
        return "the connection broke" if not error.pgcode else f"error {error.pgcode}"
    if str(error.pgcode or "").startswith("22"):  # a value that does not fit: its text follows `:`
        message = re.split(r"[:\"]", message, maxsplit=1)[0].strip()
    return " ".join(message.split()).rstrip(".")
