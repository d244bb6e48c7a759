"""Connections to Cassandra that a declaration names by an environment variable.

Belongs here: connecting, and what may be said of Cassandra's errors. Not here: the statements of a
sink (sinks/cassandra.py).
"""

from __future__ import annotations

import logging
import os
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from meshhouse.addresses import check_files
from meshhouse.errors import MeshError

if TYPE_CHECKING:
    from cassandra.cluster import Session

_CONNECT_SECONDS = 10
_REQUEST_SECONDS = 30
_EXAMPLE = "cassandra://user:password@host1,host2:9042/?datacenter=dc1&ssl_ca=/etc/ssl/ca.pem"
_FLAGS = {"true": True, "false": False}
_OPTIONS = {"datacenter", "ssl", "ssl_ca", "ssl_cert", "ssl_key", "ssl_check_hostname"}


@dataclass(frozen=True)
class _Address:
    hosts: tuple[str, ...]
    port: int
    user: str
    password: str = field(repr=False)
    datacenter: str | None
    tls: ssl.SSLContext | None
    """How connections are encrypted; None if they are not."""


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
        ssl_context=address.tls,
    )
    try:
        try:
            session = cluster.connect()
        except (NoHostAvailable, DriverException) as error:
            errors = getattr(error, "errors", None)
            causes = list(errors.values()) if isinstance(errors, dict) else [error]
            refused = any(isinstance(each, AuthenticationFailed) for each in causes)
            why = _unreachable(causes, address)
            if refused:
                why = "it refuses the user or the password"
            raise MeshError(f"cannot connect to Cassandra with {variable}: {why}.") from None
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
        # An option without a value must not be ignored: it may ask for encryption.
        options = parse_qs(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True)
        known = parts.scheme == "cassandra" and options.keys() <= _OPTIONS
        once = all(len(values) == 1 and values[0] for values in options.values())
        if not (known and once and hosts and parts.path in ("", "/")) or parts.fragment:
            raise ValueError
        first = {name: values[0] for name, values in options.items()}
        for name in ("ssl", "ssl_check_hostname"):
            if first.get(name, "true") not in _FLAGS:
                raise ValueError
        return _Address(
            hosts, parts.port or 9042, unquote(parts.username or ""),
            unquote(parts.password or ""), first.get("datacenter"), _tls(variable, first),
        )  # fmt: skip
    except ValueError:
        raise MeshError(
            f"the connection in {variable} cannot be used (its text is not shown, as it may hold "
            f"a password). Write it like {_EXAMPLE}, with special characters of the password "
            "percent-encoded."
        ) from None


def _tls(variable: str, options: Mapping[str, str]) -> ssl.SSLContext | None:
    """How to encrypt, by the options of a connection; None if they ask for no encryption.

    Raises:
        MeshError: the options contradict each other, or a file cannot be used.
    """
    others = sorted(name for name in options if name.startswith("ssl_"))
    if not _FLAGS[options.get("ssl", "true" if others else "false")]:
        if others:
            raise MeshError(f"{variable} has `ssl=false` and `{others[0]}`. Remove one of them.")
        return None
    if "ssl_key" in options and "ssl_cert" not in options:
        raise MeshError(f"{variable} has `ssl_key` without `ssl_cert`. Add the certificate.")
    check_files(variable, options, ("ssl_ca", "ssl_cert", "ssl_key"))
    name = "ssl_ca"
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca"))
        name = "ssl_cert"
        if certificate := options.get("ssl_cert"):
            # A key with a password would ask for it on the terminal.
            context.load_cert_chain(certificate, options.get("ssl_key"), password="")
    except ssl.SSLError:
        what = "certificates in PEM" if name == "ssl_ca" else "a certificate and its key in PEM"
        raise MeshError(
            f"the file of `{name}` in {variable} cannot be used: it must hold {what}, "
            "without a password."
        ) from None
    context.check_hostname = _FLAGS[options.get("ssl_check_hostname", "true")]
    return context


def _unreachable(causes: Sequence[object], address: _Address) -> str:
    """Why no host can be used, as far as the errors of the driver say it."""
    for each in causes:
        if found := re.search(r"certificate verify failed: (.*?)\.? \(_ssl", str(each)):
            return f"the certificate of the server is not accepted ({found[1]})"
    return "no host answers" + ("" if address.tls else ", or the hosts expect encryption (`ssl`)")


def _said(error: Any) -> str:
    """What Cassandra says; its answers to prepared statements hold no values."""
    from cassandra import InvalidRequest, Unauthorized

    if isinstance(error, (InvalidRequest, Unauthorized)):
        text = str(error).partition('message="')[2].removesuffix('"') or str(error)
        return " ".join(text.split()).rstrip(".")
    return f"the request failed ({type(error).__name__})"
