"""Reads and credits in Snowflake's history: rows as ACCOUNT_USAGE has them.

fakesnow has no ACCOUNT_USAGE, so one test makes the three views there as tables, with the columns
that Snowflake documents, and runs the statements on them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from meshhouse.engines.histories import Known
from meshhouse.engines.snowflake import history
from meshhouse.engines.snowflake.history import costs_of_runs, import_history, reads_of
from meshhouse.engines.snowflake.session import connect
from meshhouse.errors import MeshError
from meshhouse.usage import ReadStore, costs_of
from meshhouse.usage.reads import UNKNOWN
from tests.support.snowflake_here import needs_snowflake

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
KNOWN = Known(
    {
        "sales.orders": {"order_id": "order_id", "amount": "Amount"},
        "crm.customers": {"customer_id": "customer_id"},
    },
    frozenset(["sales", "crm"]),
)


def table(name="MESH.SALES.ORDERS", columns=("AMOUNT",), domain="Table", number=66564):
    listed = [{"columnId": 68610 + at, "columnName": each} for at, each in enumerate(columns)]
    return {"columns": listed, "objectDomain": domain, "objectId": number, "objectName": name}


def access(query="q1", *objects, began=NOW - timedelta(days=1), tag="", status="SUCCESS",
           rows=7, bytes_=1001, elapsed=500, credit="0.0000125", accelerated=None):  # fmt: skip
    return (
        query, began, "JSMITH", json.dumps(objects or [table()]), tag, status, rows, bytes_,
        elapsed, credit and Decimal(credit), accelerated,
    )  # fmt: skip


def read(*rows):
    return dict(reads_of(rows, "MESH", KNOWN))


def test_a_query_of_one_product():
    [found] = read(access("q1", table(columns=("AMOUNT", "ORDER_ID"))))["q1"]
    assert (found.product, found.columns) == ("sales.orders", ("Amount", "order_id"))
    assert (found.user, found.consumer, found.at) == ("JSMITH", "", NOW - timedelta(days=1))
    assert (found.rows, found.bytes, found.milliseconds) == (7, 1001, 500)
    assert found.nanocredits == 12_500


def test_what_a_query_of_two_products_takes_is_shared_without_rest():
    found = read(access("q1", table(), table("MESH.CRM.CUSTOMERS"), accelerated=Decimal("0.5")))
    assert {each.product for each in found["q1"]} == {"sales.orders", "crm.customers"}
    assert sum(each.bytes for each in found["q1"]) == 1001
    assert sum(each.nanocredits for each in found["q1"]) == 500_012_500
    assert {each.rows for each in found["q1"]} == {None}


def test_a_consumer_names_itself_in_the_query_tag():
    [found] = read(access(tag='{"step": "mesh sql", "consumer": "finance"}'))["q1"]
    assert found.consumer == "finance"
    [found] = read(access(tag="nightly report"))["q1"]
    assert found.consumer == ""


@pytest.mark.parametrize(
    "row",
    [
        access(tag='{"domain": "crm", "product": "customers", "run": "r"}'),
        access(status="FAIL"),
        access("q1", table("MESH.SALES_RAW.ORDERS")),
        access("q1", table("OTHER.SALES.ORDERS")),
        access("q1", table(domain="Stage")),
        ("q1", NOW, "JSMITH", None, None, None, None, None, None, None, None),
        ("q1", NOW, "JSMITH", "{broken", None, None, None, None, None, None, None),
    ],
)
def test_what_is_not_a_read_of_a_product(row):
    assert read(row) == {}


def test_quoted_names_and_names_of_views():
    assert read(access("q1", table('"MESH"."SALES"."ORDERS"', domain="View")))["q1"]
    assert read(access("q1", table('MESH.SALES."a.b""c"'))) == {}


def test_what_snowflake_cut_is_unknown():
    [found] = read(access("q1", table("TRUNCATED", number=-1)))["q1"]
    assert (found.product, found.columns) == (UNKNOWN, None)
    [found] = read(access("q1", table(columns=("AMOUNT", "TRUNCATED"))))["q1"]
    assert (found.product, found.columns) == ("sales.orders", None)


def test_credits_of_runs_are_costs_of_products_and_no_reads():
    tags = [
        {"database": "MESH", "domain": "sales", "product": "orders", "run": "r"},
        {"database": "MESH", "domain": "sales", "product": "stg_orders", "run": "r"},
        {"database": "MESH", "domain": "sales"},
    ]
    rows = [
        (f"q{at}", NOW, "MESH", json.dumps(tag), Decimal("0.1"), None)
        for at, tag in enumerate(tags)
    ]
    found = [each for _, reads in costs_of_runs(rows, "MESH", KNOWN) for each in reads]
    assert [(each.product, each.count) for each in found] == [
        ("sales.orders", 0), ("sales.(other)", 0)
    ]  # fmt: skip
    reads = [*found, *read(access(credit="0.2"))["q1"]]
    done = costs_of([], {}, [], reads, NOW)
    assert done.total.credits == pytest.approx(0.4)
    assert {name: cost.credits for name, cost in done.consumers.items()} == {
        "nobody": pytest.approx(0.1), "user JSMITH": pytest.approx(0.3)
    }  # fmt: skip


OWN = {"database": "MESH", "domain": "sales", "product": "sales.orders", "run": "r"}


@pytest.mark.parametrize(
    ("change", "product"),
    [
        ({}, "sales.orders"),
        ({"database": "mesh"}, "sales.orders"),
        ({"product": None}, "sales.(other)"),
        ({"domain": None, "product": None}, "mesh.(other)"),
        ({"environment": "dev"}, None),
        ({"database": "OTHER"}, None),
        ({"database": None}, None),
        ({"domain": "evil\x1b[31m"}, None),
        ({"domain": ["sales"]}, None),
    ],
)
def test_only_runs_of_this_mesh_in_production_cost(change, product):
    rows = [("q", NOW, "MESH", json.dumps({**OWN, **change}), Decimal("0.1"), None)]
    found = [each.product for _, reads in costs_of_runs(rows, "MESH", KNOWN) for each in reads]
    assert found == ([product] if product else [])


def test_runs_of_another_mesh_are_consumers_and_environments_are_not():
    [found] = read(access(tag=json.dumps({**OWN, "database": "other", "domain": "risk"})))["q1"]
    assert found.consumer == "risk of OTHER"
    assert read(access(tag=json.dumps(OWN))) == {}
    assert read(access(tag='{"database": "MESH", "environment": "dev", "step": "mesh sql"}')) == {}


@pytest.mark.parametrize(
    "tag", ["[" * 200_000, '{"consumer": null}', '{"consumer": "\\ud800\\u001b"}', '["run"]']
)
def test_a_hostile_tag_says_nothing(tag):
    [found] = read(access(tag=tag))["q1"]
    assert (found.product, found.consumer) == ("sales.orders", "")


def test_a_history_in_another_form_is_unknown():
    rows = [access("q1", None, table(""), table("a.b")), access("q2", credit="NaN")]
    assert [each.product for each in read(rows[0])["q1"]] == [UNKNOWN]
    assert [each.nanocredits for each in read(rows[1])["q2"]] == [None]


class History:
    """A session whose history has rows, some of them late."""

    database = "MESH"

    def __init__(self):
        self.accesses, self.asked = [], []

    def rows(self, statement, *values):
        self.asked.append(values)
        begin, end = (datetime.fromisoformat(each) for each in values[-2:])
        found = self.accesses if "access_history as a" in statement else []
        return [each for each in found if begin <= each[1] < end]


@pytest.fixture
def session(monkeypatch):
    found = History()
    monkeypatch.setattr(history, "connect", lambda: found)
    return found


def test_imports_overlap_and_count_each_query_once(session, tmp_path):
    store, hours = ReadStore(tmp_path), timedelta(hours=1)
    session.accesses = [access("old", began=NOW - 20 * hours), access("new", began=NOW - hours)]
    assert import_history(store, KNOWN, NOW).added == 1  # `new` may lack its credits
    assert import_history(store, KNOWN, NOW).added == 0
    # A query that ran for a day appears after the import of the time when it began.
    session.accesses.append(access("long", began=NOW - 30 * hours))
    done = import_history(store, KNOWN, NOW + 12 * hours)
    assert (done.added, done.noun) == (2, "query")
    assert sum(each.count for each in store.read().reads) == 3
    import_history(store, KNOWN, NOW + timedelta(days=30))
    assert store.imported("snowflake") == set()  # never asked for again
    assert sum(each.count for each in store.read().reads) == 3


def test_a_crash_repeats_nothing(session, tmp_path, monkeypatch):
    store = ReadStore(tmp_path)
    session.accesses = [access("old", began=NOW - timedelta(days=1))]

    def broken(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ReadStore, "forget", broken)
        with pytest.raises(KeyboardInterrupt):
            import_history(store, KNOWN, NOW)
    import_history(store, KNOWN, NOW)
    assert sum(each.count for each in store.read().reads) == 1


def test_a_role_without_the_history_learns_what_it_needs(session, tmp_path, monkeypatch):
    def refused(statement, *values):
        raise MeshError("Snowflake refused a statement: Object does not exist.")

    monkeypatch.setattr(session, "rows", refused)
    with pytest.raises(MeshError, match="governance_viewer"):
        import_history(ReadStore(tmp_path), KNOWN, NOW)


VIEWS = """
create database if not exists snowflake;
create schema if not exists snowflake.account_usage;
create table snowflake.account_usage.access_history (query_id varchar,
    query_start_time timestamp_ltz, user_name varchar, base_objects_accessed varchar);
create table snowflake.account_usage.query_history (query_id varchar, start_time timestamp_ltz,
    query_tag varchar, execution_status varchar, rows_produced number, bytes_scanned number,
    total_elapsed_time number);
create table snowflake.account_usage.query_attribution_history (query_id varchar,
    start_time timestamp_ltz, user_name varchar, query_tag varchar,
    credits_attributed_compute number(38, 12), credits_used_query_acceleration number(38, 12));
"""


@needs_snowflake
def test_the_statements_run(chosen, tmp_path):
    session = connect()
    for statement in VIEWS.split(";"):
        if statement.strip():
            session.execute(statement)
    began = (NOW - timedelta(days=1)).isoformat()
    objects = json.dumps([table(f"{session.database}.SALES.ORDERS")])
    views = "snowflake.account_usage"
    run_tag = json.dumps(
        {"database": session.database, "domain": "sales", "product": "orders", "run": "r"}
    )
    session.execute(
        f"insert into {views}.access_history values ('q1', ?, 'ANN', ?)", began, objects
    )
    session.execute(
        f"insert into {views}.query_history values ('q1', ?, '', 'SUCCESS', 7, 100, 50)", began
    )
    for query, tag in (("q1", ""), ("q2", run_tag)):
        session.execute(
            f"insert into {views}.query_attribution_history values (?, ?, 'ANN', ?, 0.25, null)",
            query, began, tag,
        )  # fmt: skip
    store = ReadStore(tmp_path)
    assert import_history(store, KNOWN, NOW).added == 2
    run, query = sorted(store.read().reads, key=lambda each: each.count)
    assert (run.count, run.nanocredits) == (0, 250_000_000)
    assert (query.user, query.columns, query.rows) == ("ANN", ("Amount",), 7)
    assert query.nanocredits == 250_000_000
    assert abs(query.at - (NOW - timedelta(days=1))) < timedelta(seconds=1)
