"""`mesh extract` sends each new row of a table once, from real databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace

import pytest

from meshhouse.extraction import extract, new_rows, parcel
from tests.support import tabled
from tests.support.tabled import TABLE, TOPICS, VARIABLE, Database, Shop

BY_TIME = "cursor: changed_at, lag: 60, key: sale_id"
_schemas = count(1)


@pytest.fixture(scope="module", params=["postgres", "mysql"])
def server(request):
    with tabled.running(request.param) as found:
        yield found


@pytest.fixture
def shop(mesh, server) -> Shop:
    database = Database(server.kind, server.url, server.server, f"s{next(_schemas)}")
    database.do(
        "create schema {}",
        f"create table {{}}.sales (sale_id bigint, customer_id int, amount decimal(12,2), "
        f"sold_at {database.instant}, changed_at {database.instant})",
    )
    return Shop(mesh, database)


def sell(shop: Shop, *rows: tuple[int, str | None]) -> None:
    """Inserts sales with the time of their change, in one transaction."""
    shop.database.do(*(
        f"insert into {{}}.sales values ({number}, 1, {number}.50, null, "
        f"{'null' if at is None else repr(at)})"
        for number, at in rows
    ))  # fmt: skip


def test_new_and_changed_rows_are_sent_once_in_order_of_the_cursor(shop):
    shop.declare(BY_TIME)
    sell(shop, (2, "2017-03-02 10:00:00"), (1, "2017-03-01 10:00:00.000001"))
    said = shop.run().stderr
    assert f"{TABLE}: 2 events sent to shop.sales" in said
    assert shop.events() == [
        {"sale_id": n, "customer_id": 1, "amount": n + 0.5, "sold_at": None} for n in (1, 2)
    ]
    assert shop.column("key") == [b"1", b"2"]
    [result] = json.loads(shop.run("--json").stdout)
    assert (result["events"], result["complete"]) == (0, True)
    shop.database.do(
        "update {}.sales set amount = 9, changed_at = '2017-03-03 10:00:00' where sale_id = 1"
    )
    shop.run()
    assert shop.numbers() == [1, 2, 1]


def test_equal_cursors_and_late_rows_are_neither_lost_nor_sent_twice(shop):
    shop.declare("cursor: changed_at, lag: 60")
    noon = "2017-03-01 12:00:00"
    sell(shop, (1, noon), (2, noon), (2, noon))
    shop.run()
    # Equal cursors, an equal row, one in the lag before, and one before that.
    sell(shop, (3, noon), (2, noon), (4, "2017-03-01 11:59:00"), (5, "2017-03-01 11:58:59.999999"))
    shop.run()
    assert sorted(shop.numbers()) == [1, 2, 2, 2, 3, 4]
    sell(shop, (6, "2017-03-01 12:10:00"), (7, noon))
    shop.run()
    assert sorted(shop.numbers()) == [1, 2, 2, 2, 3, 4, 6, 7]
    # Another lag sends nothing that was sent: what is known begins at 12:09:00.
    shop.mesh.edit(TOPICS, "lag: 60", "lag: 86400")
    sell(shop, (8, "2017-03-01 12:09:00"))
    shop.run()
    shop.run()
    assert sorted(shop.numbers()) == [1, 2, 2, 2, 3, 4, 6, 7, 8]


def test_a_row_that_changes_back_in_the_lag_is_sent_again(shop):
    shop.declare(BY_TIME)
    sell(shop, (1, "2017-03-01"), (2, "2017-03-01"), (2, "2017-03-01"))
    shop.run()
    for amount in (9, 1.5):
        shop.database.do(f"update {{}}.sales set amount = {amount} where sale_id = 1")
        shop.run()
    assert [each["amount"] for each in shop.events() if each["sale_id"] == 1] == [1.5, 9, 1.5]
    # Rows that are gone and come back are new, and equal rows count one by one.
    shop.database.do("delete from {}.sales where sale_id = 2")
    shop.run()
    sell(shop, (2, "2017-03-01"))
    shop.run()
    shop.run()
    assert shop.numbers().count(2) == 3


def test_a_transaction_that_commits_late_is_not_lost(shop):
    if shop.database.kind != "postgres":
        pytest.skip("one server is enough for what the lag covers")
    shop.declare("cursor: changed_at, lag: 60")
    late = shop.database.server.open()
    late.cursor().execute(
        f"insert into {shop.database.schema}.sales values (1, 1, 1, null, '2017-03-01 12:00:00')"
    )
    sell(shop, (2, "2017-03-01 12:00:30"))
    shop.run()
    assert shop.numbers() == [2]
    late.commit()
    late.close()
    shop.run()
    assert shop.numbers() == [2, 1]


def test_rows_without_a_usable_cursor_are_counted_and_fail(shop):
    shop.declare(BY_TIME)
    sell(shop, (1, None), (2, "2017-03-01"), (3, "2037-01-01"))
    unusable = 1
    if shop.database.kind == "postgres":
        sell(shop, (4, "infinity"), (5, "-infinity"), (6, "0044-03-15 BC"), (7, "10000-01-01"))
        unusable = 5
    done = shop.run(code=1)
    assert f"{unusable} rows of {shop.database.schema}.sales were not sent" in done.stderr
    assert "coalesce(changed_at" in done.stderr
    assert f"1 rows of {shop.database.schema}.sales wait" in done.stderr
    assert shop.numbers() == [2]
    # A row in the future hides none that comes later.
    shop.database.do("delete from {}.sales where sale_id not in (2, 3)")
    sell(shop, (8, "2017-04-01"))
    shop.run()
    assert shop.numbers() == [2, 8]


def test_dates_without_a_day_are_counted(shop):
    shop.database.do(f"create table {{}}.other (sale_id bigint, customer_id int, amount int, "
                     f"sold_at {shop.database.instant}, c date)")  # fmt: skip
    shop.declare("cursor: c, lag: 0", table="other")
    shop.database.do("insert into {}.other values (1, 1, 1, null, '2017-03-01')")
    if shop.database.kind == "mysql":
        shop.database.do(
            "set session sql_mode = ''",
            "insert into {}.other values (2, 1, 1, null, '2017-03-00'),"
            " (3, 1, 1, null, '2017-00-01'), (4, 1, 1, null, '2018-00-00')",
        )
        assert "3 rows of" in shop.run(code=1).stderr
        shop.database.do("delete from {}.other where sale_id > 1")
    assert "later than now in UTC" not in shop.run().stderr
    assert shop.numbers() == [1]


def test_a_local_time_ahead_of_utc_is_said(shop):
    ahead = (datetime.now(UTC) + timedelta(hours=10)).strftime("%Y-%m-%d %H:%M:%S")
    shop.database.do(f"create table {{}}.other (sale_id bigint, customer_id int, amount int, "
                     f"sold_at {shop.database.instant}, c {shop.database.local})",
                     f"insert into {{}}.other values (1, 1, 1, null, '{ahead}')")  # fmt: skip
    shop.declare("cursor: c, lag: 60", table="other")
    said = shop.run().stderr
    assert f"The greatest `c` of {shop.database.schema}.other is {ahead}" in said
    assert "later than now in UTC" in said


@pytest.mark.parametrize("kind", ["integer", "date", "local"])
def test_cursors_of_other_types(shop, kind):
    column, values = {
        "integer": ("bigint", ["-5", "1", "9223372036854775807"]),
        "date": ("date", ["'0001-01-01'", "'2017-03-01'", "'2017-03-02'"]),
        "local": (shop.database.local, ["'0001-01-01'", "'2017-03-01 01:02:03.000004'",
                                        "'2017-03-01 01:02:03.000005'"]),
    }[kind]  # fmt: skip
    shop.database.do(f"create table {{}}.other (sale_id bigint, customer_id int, amount int, "
                     f"sold_at {shop.database.instant}, c {column})")  # fmt: skip
    shop.declare("cursor: c, lag: 0", table="other")
    for number, value in enumerate(values):
        shop.database.do(f"insert into {{}}.other values ({number}, 1, 1, null, {value})")
        shop.run()
        assert shop.numbers() == list(range(number + 1))
    shop.database.do(f"insert into {{}}.other values (3, 1, 1, null, {values[-1]})")
    shop.run()
    assert shop.numbers() == [0, 1, 2, 3]


def test_a_whole_table_is_sent_again_only_if_it_changed(shop):
    shop.declare("key: sale_id")
    assert "has no rows to send" in shop.run().stderr
    sell(shop, (1, None), (2, None))
    shop.run()
    assert "is as it was" in shop.run().stderr
    assert sorted(shop.numbers()) == [1, 2]
    shop.database.do("delete from {}.sales where sale_id = 1")
    sell(shop, (3, None))
    shop.run()
    assert sorted(shop.numbers()) == [1, 2, 2, 3]
    # All rows of one reading have the same time, so the newest reading can be selected.
    times = shop.column("timestamp")
    assert times == [times[0]] * 2 + [times[-1]] * 2
    assert times[0] < times[-1]
    shop.mesh.edit(TOPICS, "key: sale_id}", "key: sale_id, every_hours: 24}")
    sell(shop, (4, None))
    assert "is read every 24 hours" in shop.run().stderr
    assert len(shop.numbers()) == 4


def test_a_reading_that_is_sent_in_part_does_not_land(shop, monkeypatch):
    monkeypatch.setenv(VARIABLE, shop.database.url)
    monkeypatch.setattr(parcel, "_EVENTS", 2)
    shop.declare("key: sale_id")
    sell(shop, *((n, None) for n in range(6)))
    asked = count()
    repository = shop.mesh.repository
    raw = repository.raw_table(TABLE)
    # Asked once while rows are read, and before each piece.
    assert not extract(repository, raw, stopped=lambda: next(asked) == 2).complete
    assert len(shop.numbers()) == 2
    said = shop.mesh.run("land", TABLE, code=1).stderr
    assert f"a reading of {shop.database.schema}.sales is sent in part" in said
    assert f"run `mesh extract {TABLE}` first" in said
    shop.run()
    assert "6 rows landed" in shop.mesh.run("land", TABLE).stderr


def test_the_newest_reading_has_the_greatest_time_though_the_clock_went_back(shop, monkeypatch):
    monkeypatch.setenv(VARIABLE, shop.database.url)
    shop.declare("key: sale_id")
    for number, clock in enumerate((2_000_000_000, 1_999_996_400, 1_999_996_401)):
        sell(shop, (number, None))
        monkeypatch.setattr(new_rows, "time", SimpleNamespace(time=lambda now=clock: now))
        extract(shop.mesh.repository, shop.mesh.repository.raw_table(TABLE))
    times, numbers = shop.column("timestamp"), shop.numbers()
    newest = [n for at, n in zip(times, numbers, strict=True) if at == max(times)]
    assert sorted(newest) == [0, 1, 2]


def test_memory_and_parcels_are_bounded(shop, monkeypatch):
    monkeypatch.setattr(new_rows, "_ROWS", 7)
    monkeypatch.setenv(VARIABLE, shop.database.url)
    shop.declare("cursor: changed_at, lag: 0")
    sell(shop, *((n, f"2017-03-01 00:00:{n // 10:02}") for n in range(50)))
    said: list[str] = []
    repository = shop.mesh.repository
    done = extract(repository, repository.raw_table(TABLE), say=said.append)
    assert (done.events, len(said)) == (50, 8)
    assert sorted(shop.numbers()) == list(range(50))
    assert list((shop.mesh.home / "extract").glob("*.arrow")) == []


def test_a_run_lands_what_the_database_holds(shop, monkeypatch):
    monkeypatch.setenv(VARIABLE, shop.database.url)
    shop.declare(BY_TIME)
    sell(shop, (1, "2017-03-01"), (2, "2017-03-02"))
    shop.mesh.run("run", "shop", environment={VARIABLE: shop.database.url})
    rows = shop.mesh.rows("select order_id, amount from shop.orders order by 1")
    assert [(number, str(amount)) for number, amount in rows] == [(1, "1.50"), (2, "2.50")]


def test_what_does_not_fit_is_one_line(shop):
    database, secret = shop.database, shop.database.url.split(":")[2].split("@")[0]
    shop.declare(BY_TIME)

    def refused(text: str, code: int = 1, **environment: str) -> None:
        shop.environment = environment
        done = shop.run("--quiet", code=code)
        assert done.stderr.count("\n") == 1, done.stderr
        line = done.stderr
        assert text in line, line
        assert TABLE in line
        assert secret not in line
        assert "wrong-secret" not in line
        shop.environment = {}

    refused("SHOP_DATABASE is not set", SHOP_DATABASE="")
    refused(
        "refuses the user or the password",
        SHOP_DATABASE=database.url.replace(secret, "wrong-secret"),
    )
    port = str(database.server.server.port if database.kind == "postgres" else database.server.port)
    refused("nothing", SHOP_DATABASE=database.url.replace(f":{port}", ":1"))
    refused(VARIABLE, SHOP_DATABASE="%%% wrong-secret @@@")
    if database.kind == "mysql":  # an empty option would mean no check of the certificate
        refused("is not a connection of MySQL", SHOP_DATABASE=f"{database.url}?ssl_ca=")
        refused("needs the whole path", SHOP_DATABASE=f"{database.url}?ssl_ca=ca.pem")
    shop.mesh.edit(TOPICS, f"{database.schema}.sales", f"{database.schema}.nothing'--")
    refused("does not exist in the database", code=2)
    shop.mesh.edit(TOPICS, f"{database.schema}.nothing'--", f"{database.schema}.sales")
    database.do("alter table {}.sales rename column amount to Amount2")
    refused("has no column `amount`", code=2)
    database.do("alter table {}.sales rename column Amount2 to amount")
    shop.mesh.edit(TOPICS, "cursor: changed_at", "cursor: amount")
    refused("A cursor is a timestamp, a date or an integer", code=2)
    shop.mesh.edit(TOPICS, "cursor: amount", "cursor: changed_at")
    shop.mesh.edit(TOPICS, "sold_at, data_type: timestamptz", "sold_at, data_type: timestamp")
    refused("Declare `timestamptz`", code=2)
    shop.mesh.edit(TOPICS, "sold_at, data_type: timestamp,", "sold_at, data_type: timestamptz,")
    sell(shop, (1, "2017-03-01"))
    database.do("insert into {}.sales values (null, 1, 1, null, '2017-03-02')")
    refused("has no `sale_id`, which is the key", code=2)
    assert shop.numbers() == []
    database.do("delete from {}.sales where sale_id is null")
    shop.run()
    assert shop.numbers() == [1]
    shop.mesh.edit(TOPICS, "cursor: changed_at", "cursor: sold_at")
    refused("Restore the declaration")


def test_another_key_or_type_of_the_cursor_is_refused(shop):
    shop.database.do(f"create table {{}}.other (sale_id bigint, customer_id int, amount int, "
                     f"sold_at {shop.database.instant}, c {shop.database.local})")  # fmt: skip
    shop.declare("cursor: c, lag: 60, key: sale_id", table="other")
    shop.database.do("insert into {}.other values (1, 7, 1, null, '2017-03-01 12:00:00')")
    shop.run()
    shop.mesh.edit(TOPICS, "key: sale_id", "key: customer_id")
    shop.database.do("insert into {}.other values (2, 7, 1, null, '2017-03-01 12:01:00')")
    said = shop.run(code=1).stderr
    assert "(timestamp), key sale_id`" in said
    assert "(timestamp), key customer_id`" in said
    assert "Restore the declaration or the type of the cursor" in said
    shop.mesh.edit(TOPICS, "key: customer_id", "key: sale_id")
    alter = "alter {} type" if shop.database.kind == "postgres" else "modify c"
    shop.database.do(f"alter table {{}}.other {alter.replace('{}', 'c')} date")
    assert "(date), key sale_id`" in shop.run(code=1).stderr
    assert shop.column("key") == [b"1"]


def test_a_table_that_was_filled_again_is_said(shop):
    shop.declare("cursor: sale_id, lag: 0")
    sell(shop, *((n, None) for n in range(5)))
    shop.run()
    shop.database.do("delete from {}.sales")
    sell(shop, (0, None), (1, None))
    assert "No row of" in shop.run().stderr
    assert shop.numbers() == [0, 1, 2, 3, 4]


def test_names_that_need_quotes(shop):
    quote = '"' if shop.database.kind == "postgres" else "`"
    name, odd = "Order % 'x' \\ ü", "When % it'"
    shop.database.do(
        f"create table {{}}.{quote}{name}{quote} (sale_id int, customer_id int, amount int, "
        f"sold_at {shop.database.instant}, {quote}{odd}{quote} int)",
        f"insert into {{}}.{quote}{name}{quote} values (1, 1, 1, null, 1)",
    )
    table = json.dumps(f"{shop.database.schema}.{name}")
    shop.declare(f"cursor: {json.dumps(odd)}, lag: 0")
    shop.mesh.edit(TOPICS, f"table: {shop.database.schema}.sales", f"table: {table}")
    shop.run()
    assert shop.numbers() == [1]


def test_misuse_is_found_by_mesh_check(mesh):
    mesh.edit(
        TOPICS, "topic: shop.sales, format: json",
        "topic: shop.sales, extract: {database: oracle, connection: 'postgresql://u:pass-word@h/d',"
        " table: orders, cursor: a, files: x}",
    )  # fmt: skip
    text = mesh.run("check", code=1).stdout
    for part in (
        "`oracle` is not one of postgres, mysql", "must be the name of an environment variable",
        "`table` must be `schema.table`", "a cursor needs `lag`", "`files` is for files",
    ):  # fmt: skip
        assert part in text, part
    assert "pass-word" not in text
    mesh.edit(TOPICS, "cursor: a, files: x", "lag: -1, every_hours: .inf")
    text = mesh.run("check", code=1).stdout
    assert "`lag` belongs to a cursor" in text
    assert "`lag` is `-1`" in text
    assert "`every_hours` is `inf`" in text


def test_a_topic_is_declared_from_a_table(shop):
    database = shop.database
    database.do(
        f"create table {{}}.visits (visit_id bigint not null, email varchar(99), "
        f"price decimal(12,2), wide decimal(38,2), at {database.local}, seen {database.instant}, "
        f"took time, _offset int, ok int)"
    )

    def new(*more: str, code: int = 0):
        arguments = (
            "--database", database.kind, "--connection", VARIABLE, "--from",
            f"{database.schema}.visits", *more,
        )  # fmt: skip
        environment = {VARIABLE: database.url}
        return shop.mesh.run("new", "topic", "shop.visits", *arguments, code=code,
                             environment=environment)  # fmt: skip

    assert "has no column `nothing`, which is the key" in new("--key", "nothing", code=2).stderr
    assert "a cursor needs `lag`" in new("--cursor", "seen", code=2).stderr.lower()
    said = new("--key", "visit_id", "--cursor", "seen", "--lag", "60").stderr
    assert "took: string; the database has time" in said
    assert "_offset: not a column" in said
    assert "email: looks personal" in said
    raw = shop.mesh.repository.raw_table("shop_raw.visits")
    assert [(each.name, each.data_type, each.required) for each in raw.columns] == [
        ("visit_id", "bigint", True), ("email", "string", False), ("price", "decimal(12,2)", False),
        ("wide", "decimal(38,2)", False), ("at", "timestamp", False),
        ("seen", "timestamptz", False), ("took", "string", False), ("ok", "integer", False),
    ]  # fmt: skip
    assert (raw.extraction.key, raw.extraction.table.lag) == ("visit_id", 60)
    shop.mesh.run("check")
    database.do("insert into {}.visits (visit_id, seen) values (1, '2017-03-01')")
    done = shop.mesh.run("extract", "shop_raw.visits", environment={VARIABLE: database.url})
    assert "1 event sent to shop.visits" in done.stderr
    assert "is declared in" in new("--key", "visit_id", code=2).stderr
