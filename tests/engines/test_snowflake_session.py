"""Target `snowflake`: connections, and what the driver makes of results and failures.

What fakesnow never does (widths of numbers that change, sessions that end) is done by a
connection that stands in for the driver's.
"""

from __future__ import annotations

from typing import Any

import pytest
from snowflake_here import needs_snowflake

from meshhouse.errors import MeshError
from meshhouse.snowflake import Session, connect

pytestmark = needs_snowflake


@pytest.fixture
def session(chosen) -> Session:
    return connect()


class Cursor:
    """What a query returns."""

    def __init__(self, description: list[Any] = (), pieces: list[Any] = ()) -> None:
        self.description, self.pieces = description, pieces

    def cursor(self) -> Cursor:
        return self

    def execute(self, *statement: object) -> Cursor:
        return self

    def fetch_arrow_batches(self, **options: bool) -> Any:
        yield from self.pieces

    def fetch_arrow_all(self, **options: bool) -> Any:
        from snowflake.connector.errors import OperationalError

        raise OperationalError(msg="chunk 1 of 7 is gone", errno=253000)

    fetchall = fetch_arrow_all


@pytest.mark.parametrize("fetch", ["rows", "arrow"])
def test_rows_that_do_not_arrive_are_told_in_one_line(session, monkeypatch, fetch):
    monkeypatch.setattr(session, "connection", Cursor())
    with pytest.raises(MeshError, match=r"Snowflake refused a statement: .*chunk 1 of 7 is gone"):
        list(getattr(session, fetch)("select 1"))
