"""An object store for tests: moto, which serves S3 as AWS does."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

# With quotes and blanks, so that SQL that contains them unquoted fails.
KEY_ID, SECRET = "test'key", 'it\'s a "secret"'
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Store:
    """A store in which each test makes its own bucket."""

    url: str
    client: Any = field(repr=False)

    def bucket(self) -> str:
        """Makes a bucket and returns its name."""
        name = f"lake-{next(_NUMBERS)}"
        self.client.create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str, prefix: str = "") -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {entry["Key"] for page in pages for entry in page.get("Contents", ())}


@contextmanager
def running_store() -> Iterator[Store]:
    """Serves a store, and sets AWS's environment variables to it meanwhile."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            url = "http://{}:{}".format(*server.get_host_and_port())
            patch.setenv("AWS_ENDPOINT_URL", url)
            patch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
            patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            patch.setenv("AWS_REGION", "eu-central-1")
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            client = boto3.client("s3", region_name="us-east-1")
            yield Store(url, client)
    finally:
        server.stop()
