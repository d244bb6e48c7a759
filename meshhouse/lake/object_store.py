"""Access to an object store, for pyiceberg, DuckDB, Spark and boto3.

Belongs here: the folder of new tables, the store's endpoint and region, credentials from AWS's
usual chain, and messages for the store's errors. Not here: reading and writing files (storage.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from meshhouse import aws
from meshhouse.errors import MeshError, UsageError
from meshhouse.extras import installs

WAREHOUSE = "MESH_WAREHOUSE"
"""Names the folder of an object store that holds new tables."""

SECONDS = aws.SECONDS
"""How long a connection may take; after that, the store counts as unreachable."""

NOT_INSTALLED = (
    f"A warehouse on `s3://` needs packages that are not installed: run {installs('s3')}."
)

_SCHEMES = ("s3", "s3a", "s3n")
_REFUSALS = {"401", "403", "AccessDenied", "ExpiredToken", "Forbidden", "InvalidAccessKeyId",
             "InvalidToken", "SignatureDoesNotMatch"}  # fmt: skip
_SIGNS = ("AWS Error", "access denied: s3")
"""Texts in those errors of pyarrow that come from a store."""
_SIGNS_OF_REFUSAL = ("ACCESS_DENIED", "access denied", "HTTP 401", "HTTP 403")


class StoreFailed(MeshError):
    """The object store is unreachable, refuses access, or lacks the bucket."""


@dataclass(frozen=True)
class Access:
    """Address and credentials of a store, valid now; credentials may change within an hour."""

    endpoint: str
    region: str
    is_amazon: bool
    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    token: str | None = field(repr=False)


def warehouse() -> str | None:
    """The folder of new tables, if it is in an object store.

    Raises:
        UsageError: MESH_WAREHOUSE does not name a folder of an object store.
    """
    folder = os.environ.get(WAREHOUSE, "").rstrip("/")
    if not folder:
        return None
    parts = urlsplit(folder)
    if parts.scheme != "s3" or not parts.hostname or "@" in parts.netloc or parts.query:
        raise UsageError(
            f"{WAREHOUSE} does not name a folder of an object store. Write `s3://bucket/folder`; "
            "credentials come from AWS's own variables and files."
        )
    return folder


def is_remote(location: str) -> bool:
    """Whether a location is in an object store."""
    return location.partition("://")[0] in _SCHEMES


def reach(location: str) -> None:
    """Checks, once per process and bucket, that the store can be used, before work begins.

    Raises:
        StoreFailed: the store is unreachable, refuses access, or lacks the bucket.
        UsageError: there are no credentials or no region.
    """
    if is_remote(location):
        _reached(urlsplit(location).netloc, _variables())


@lru_cache(maxsize=16)
def _reached(bucket: str, variables: tuple[tuple[str, str], ...]) -> None:
    with asking(f"s3://{bucket}"):
        # Not `head_bucket`: its answer is a bare 400, without the reason.
        client().list_objects_v2(Bucket=bucket, MaxKeys=1)


def access() -> Access:
    """Address and credentials of the store, valid now.

    Raises:
        UsageError: there are no credentials, no region, or no such profile.
    """
    service, session, region = _store(_variables())
    frozen = aws.credentials(session, "the object store")
    endpoint = service.meta.endpoint_url
    return Access(endpoint, region, _is_amazon(endpoint), frozen.access_key, frozen.secret_key,
                  frozen.token)  # fmt: skip


def buckets(locations: Iterable[str]) -> list[str]:
    """The buckets of all locations in a store, each once."""
    return sorted({urlsplit(each).netloc for each in locations if is_remote(each)})


def client() -> Any:
    """boto3's client of the store.

    Raises:
        UsageError: see `access`.
    """
    access()  # its messages name what is missing
    return _store(_variables())[0]


def _variables() -> tuple[tuple[str, str], ...]:
    return tuple(sorted(each for each in os.environ.items() if each[0].startswith("AWS_")))


@lru_cache(maxsize=4)
def _store(variables: tuple[tuple[str, str], ...]) -> tuple[Any, Any, str]:
    """Client, session and region; cached until one of AWS's variables changes."""
    boto, region = aws.session(NOT_INSTALLED)
    from botocore.config import Config

    limits = {"connect_timeout": SECONDS, "retries": {"total_max_attempts": 3}}
    with aws.usable_settings():
        found = boto.client("s3", region_name=region, config=Config(**limits))
        if not _is_amazon(found.meta.endpoint_url):
            region = region or "us-east-1"
            style = Config(**limits, s3={"addressing_style": "path"})
            found = boto.client("s3", region_name=region, config=style)
    if region is None:
        raise UsageError("The region of the bucket is not known: set AWS_REGION.")
    return found, boto, region


def _is_amazon(endpoint: str) -> bool:
    return (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))


def bucket_and_key(location: str) -> dict[str, str]:
    """A location as boto3's parameters."""
    parts = location.partition("://")[2].partition("/")
    return {"Bucket": parts[0], "Key": parts[2]}


@contextmanager
def explained() -> Iterator[None]:
    """Turns errors of pyarrow and DuckDB about a store into a message of one line.

    `reach` has checked the store before the work; this is for a store that fails later. It is
    also a decorator.

    Raises:
        StoreFailed: the store could not be used.
    """
    try:
        yield
    except Exception as error:
        text = str(error)
        from_duckdb = type(error).__module__ == "_duckdb" and "HTTP" in text
        from_pyarrow = isinstance(error, OSError) and any(sign in text for sign in _SIGNS)
        if not from_duckdb and not from_pyarrow:
            raise
        if any(sign in text for sign in _SIGNS_OF_REFUSAL):
            raise StoreFailed(_said("", "AccessDenied")) from error
        raise StoreFailed(_away("it did before")) from error


@contextmanager
def asking(location: str) -> Iterator[None]:
    """Turns boto3's errors into a message of one line without secrets."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = bucket_and_key(location)["Bucket"]
    try:
        yield
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        if code in ("NoSuchKey", "404"):
            raise FileNotFoundError(location) from error
        raise StoreFailed(_said(bucket, code)) from error
    except BotoCoreError as error:
        raise StoreFailed(_away(type(error).__name__)) from error


def _said(bucket: str, code: str) -> str:
    if code in _REFUSALS:
        place = f" to bucket `{bucket}`" if bucket else ""
        return (
            f"The object store refuses access{place} ({code}). Check your AWS "
            "credentials and their permissions; then run the same command again."
        )
    if code == "NoSuchBucket":
        return f"The object store has no bucket `{bucket}`. Create it, or correct {WAREHOUSE}."
    return f"The object store failed at bucket `{bucket}`: {code}. Run the same command again."


def _away(what: str) -> str:
    address = urlsplit(_store(_variables())[0].meta.endpoint_url)
    port = f":{address.port}" if address.port else ""
    return (
        f"The object store at {address.scheme}://{address.hostname}{port} does not answer ({what})."
        " Check the network and AWS_ENDPOINT_URL; then run the same command again."
    )
