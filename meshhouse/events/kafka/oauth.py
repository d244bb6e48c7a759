"""OAuth client credentials (RFC 6749, section 4.4) for client libraries that do not fetch tokens.

Belongs here: fetching a token, and caching it while it is valid. Not here: giving it to a library
(python.py).
"""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
import urllib.request

from meshhouse.errors import MeshError, UsageError
from meshhouse.events.kafka.settings import KafkaSettings


class ClientCredentials:
    """A token that is fetched at the first request, and again before it expires."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._token = ""
        self._renew_at = 0.0
        self._lock = threading.Lock()

    def token(self) -> str:
        """A token that is valid now; any thread may call this.

        Raises:
            MeshError: the token endpoint cannot be reached, or refuses.
        """
        with self._lock:
            if time.monotonic() >= self._renew_at:
                self._fetch()
            return self._token

    def _fetch(self) -> None:
        properties = self._settings.properties
        form = {
            "grant_type": "client_credentials",
            "client_id": properties["sasl.oauthbearer.client.id"],
            "client_secret": properties["sasl.oauthbearer.client.secret"],
        }
        if "sasl.oauthbearer.scope" in properties:
            form["scope"] = properties["sasl.oauthbearer.scope"]
        address = properties["sasl.oauthbearer.token.endpoint.url"]
        if not address.startswith(("https://", "http://")):
            raise UsageError("`sasl.oauthbearer.token.endpoint.url` is not a web address.")
        request = urllib.request.Request(  # noqa: S310
            address, data=urllib.parse.urlencode(form).encode()
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                granted = json.load(answer)
            self._token = granted["access_token"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise MeshError(
                f"No token came from {address} (`sasl.oauthbearer.token.endpoint.url`): "
                f"{self._settings.without_secrets(str(error))}. Check the address, and the "
                "client's id and secret."
            ) from error
        self._renew_at = time.monotonic() + 0.8 * float(granted.get("expires_in", 300))
