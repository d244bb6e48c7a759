"""A deadline for one whole request.

Belongs here: giving up after a time, whatever the receiver does. Not here: requests (webhook.py,
mail.py), or when to try again (deliver.py).

Timeouts of sockets start again with each byte. A receiver that answers one byte each three seconds
would hold a look for minutes, and Dagster ends a sensor after 60 s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from meshhouse.notices.refusal import Refused

SECONDS = 15.0
"""For one request, from looking up the name of the host to the end of the answer."""
T = TypeVar("T")


def within(work: Callable[[], T], seconds: float | None = None) -> T:
    """What `work` returns or raises.

    The thread of a request that takes longer ends with its connection, or with the process.

    Args:
        work: one request.
        seconds: how long it may take; `SECONDS` by default.

    Raises:
        Refused: it took longer.
    """
    limit = SECONDS if seconds is None else seconds
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="notice")
    thread.start()
    thread.join(limit)
    if errors:
        raise errors[0]
    if not results:
        raise Refused(f"no complete answer within {limit:g} s")
    return results[0]
