"""AWS's session: region and credentials from AWS's usual chain.

Belongs here: what every service of AWS needs. Not here: one service (lake/object_store.py,
extraction/kinesis.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from meshhouse.addresses import refuse_credentials
from meshhouse.errors import UsageError

SECONDS = 10
"""How long a connection may take; after that, a service counts as unreachable."""


def session(not_installed: str) -> tuple[Any, str | None]:
    """boto3's session, and the region that AWS's variables and files name.

    Args:
        not_installed: the message if boto3 is missing.

    Raises:
        UsageError: boto3 is missing, a setting cannot be used, or an address has credentials.
    """
    try:
        import boto3  # an extra
    except ImportError as error:
        raise UsageError(not_installed) from error
    for name, value in os.environ.items():
        if name.startswith("AWS_ENDPOINT_URL"):
            instead = "Write the address alone; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are for"
            refuse_credentials(name, value, f"{instead} credentials.")
    with usable_settings():
        found = boto3.Session()
        # Amazon's other tools read AWS_REGION; boto3 reads only AWS_DEFAULT_REGION.
        return found, os.environ.get("AWS_REGION") or found.region_name


def credentials(session: Any, service: str) -> Any:
    """The session's credentials, valid now.

    Args:
        session: boto3's session.
        service: what they are for, such as `the object store`.

    Raises:
        UsageError: there are none.
    """
    found = session.get_credentials()
    frozen = found.get_frozen_credentials() if found else None
    if frozen is None or not frozen.access_key or not frozen.secret_key:
        raise UsageError(
            f"There are no credentials for {service}: set AWS_PROFILE, or AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY, or log in as your AWS tools do."
        )
    return frozen


@contextmanager
def usable_settings() -> Iterator[None]:
    """Turns what boto3 says about settings into a message of one line.

    Raises:
        UsageError: a setting cannot be used.
    """
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except (BotoCoreError, ValueError) as error:
        raise UsageError(f"AWS's settings cannot be used: {str(error).rstrip('.')}.") from error
