"""Sends a message by e-mail.

Belongs here: headers, text and SMTP. Not here: when to try again (deliver.py).

No error holds an address, a password or a server's answer.
"""

from __future__ import annotations

import json
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from typing import Any

from meshhouse.notices.channels import Channel, is_address
from meshhouse.notices.message import CLOSED, OPEN, Message, clean
from meshhouse.notices.refusal import Refused
from meshhouse.settings import value

_SENDER = "MESH_ALERT_EMAIL_FROM"
_HOST = "MESH_SMTP_HOST"
_PORT = "MESH_SMTP_PORT"
_SECURITY = "MESH_SMTP_SECURITY"
_USER = "MESH_SMTP_USER"
_PASSWORD = "MESH_SMTP_PASSWORD"  # noqa: S105 - the name of a variable
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_SECONDS = 10
_TOO_LARGE = 552


def mail(channel: Channel, body: str) -> str:
    """Sends a message.

    Args:
        channel: whose address is a list of addresses, separated by commas.
        body: the message as it is stored.

    Returns:
        What is wrong although it was sent; empty if nothing.

    Raises:
        Refused: the server did not take it, or a setting is wrong.
    """
    receivers = [each.strip() for each in channel.address.split(",") if each.strip()]
    if not receivers or not all(map(is_address, receivers)):
        raise Refused(f"{channel.setting} must be e-mail addresses with commas")
    try:
        message = _message(json.loads(body), receivers)
        with _connected() as server:
            refused = server.send_message(message, to_addrs=receivers)
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError,
            smtplib.SMTPNotSupportedError) as error:  # fmt: skip
        is_too_large = getattr(error, "smtp_code", None) == _TOO_LARGE
        raise Refused(_reason(error), concerns_all=False, is_too_large=is_too_large) from None
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise Refused(_reason(error)) from None
    return f"{len(refused)} of {len(receivers)} addresses were refused" if refused else ""


def _message(document: Mapping[str, Any], receivers: list[str]) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["Subject"] = f"Mesh: {clean(document['title'])}"
    message["From"], message["To"] = value(_SENDER), ", ".join(receivers)
    # Mail programs drop a second message with the same identity, and show a cause as a thread.
    message["Message-ID"] = _identity(document["id"])
    if document["state"] == CLOSED:
        opening = Message(document["key"], OPEN, "", document["domain"], "")
        message["In-Reply-To"] = message["References"] = _identity(opening.identity)
    message["X-Mesh-Key"] = clean(document["key"])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(document["text"])
    return message


def _identity(message: str) -> str:
    return f"<{message}@meshhouse.invalid>"


def _connected() -> smtplib.SMTP:
    security, host, sender = value(_SECURITY), value(_HOST), value(_SENDER)
    if security not in _PORTS or not host or not is_address(parseaddr(sender)[1]):
        raise Refused(
            f"e-mail needs {_HOST} and an address in {_SENDER}; {_SECURITY} is "
            f"{', '.join(_PORTS)} or unset"
        )
    port = value(_PORT) or str(_PORTS[security])
    if not (port.isdecimal() and int(port) < 65_536):
        raise Refused(f"{_PORT} must be the number of a port")
    trusted = ssl.create_default_context()
    if security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, int(port), timeout=_SECONDS, context=trusted)
    else:
        server = smtplib.SMTP(host, int(port), timeout=_SECONDS)
    try:
        if security == "starttls":
            server.starttls(context=trusted)
        if user := value(_USER):
            server.login(user, value(_PASSWORD))
    except BaseException:
        server.close()
        raise
    return server


def _reason(error: Exception) -> str:
    """Why the server did not take it, in words that hold nothing of the settings."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"SMTP {error.smtp_code}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = sorted({str(code) for code, _ in error.recipients.values()})
        return f"SMTP {', '.join(codes)} for every address"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
