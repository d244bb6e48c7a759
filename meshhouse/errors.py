"""Every failure that Meshhouse explains to a person.

Belongs here: the one exception family; the message is the explanation, in plain
English, and ends with what to do. Does not: printing (cli/) or deciding exit codes
beyond the class below.
"""

from __future__ import annotations


class MeshError(Exception):
    """Something failed; the message says what, where and what to do."""

    exit_code = 1


class UsageError(MeshError):
    """The request or a declaration is wrong: nothing was attempted."""

    exit_code = 2


class NotShown(MeshError):
    """A publication is decided and recorded, but readers do not see it yet."""
