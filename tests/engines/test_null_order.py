"""The newest row is the same on every target, wherever the target sorts nulls."""

from __future__ import annotations

import duckdb
import jinja2
import pytest

from tests.conftest import ROOT

TARGETS = pytest.mark.parametrize(
    "nulls",
    ["nulls_last", "nulls_first_on_asc_last_on_desc", "nulls_last_on_asc_first_on_desc"],
    ids=["local", "spark", "snowflake"],
)
"""DuckDB's setting that sorts nulls as the target does."""


def sql(path: str, call: str = "") -> str:
    """A file's SQL, with stand-ins for other models and macros."""
    shared = (ROOT / "meshhouse/macros/incremental.sql").read_text()
    return jinja2.Template(shared + (ROOT / path).read_text() + call).render(
        ref=str, type_timestamptz=lambda: "timestamptz", ratio=lambda *_: "0", seconds_between=min
    )


def rows(nulls: str, tables: dict[str, str], query: str) -> list[tuple]:
    with duckdb.connect() as connection:
        connection.execute(f"set default_null_order = '{nulls}'")
        for name, values in tables.items():
            connection.execute(f"create table {name} as from (values {values}")
        return connection.execute(query).fetchall()


CHANGES = "_key, _timestamp, _topic_partition, _offset, _tombstone, _landed_at"
AT, EARLIER, UNKNOWN = "timestamp '2017-01-02'", "timestamp '2017-01-01'", "null"


def change(at: str, partition: int, offset: int, landed: int = 1, gone: bool = False) -> str:
    """An event of the key `a`."""
    return f"('a', {at}, {partition}, {offset}, {gone}, timestamp '2026-01-01 00:00:0{landed}')"


@TARGETS
@pytest.mark.parametrize(
    ("events", "newest"),
    [
        ([change(AT, 0, 1), change(EARLIER, 0, 2)], [(0, 2)]),
        ([change(AT, 0, 1), change(UNKNOWN, 0, 2)], [(0, 2)]),
        ([change(AT, 0, 1), change(EARLIER, 0, 2, gone=True)], []),
        ([change(AT, 0, 1), change(UNKNOWN, 0, 2, gone=True)], []),
        ([change(EARLIER, 0, 1, gone=True), change(AT, 0, 0)], []),
        # Reprocessed or replayed: an older event that landed later.
        ([change(AT, 0, 1, landed=2), change(AT, 0, 2, landed=1)], [(0, 2)]),
        # The key moved when partitions were added.
        ([change(EARLIER, 0, 9), change(AT, 1, 0)], [(1, 0)]),
        ([change(EARLIER, 1, 9), change(AT, 0, 0)], [(0, 0)]),
        ([change(UNKNOWN, 1, 9), change(EARLIER, 0, 0)], [(0, 0)]),
        ([change(AT, 1, 0), change(EARLIER, 1, 1), change(EARLIER, 0, 5, landed=2)], [(0, 5)]),
        ([change(AT, 0, 5), change(AT, 1, 5, landed=2)], [(1, 5)]),
        ([change(EARLIER, 0, 5), change(AT, 1, 5, gone=True)], []),
    ],
)
def test_the_last_event_of_a_key_counts_and_clocks_decide_between_partitions_only(
    nulls, events, newest
):
    changes = f"{', '.join(events)}) as t({CHANGES})"
    query = sql(
        "meshhouse/macros/changelog.sql",
        "select _topic_partition, _offset from {{ newest_per_key('events') }}",
    )
    assert rows(nulls, {"events": changes}, query) == newest


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
