"""Sends a message by POST: to any receiver as signed JSON, and in the form that Slack reads.

Belongs here: requests, signatures and what an answer means. Not here: when to try again
(deliver.py).

Signatures are those of Standard Webhooks, which has libraries in many languages: HMAC-SHA256 over
identity, time and body. No error names an address: an address of a webhook is a secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from meshhouse.notices.channels import Channel
from meshhouse.notices.refusal import Refused

_SECONDS = 10
_TRY_AGAIN = (408, 425, 429)
"""Answers below 500 that a receiver gives for a while, and then not any more."""
_PREFIX = "whsec_"
_SMALLEST_KEY = 24
"""Bytes of a key; Standard Webhooks asks for 24 to 64."""
_MENTION = re.compile(r"(?<![^\W_])@")
"""Every `@` but that of an address, which a letter or digit precedes. A receiver may find `@all`
after any sign: `-@all`, `_@all_`."""
_IMAGE = re.compile(r"(?<=\])(?=\()")
_SLACK_MOST = 12_000
"""Characters; Slack refuses much longer texts."""


class _NoRedirect(HTTPRedirectHandler):
    """A redirected POST becomes a GET without a body, so it must count as refused."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = build_opener(_NoRedirect)


def post(channel: Channel, identity: str, body: str, now: datetime) -> None:
    """Posts a message.

    Args:
        channel: the receiver.
        identity: of the message.
        body: as it is stored.
        now: for the signature.

    Raises:
        Refused: the receiver did not take it.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "meshhouse"}
    data = body.encode()
    if channel.secret:
        headers |= signature(channel.secret, identity, int(now.timestamp()), data)
    _request(channel, data, headers)


def post_slack(channel: Channel, body: str) -> None:
    """Posts a message in the form of Slack's incoming webhooks, which Mattermost reads too.

    Raises:
        Refused: the receiver did not take it.
    """
    payload = {
        "text": slack_text(json.loads(body)),
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }
    _request(channel, json.dumps(payload).encode(), {"Content-Type": "application/json"})


def get(channel: Channel) -> None:
    """Calls an address, for the dead-man's ping.

    Raises:
        Refused: it did not answer with success.
    """
    _request(channel, None, {"User-Agent": "meshhouse"})


def slack_text(document: dict[str, Any]) -> str:
    """The text of a message for Slack: nothing in it is a mention, or a link with other words.

    Slack shows `*` and `_` as they are (`mrkdwn` is off). Mattermost has no such setting: there,
    names may look bold. Both make links of bare addresses, and show no preview of them.
    """
    signs = {"open": ":red_circle:", "closed": ":white_check_mark:"}
    sign = signs.get(document["state"], ":information_source:")
    lines = document["text"].split("\n")
    kept = [line for line in lines if line and line != document["link"]]
    text = "\n".join(slack_escaped(line) for line in kept)
    link = [_safe_link(document["link"])] if document["link"] else []
    return "\n".join([f"{sign} {text}"[:_SLACK_MOST], *link])


def slack_escaped(text: str) -> str:
    """Text in which Slack and Mattermost find no mention (`<!channel>`, `@here`).

    They find no link with other words than its address either, and no image (`![](...)`).
    """
    for old, new in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(old, new)
    text = _IMAGE.sub("\u200b", text)
    return _MENTION.sub("@\u200b", text)  # Mattermost finds `@all` without brackets


def _safe_link(link: str) -> str:
    return link.translate({ord("<"): "%3C", ord(">"): "%3E", ord("|"): "%7C"})


def signature(secret: str, identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove who sent a body, and when.

    Raises:
        Refused: the secret is not a key.
    """
    signed = b".".join([identity.encode(), str(timestamp).encode(), body])
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if len(key) < _SMALLEST_KEY:
        raise Refused(
            "MESH_ALERT_SECRET must be at least 24 random bytes in base64: `openssl rand -base64 "
            "32`"
        )
    return key


def _request(channel: Channel, data: bytes | None, headers: dict[str, str]) -> None:
    try:
        scheme = urlsplit(channel.address).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https"):
        raise Refused("the address must begin with https:// or http://")
    try:
        request = Request(channel.address, data, headers)  # noqa: S310 - see above
        with _OPENER.open(request, timeout=_SECONDS):
            return
    except HTTPError as error:
        error.close()
        concerns_all = error.code >= 500 or error.code in _TRY_AGAIN
        is_too_large = error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        raise Refused(f"HTTP {error.code}", concerns_all, is_too_large) from None
    except (OSError, HTTPException, ValueError) as error:
        raise Refused(_reason(error)) from None


def _reason(error: Exception) -> str:
    """Why there was no answer, in words that hold nothing of the settings."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    reason = getattr(error, "reason", None)
    return getattr(reason, "strerror", None) or type(reason or error).__name__
