"""A client of Confluent's Schema Registry, and of others with the same API, such as Apicurio's.

Belongs here: fetching each schema and its references once, retrying, and the difference between
"there is no such schema" and "the registry is unreachable". Not here: the content of schemas
(avro.py, protobuf.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from meshhouse.errors import MeshError, UsageError

if TYPE_CHECKING:
    import requests

URL = "SCHEMA_REGISTRY_URL"
USER_INFO = "SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO"
PAUSES: Sequence[float] = (0.5, 1, 2, 4, 8)
"""Seconds before each further attempt."""
_TIMEOUT = 10
_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True)
class Schema:
    """A schema, and the schemas that it refers to."""

    kind: str
    """`AVRO`, `PROTOBUF` or `JSON`."""
    text: str
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class Reference:
    """A schema, with the name by which another schema refers to it."""

    name: str
    schema: Schema


class SchemaRegistry:
    """Schemas by id. Not thread-safe."""

    def __init__(
        self,
        url: str,
        user_info: str | None = None,
        serialized: bool = False,
        pauses: Sequence[float] | None = None,
    ) -> None:
        """Sends no request.

        Args:
            url: the registry's address; several addresses, separated by commas, are tried in order.
            user_info: `<user>:<password>`, or None.
            serialized: request protobuf schemas as descriptors instead of source text.
            pauses: seconds before each further attempt; by default `PAUSES`.
        """
        import requests

        user, colon, password = (user_info or "").partition(":")
        if user_info and not colon:
            raise UsageError(f"{USER_INFO} must be <user>:<password>; it has no colon.")
        self._auth = (user, password) if user_info else None
        try:
            self._urls = [self._without_user(each.strip()) for each in url.split(",")]
        except ValueError:
            raise UsageError(f"{URL} is not a URL. Correct it.") from None
        self._query = {"format": "serialized"} if serialized else {}
        self._pauses = PAUSES if pauses is None else pauses
        self._session = requests.Session()
        self._by_id: dict[int, Schema] = {}
        self._by_version: dict[tuple[str, int], Schema] = {}

    @classmethod
    def from_environment(cls, place: str, serialized: bool = False) -> SchemaRegistry:
        """The registry that the environment names.

        Raises:
            UsageError: the environment names none; `place` is the declaration that needs one.
        """
        url = os.environ.get(URL, "").strip(" ,")
        if not url:
            raise UsageError(f"{place}: its events name schemas of a schema registry. Set {URL}.")
        return cls(url, os.environ.get(USER_INFO), serialized)

    def schema(self, schema_id: int) -> Schema | None:
        """The schema of an id; None if the registry does not know the id.

        Raises:
            MeshError: the registry is unreachable or refuses.
        """
        if schema_id not in self._by_id:
            answer = self._get(f"/schemas/ids/{schema_id}")
            if answer is None:
                return None
            self._by_id[schema_id] = self._complete(answer)
        return self._by_id[schema_id]

    def _complete(self, answer: dict[str, Any]) -> Schema:
        references = tuple(
            Reference(each["name"], self._version(each["subject"], each["version"]))
            for each in answer.get("references") or ()
        )
        # The registry omits `schemaType` for Avro.
        return Schema(answer.get("schemaType") or "AVRO", answer["schema"], references)

    def _version(self, subject: str, version: int) -> Schema:
        key = (subject, version)
        if key not in self._by_version:
            path = f"/subjects/{quote(subject, safe='')}/versions/{version}"
            answer = self._get(path, deleted="true")
            if answer is None:
                raise MeshError(
                    f"The schema registry refers to version {version} of `{subject}` but does not "
                    "have it. Restore it there, then run the same command again."
                )
            self._by_version[key] = self._complete(answer)
        return self._by_version[key]

    def _get(self, path: str, **query: str) -> dict[str, Any] | None:
        problem = ""
        for attempt, pause in enumerate((0, *self._pauses)):
            if pause:
                time.sleep(pause)
            url = self._urls[attempt % len(self._urls)]
            response, problem = self._ask(url + path, {**self._query, **query})
            if response is not None:
                return _answer(url, response)
        raise MeshError(
            f"The schema registry at {', '.join(self._urls)} {problem}, "
            f"{len(self._pauses) + 1} times. Nothing was landed. Run the same command again later."
        )

    def _ask(self, url: str, query: dict[str, str]) -> tuple[requests.Response | None, str]:
        """An answer, or the reason for another attempt."""
        import requests

        try:
            response = self._session.get(url, params=query, auth=self._auth, timeout=_TIMEOUT)
        except requests.RequestException as error:
            name = type(error).__name__
            if isinstance(error, ValueError):  # requests' errors about the address itself
                raise MeshError(f"{url} cannot be used ({name}). Correct {URL}.") from error
            return None, f"cannot be reached ({name})"
        if response.status_code == _TOO_MANY_REQUESTS or response.status_code >= 500:
            return None, f"answers {response.status_code}"
        return response, ""

    def _without_user(self, url: str) -> str:
        # As in Confluent's clients, the URL may hold the user. Errors must not show it.
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{URL} must begin with http:// or https:// and name a host.")
        if parts.username and self._auth is None:
            self._auth = (unquote(parts.username), unquote(parts.password or ""))
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def _answer(url: str, response: requests.Response) -> dict[str, Any] | None:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        if response.ok and isinstance(answer.get("schema"), str):
            return answer
        # 40401 to 40403: no such subject, version, schema. Other servers send a 404 without these.
        if response.status_code == 404 and answer.get("error_code") in (40401, 40402, 40403):
            return None
    if response.status_code in (401, 403):
        raise MeshError(
            f"The schema registry at {url} answers {response.status_code}. Correct {USER_INFO}."
        )
    raise MeshError(
        f"{url} answers {response.status_code}, not as a schema registry does. Correct {URL}."
    )
