"""Connections to Cassandra that a declaration names by an environment variable.

Belongs here: connecting, and what may be said of Cassandra's errors. Not here: the statements of a
sink (sinks/cassandra.py).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from meshhouse.errors import MeshError

if TYPE_CHECKING:
    from cassandra.cluster import Session

_CONNECT_SECONDS = 10
_REQUEST_SECONDS = 30
_EXAMPLE = "cassandra://user:password@host1,host2:9042/?datacenter=dc1"


@dataclass(frozen=True)
class _Address:
    hosts: tuple[str, ...]
    port: int
    user: str
    password: str = field(repr=False)
    datacenter: str | None


@contextmanager
def connected(variable: str) -> Iterator[Session]:
    """A session, closed at the end; reads and writes need a quorum of the data centre.

    Args:
        variable: the environment variable with the connection.

    Raises:
        MeshError: Cassandra refuses something; without credentials and rows.
    """
    from cassandra import (  # optional, and only for meshes that use Cassandra
        AuthenticationFailed,
        ConsistencyLevel,
        DriverException,
    )
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
    from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy

    # Its warnings would be printed; errors below say what matters.
    logging.getLogger("cassandra").addHandler(logging.NullHandler())
    address = _address(variable)
    near = DCAwareRoundRobinPolicy(address.datacenter or "")
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(near),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
        request_timeout=_REQUEST_SECONDS,
    )
    cluster = Cluster(
        list(address.hosts),
        port=address.port,
        auth_provider=PlainTextAuthProvider(address.user, address.password)
        if address.user
        else None,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=_CONNECT_SECONDS,
    )
    try:
        try:
            session = cluster.connect()
        except (NoHostAvailable, DriverException) as error:
            errors = getattr(error, "errors", None)
            causes = list(errors.values()) if isinstance(errors, dict) else [error]
            refused = any(isinstance(each, AuthenticationFailed) for each in causes)
            raise MeshError(
                f"cannot connect to Cassandra with {variable}: "
                + ("it refuses the user or the password." if refused else "no host answers.")
            ) from None
        try:
            yield session
        except (NoHostAvailable, DriverException) as error:
            raise MeshError(f"Cassandra refused: {_said(error)}.") from None
    finally:
        cluster.shutdown()


def _address(variable: str) -> _Address:
    secret = os.environ.get(variable, "").strip()
    if not secret:
        raise MeshError(
            f"the environment variable {variable} is not set. Set it to the connection of "
            f"Cassandra, such as {_EXAMPLE}."
        )
    try:
        parts = urlsplit(secret)
        hosts = tuple(each for each in (parts.hostname or "").split(",") if each)
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
        known = parts.scheme == "cassandra" and options.keys() <= {"datacenter"}
        if not (known and hosts and parts.path in ("", "/")) or parts.fragment:
            raise ValueError
        return _Address(
            hosts, parts.port or 9042, unquote(parts.username or ""),
            unquote(parts.password or ""), options.get("datacenter", [None])[0],
        )  # fmt: skip
    except ValueError:
        raise MeshError(
            f"the connection in {variable} cannot be used (its text is not shown, as it may hold "
            f"a password). Write it like {_EXAMPLE}, with special characters of the password "
            "percent-encoded."
        ) from None


def _said(error: Any) -> str:
    """What Cassandra says; its answers to prepared statements hold no values."""
    from cassandra import InvalidRequest, Unauthorized

    if isinstance(error, (InvalidRequest, Unauthorized)):
        text = str(error).partition('message="')[2].removesuffix('"') or str(error)
        return " ".join(text.split()).rstrip(".")
    return f"the request failed ({type(error).__name__})"
