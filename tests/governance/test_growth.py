"""A table that only grows raises no alarm, and a change of meaning in a growing table does.

Belongs here: generated tables. Not here: one small example of each change (changes/).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison
from meshhouse.governance.contract import Contract
from meshhouse.governance.judgement import judge
from meshhouse.governance.statistics import statistics_of
from tests.support.changes import BASE, edited

CONTRACT = edited(BASE, {
    "columns.line": {"type": "bigint"},
    "columns.units": {"type": "integer"},
    "columns.weight": {"type": "double"},
    "columns.ordered_at": None,
})  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table that gets rows every day."""

    days: int
    """Days that are published."""
    more: int
    """Days that the candidate has in addition."""
    rows: int
    """Rows on a usual day."""
    seed: int
    smallest: float
    """The smallest amount; 0 and negative ones are usual too."""
    spread: float
    """How unequal amounts are: 2 makes the largest a thousand times the usual one."""
    growth: float
    """By how much amounts rise each day: prices, or a business that begins."""
    nulls: int
    """Of 100 rows, how many lack an amount; the first row does, unless none lack it."""
    has_date: bool
    has_late_rows: bool
    has_new_status: bool

    def sql(self, days: int, name: str = "") -> str:
        """The rows of the first days, of which the newest may lack rows that come later."""
        amount = (
            f"{self.smallest} + exp({self.spread} * sqrt(-2 * ln(u + 1e-9)) * cos(6.283 * v))"
            f" * power({1 + self.growth}, day)"
        )
        is_there = f"and (i = 0 or day < {days - 2} or w < 0.8)"
        late = is_there if self.has_late_rows and not name else ""
        status = "if(day > 35, 'returned', 'paid')" if self.has_new_status else "'paid'"
        date = "date '2020-01-01' + day as order_date," if self.has_date else ""
        return f"""
            select
                i as order_id,
                i % 37 as customer_id,
                {date}
                i as line,
                1 + cast(floor(5 * v) as integer) as units,
                10 * w as weight,
                case when u < 0.3 then 'open' when w < 0.5 then {status} else 'sent' end as status,
                case when 100 * w >= {self.nulls} and (i > 0 or {self.nulls} = 0)
                    then cast({amount} as decimal(18, 4)) end as amount
            from (
                select
                    i,
                    cast(i // {self.rows} as integer) as day,
                    hash(i + {self.seed}) % 100000 / 100000.0 as u,
                    hash(i + {self.seed} + 7) % 100000 / 100000.0 as v,
                    hash(i + {self.seed} + 99) % 100000 / 100000.0 as w
                from range({days * self.rows}) as r(i)
            ) as drawn
            where true {late}
        """


TABLES = st.builds(
    Table,
    days=st.integers(1, 60),
    more=st.integers(0, 60),
    rows=st.integers(1, 60),
    seed=st.integers(0, 10**6),
    smallest=st.sampled_from([0, 0.01, 5, -3]),
    spread=st.floats(0.1, 2),
    growth=st.sampled_from([0, 0.001, 0.05]),
    nulls=st.sampled_from([0, 30]),
    has_date=st.booleans(),
    has_late_rows=st.booleans(),
    has_new_status=st.booleans(),
)
LARGE = st.builds(
    Table,
    days=st.integers(10, 40),
    more=st.integers(0, 3),
    rows=st.integers(20, 60),
    seed=st.integers(0, 10**6),
    smallest=st.sampled_from([0, 5]),
    spread=st.floats(0.1, 1),
    growth=st.just(0),
    nulls=st.sampled_from([0, 30]),
    has_date=st.just(True),
    has_late_rows=st.booleans(),
    has_new_status=st.just(False),
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as opened:
        yield opened


def judged(
    connection: duckdb.DuckDBPyConnection, table: Table, edit: str = "*"
) -> tuple[Change, ...]:
    """The changes between the published days and the candidate, whose rows an edit alters."""
    contract = Contract(CONTRACT)
    before, after = (
        statistics_of(connection, f"({sql}) as t", contract)
        for sql in (
            table.sql(table.days),
            f"select {edit} from ({table.sql(table.days + table.more, 'candidate')}) as r",
        )
    )
    return judge(Comparison(contract, contract, before_statistics=before, after_statistics=after))


@settings(max_examples=40, deadline=None)
@given(table=TABLES)
def test_a_growing_table_raises_no_silent_alarm(connection, table):
    found = [each for each in judged(connection, table) if each.is_silent]
    assert found == []


@settings(max_examples=15, deadline=None)
@given(table=LARGE, factor=st.sampled_from([100, 0.01, 1000, 0.85]))
def test_figures_in_another_unit_are_found(connection, table, factor):
    edit = f"* replace (cast(amount * {factor} as decimal(18, 4)) as amount)"
    found = {each.key: each.verdict for each in judged(connection, table, edit)}
    # Among new rows may be the smallest and the largest one: then only a round factor is sure,
    # and values of new rows may hide another factor in the average.
    assert "M1:amount" in found or (factor == 0.85 and ("M2:amount" in found or table.more)), found
    assert "D5" in found
    assert not {key for key in found if key.startswith("M") and not key.endswith(":amount")}


NEAR_THE_MEAN = Table(
    days=10, more=0, rows=20, seed=23339, smallest=5, spread=0.375, growth=0, nulls=0,
    has_date=True, has_late_rows=False, has_new_status=False,
)  # fmt: skip
"""Its largest amount falls as much as the average when some amounts are halved."""


@settings(max_examples=10, deadline=None)
@example(table=NEAR_THE_MEAN)
@given(table=LARGE)
def test_figures_that_are_computed_otherwise_are_found(connection, table):
    edit = "* replace (if(units > 2, amount, amount * 0.5) as amount)"
    found = {each.key: each.verdict for each in judged(connection, table, edit)}
    # Values of new rows may make up for those of old rows in the average. D5 is listed anyway.
    assert found.get("M2:amount") == Verdict.BREAKING or table.more, found
    assert "D5" in found


@settings(max_examples=10, deadline=None)
@given(table=LARGE)
def test_another_sign_is_found(connection, table):
    found = {each.key for each in judged(connection, table, "* replace (-amount as amount)")}
    assert "M3:amount" in found


@settings(max_examples=10, deadline=None)
@given(table=LARGE)
def test_other_rows_of_old_days_are_found(connection, table):
    edit = "* replace (if(order_id = 0, 'lost', status) as status)"
    found = {each.row: each.verdict for each in judged(connection, table, edit)}
    assert found.get("D5") == Verdict.MINOR
    assert max(found.values()) == Verdict.MINOR
