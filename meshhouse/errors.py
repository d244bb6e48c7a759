"""Every failure that Meshhouse explains to a person.

Belongs here: the one family of exceptions, with their exit codes. A message explains the
failure in plain English and ends with what to do. Not here: printing (cli/).
"""

from __future__ import annotations


class MeshError(Exception):
    """Something failed; the message says what, where and what to do."""

    exit_code = 1


class UsageError(MeshError):
    """The request or a declaration is wrong, and nothing was attempted."""

    exit_code = 2


class NotShown(MeshError):
    """A publication is recorded in the ledger, but readers do not see it yet."""
