"""The key of what a build remembers: everything that decides pages beside what happens.

Belongs here: what is in the key. Not here: entries of the ledger (since.py).
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime

from meshhouse.catalog.declared import Stamp
from meshhouse.catalog.digests import digest_of_code
from meshhouse.catalog.gather.policies import digest_of_package
from meshhouse.repository import Repository

_OURS = "MESH_"


def key_of(repository: Repository, consumer: str, stamp: Stamp, now: datetime) -> str:
    """The key: another one means that everything is gathered.

    Args:
        repository: what is declared.
        consumer: the domain for which the catalog is made.
        stamp: of all files of the repository.
        now: the time of the catalog; a new day changes what 30 days are.
    """
    settings = sorted((name, value) for name, value in os.environ.items() if name.startswith(_OURS))
    parts = (
        digest_of_code(),
        digest_of_package(),
        str(repository.root),
        str(repository.home),
        repository.environment,
        consumer,
        stamp.digest,
        str(now.astimezone(UTC).date()),
        repr(settings),
    )
    text = "\n".join(parts).encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()
