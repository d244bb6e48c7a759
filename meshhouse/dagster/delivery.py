"""Delivers an alert by webhook and by e-mail.

Belongs here: the two channels and their settings, which are environment variables. Not here: what
an alert is about (alerts.py).

No message holds an address, a password or an answer of a server: a webhook's address is a secret.
"""

from __future__ import annotations

import json
import os
import smtplib
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from meshhouse.errors import MeshError, UsageError

WEBHOOK = "MESH_ALERT_WEBHOOK"
EMAIL = "MESH_ALERT_EMAIL_TO"
_SENDER = "MESH_ALERT_EMAIL_FROM"
_PAGE = "MESH_DAGSTER_URL"
_HOST = "MESH_SMTP_HOST"
_PORT = "MESH_SMTP_PORT"
_SECURITY = "MESH_SMTP_SECURITY"
_USER = "MESH_SMTP_USER"
_PASSWORD = "MESH_SMTP_PASSWORD"  # noqa: S105 - the name of a variable
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_SECONDS = 20
_WAITS = (1.0, 3.0)
"""Seconds before a second and a third attempt."""


@dataclass(frozen=True)
class Alert:
    """Something that a person should look at."""

    kind: str
    """`run_failed` or `product_late`, by which a receiver may sort."""
    title: str
    lines: tuple[str, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    """The same as values, for programs."""
    page: str = ""
    """Path in Dagster's page."""

    @property
    def text(self) -> str:
        """The whole alert as plain text."""
        base = os.environ.get(_PAGE, "").rstrip("/")
        link = [f"{base}{self.page}"] if base and self.page else []
        return "\n".join([self.title, *self.lines, *link])


class Undelivered(MeshError):
    """A channel did not take an alert."""

    def __init__(self, message: str, others_did: bool) -> None:
        super().__init__(message)
        self.others_did = others_did
        """Whether another channel took it, so that people know."""


def deliver(alert: Alert) -> None:
    """Sends an alert to every channel that has a setting, a few times if it does not answer.

    Raises:
        UsageError: no channel has one.
        Undelivered: a channel did not take the alert, or its settings are wrong.
    """
    channels: list[tuple[str, Callable[[Alert], None]]] = [(WEBHOOK, _post), (EMAIL, _mail)]
    chosen = [(name, send) for name, send in channels if os.environ.get(name)]
    if not chosen:
        raise UsageError(f"Nobody receives alerts: set {WEBHOOK} or {EMAIL}.")
    failed = []
    for name, send in chosen:
        try:
            _insist(send, alert)
        except MeshError as error:  # a setting is wrong
            failed.append(f"{name}: {str(error).removesuffix('.')}")
        except (OSError, HTTPException, smtplib.SMTPException) as error:
            failed.append(f"{name}: {_reason(error)}")
    if failed:
        message = f"An alert was not delivered. {'; '.join(failed)}. Check these settings."
        raise Undelivered(message, len(failed) < len(chosen))


def _insist(send: Callable[[Alert], None], alert: Alert) -> None:
    """Sends an alert; Dagster looks at a failed run only once, so a short outage must not count."""
    for wait in _WAITS:
        try:
            return send(alert)
        except (OSError, HTTPException, smtplib.SMTPException):
            time.sleep(wait)
    return send(alert)


def _post(alert: Alert) -> None:
    address = os.environ[WEBHOOK]
    if urlsplit(address).scheme not in ("http", "https"):
        raise UsageError(f"{WEBHOOK} must be an address that begins with https:// or http://.")
    # Slack, Mattermost and Teams show `text`; other receivers find the facts beside it.
    body = {"text": alert.text, "kind": alert.kind, "title": alert.title, **alert.facts}
    request = Request(  # noqa: S310 - the scheme was checked
        address,
        json.dumps(body, default=str).encode(),
        {"Content-Type": "application/json", "User-Agent": "meshhouse"},
    )
    with urlopen(request, timeout=_SECONDS):  # noqa: S310 - see above
        pass


def _mail(alert: Alert) -> None:
    security = os.environ.get(_SECURITY, "starttls")
    host = os.environ.get(_HOST, "")
    sender = os.environ.get(_SENDER, "")
    if security not in _PORTS or not host or not sender:
        raise UsageError(
            f"{EMAIL} needs {_HOST} and {_SENDER}; {_SECURITY} is {', '.join(_PORTS)} or unset."
        )
    port = os.environ.get(_PORT, "") or str(_PORTS[security])
    if not port.isdecimal():
        raise UsageError(f"{_PORT} must be a number.")
    message = EmailMessage()
    message["Subject"] = " ".join(alert.title.split())
    message["From"], message["To"] = sender, os.environ[EMAIL]
    message.set_content(alert.text)
    trusted = ssl.create_default_context()
    connect = (
        smtplib.SMTP_SSL(host, int(port), timeout=_SECONDS, context=trusted)
        if security == "tls"
        else smtplib.SMTP(host, int(port), timeout=_SECONDS)
    )
    with connect as server:
        if security == "starttls":
            server.starttls(context=trusted)
        if user := os.environ.get(_USER):
            server.login(user, os.environ.get(_PASSWORD, ""))
        server.send_message(message)


def _reason(error: Exception) -> str:
    """Why a server did not take it, in words that hold nothing of the settings."""
    if isinstance(error, HTTPError):
        return f"HTTP {error.code}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"SMTP {error.smtp_code}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    reason = getattr(error, "reason", None)
    return getattr(reason, "strerror", None) or type(error).__name__
