"""Which row is the newest does not depend on where a target sorts nulls."""

from __future__ import annotations

import duckdb
import jinja2
import pytest
from conftest import ROOT

TARGETS = pytest.mark.parametrize(
    "nulls",
    ["nulls_last", "nulls_first_on_asc_last_on_desc", "nulls_last_on_asc_first_on_desc"],
    ids=["local", "spark", "snowflake"],
)
"""DuckDB sorts as the target does."""


def sql(path: str, call: str = "") -> str:
    """A file's SQL, with stand-ins for other models and macros."""
    return jinja2.Template((ROOT / path).read_text() + call).render(
        ref=str, type_timestamptz=lambda: "timestamptz", ratio=lambda *_: "0", seconds_between=min
    )


def rows(nulls: str, tables: dict[str, str], query: str) -> list[tuple]:
    with duckdb.connect() as connection:
        connection.execute(f"set default_null_order = '{nulls}'")
        for name, values in tables.items():
            connection.execute(f"create table {name} as from (values {values}")
        return connection.execute(query).fetchall()


@TARGETS
def test_an_event_without_a_time_is_never_the_newest_of_its_key(nulls):
    events = (
        "('a', timestamp '2017-01-01', 0, 1, false), ('a', null, 0, 2, false)) "
        "as t(_key, _timestamp, _topic_partition, _offset, _tombstone)"
    )
    query = sql("macros/changelog.sql", "select _offset from {{ newest_per_key('events') }}")
    assert rows(nulls, {"events": events}, query) == [(1,)]


@TARGETS
def test_of_two_steps_of_a_ticket_at_the_same_time_the_same_counts(nulls):
    at = "timestamptz '2017-01-01 00:00:00Z'"
    events = (
        f"(1, 1, 'closed', 'other', 'low', 5, {at}), (1, 1, 'closed', 'other', 'low', null, {at}),"
        f"(1, 1, 'closed', 'other', null, 4, {at}), (1, 1, 'closed', null, 'low', 3, {at}),"
        f"(1, 1, 'forwarded', 'other', 'low', 2, {at})) "
        "as t(ticket_id, household_id, status, topic, priority, satisfaction, event_at)"
    )
    messages = "(null::bigint)) as t(ticket_id)"
    tables = {"stg_ticket_events": events, "stg_messages": messages}
    query = f"select satisfaction from ({sql('domains/support/models/products/tickets.sql')})"
    assert rows(nulls, tables, query) == [(5,)]
