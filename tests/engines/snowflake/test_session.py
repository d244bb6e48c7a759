"""Target `snowflake`: connections, and the driver's results and failures.

fakesnow never changes the width of numbers or ends a session, so the tests replace the driver's
connection for that.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from meshhouse.engines.snowflake.session import Crowded, Session, connect
from meshhouse.errors import MeshError
from tests.support.snowflake_here import needs_snowflake, private_key

pytestmark = needs_snowflake


@pytest.fixture
def session(chosen) -> Session:
    return connect()


class Cursor:
    """A connection and cursor with prepared results."""

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
def test_rows_that_do_not_arrive_are_reported_in_one_line(session, monkeypatch, fetch):
    monkeypatch.setattr(session, "connection", Cursor())
    with pytest.raises(MeshError, match=r"Snowflake refused a statement: .*chunk 1 of 7 is gone"):
        list(getattr(session, fetch)("select 1"))


def test_a_result_has_one_schema_whatever_width_its_numbers_come_in(session, monkeypatch):
    from snowflake.connector.cursor import ResultMetadata

    def column(name: str, code: int, precision: int | None, scale: int | None) -> ResultMetadata:
        return ResultMetadata(name, code, None, None, precision, scale, True)

    def piece(numbers: list[int], kind: pa.DataType, money: pa.DataType) -> pa.Table:
        wide = pa.array(numbers, pa.decimal128(38, 0))
        amount = pa.array([Decimal("1.50")] * len(numbers), money)
        text = pa.array(["a"] * len(numbers))
        return pa.table([pa.array(numbers, kind), wide, amount, text], ["N", "W", "AMOUNT", "T"])

    description = [
        column("N", 0, 38, 0), column("W", 0, 25, 0), column("AMOUNT", 0, 12, 2),
        column("T", 2, None, None),
    ]  # fmt: skip
    pieces = [
        piece([1], pa.int8(), pa.decimal128(3, 2)),
        piece([70_000], pa.int32(), pa.decimal128(38, 2)),
        piece([2**40, 2], pa.decimal128(38, 0), pa.decimal128(12, 2)),
    ]
    monkeypatch.setattr(session, "connection", Cursor(description, pieces))
    whole = pa.concat_tables(session.arrow("select 1"))
    assert whole.column("N").to_pylist() == [1, 70_000, 2**40, 2]
    assert [str(each) for each in whole.schema.types] == [
        "int64", "decimal128(25, 0)", "decimal128(12, 2)", "string",
    ]  # fmt: skip
    too_large = [piece([1], pa.int8(), pa.decimal128(12, 2)),
                 piece([10**20], pa.decimal128(38, 0), pa.decimal128(12, 2))]  # fmt: skip
    monkeypatch.setattr(session, "connection", Cursor(description, too_large))
    with pytest.raises(MeshError, match=r"is too large: .* Cast its column to `number\(37, 0\)`"):
        list(session.arrow("select 1"))


def test_a_query_is_answered_in_numbers_of_the_types_that_were_declared(chosen):
    reader = chosen.query(
        "select cast(1 as number(38, 0)) as whole, cast(1.5 as number(12, 2)) as amount, "
        "cast('a' as varchar) as name, cast('2017-01-01' as timestamp_tz) as at"
    )
    assert [str(field.type) for field in reader.schema][:3] == [
        "int64", "decimal128(12, 2)", "string",
    ]  # fmt: skip
    assert reader.read_all().num_rows == 1
    assert chosen.query("select 1 as one where false").read_all().schema.types == [pa.int64()]


class Ended:
    """A connection that Snowflake has ended."""

    def __init__(self, errno: int) -> None:
        self.errno = errno

    def cursor(self) -> Any:
        from snowflake.connector.errors import ProgrammingError

        raise ProgrammingError(msg="Session no longer exists. New login required", errno=self.errno)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("errno", [390111, 390112, 390114, 250002])
def test_a_session_that_ended_is_replaced_with_its_tag(session, monkeypatch, fakesnow, errno):
    session.tag(step="landing")
    before = len(fakesnow.statements())
    monkeypatch.setattr(session, "connection", Ended(errno))
    assert session.rows("select 1") == [(1,)]
    sent = fakesnow.statements()[before:]
    tag = f'{{"database": "{session.database}", "step": "landing"}}'
    assert [each for each in sent if "query_tag" in each] == [
        f"alter session set query_tag = '{tag}'"
    ]
    assert session.rows("select 2") == [(2,)]


def test_a_transaction_whose_session_ended_is_not_half_done_on_another_one(session, monkeypatch):
    table = f"{session.database}.public.t"
    session.execute(f"create schema if not exists {session.database}.public")
    session.execute(f"create table {table} (a number)")

    def insert_amid_an_end() -> None:
        with session.transaction():
            session.execute(f"insert into {table} select 1")
            monkeypatch.setattr(session, "connection", Ended(390112))
            with suppress(MeshError):
                session.execute(f"insert into {table} select 2")
            session.execute(f"insert into {table} select 3")

    with pytest.raises(MeshError, match=r"was lost. Run the same command again"):
        insert_amid_an_end()
    assert session.rows(f"select count(*) from {table} where a > 1") == [(0,)]


def test_a_connection_whose_transaction_cannot_be_ended_is_left_for_another(session, monkeypatch):
    def fail_while_nothing_answers() -> None:
        with session.transaction():
            monkeypatch.setattr(session, "connection", Ended(0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_nothing_answers()
    assert session.rows("select 1") == [(1,)]


def test_a_lock_with_too_many_waiters_has_its_own_error(session, monkeypatch):
    monkeypatch.setattr(session, "connection", Ended(625))
    with pytest.raises(Crowded):
        session.execute("select 1")


def test_an_encrypted_key_without_its_passphrase_is_reported_with_the_variable(
    chosen, monkeypatch, tmp_path
):
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(private_key(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    file = tmp_path / "encrypted.p8"
    file.write_bytes(encrypted)
    monkeypatch.setenv("SNOWFLAKE_PRIVATE_KEY_FILE", str(file))
    with pytest.raises(MeshError, match=r"refused the login of mesh: .*KEY_PASSPHRASE"):
        connect()
    monkeypatch.setenv("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "word")
    assert connect().rows("select 1") == [(1,)]


def test_what_accounts_may_set_otherwise_is_said_with_each_connection(chosen, monkeypatch):
    from snowflake import connector

    said: dict[str, Any] = {}
    monkeypatch.setattr(connector, "connect", lambda **options: said.update(options))
    connect("a_domain_without_a_connection")
    assert said["autocommit"] is True
    parameters = said["session_parameters"]
    assert parameters["TIMEZONE"] == "UTC"
    assert parameters["TIMESTAMP_INPUT_FORMAT"] == "AUTO"
    assert parameters["TIMESTAMP_TYPE_MAPPING"] == "TIMESTAMP_NTZ"
