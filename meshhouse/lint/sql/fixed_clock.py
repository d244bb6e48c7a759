"""A clock for dbt's templates that always shows the same time.

Belongs here: replacing what differs between two renderings of the same files. Not here: rendering
(rendering.py), or finding reads of the clock (repository/hidden.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, tzinfo
from typing import Any
from unittest.mock import patch

_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_INVOCATION = "00000000-0000-0000-0000-000000000000"


class _Datetime(datetime):
    """`modules.datetime.datetime` of templates."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return _TIME.astimezone(tz) if tz else _TIME.replace(tzinfo=None)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now()

    @classmethod
    def today(cls) -> Any:
        return cls.now()


class _Date(date):
    """`modules.datetime.date` of templates."""

    @classmethod
    def today(cls) -> Any:
        return _TIME.date()


@contextmanager
def fixed_clock() -> Iterator[None]:
    """Templates see a fixed time and invocation id: `{{ run_started_at }}` is a legal filter.

    Otherwise such a product would have another contract in every run. The patches are global, so
    only one call of dbt may run.
    """
    from dbt import tracking
    from dbt.context import base

    modules = base.get_datetime_module_context
    always = property(lambda user: _TIME, lambda user, value: None)
    with ExitStack() as stack:
        for place, name, value in [
            (tracking.User, "run_started_at", always),
            (base, "get_invocation_id", lambda: _INVOCATION),
            (base, "get_datetime_module_context",
             lambda: {**modules(), "datetime": _Datetime, "date": _Date}),
        ]:  # fmt: skip
            stack.enter_context(patch.object(place, name, value, create=True))
        yield
