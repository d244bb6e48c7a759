"""Nested columns of raw tables in Snowflake, which holds each of them as an object."""

from __future__ import annotations

import json

import pytest

from meshhouse.engines import engine
from meshhouse.engines.snowflake.session import connect
from meshhouse.errors import UsageError
from meshhouse.landing import land_table
from tests.support.snowflake_here import needs_snowflake

pytestmark = needs_snowflake

TOPICS = "domains/shop/models/topics.yml"
AMOUNT = '- {name: amount, data_type: "decimal(12,2)"'
BEFORE = "struct<a integer, b array<struct<c string>>>"


def land(mesh) -> None:
    repository = mesh.repository
    for raw in repository.domain("shop").raw_tables:
        land_table(repository, engine(repository).store, raw)


def declare(mesh, kind: str) -> None:
    column = f'- {{name: value, data_type: "{kind}", description: What else.}}\n          {AMOUNT}'
    mesh.edit(TOPICS, AMOUNT, column)


def send(mesh, *values: object) -> None:
    fields = {"customer_id": 7, "amount": 1, "sold_at": "2024-01-02T03:04:05Z"}
    events = [json.dumps({"sale_id": n, **fields, "value": v}) for n, v in enumerate(values)]
    mesh.send("shop.sales", [(b"k", event.encode()) for event in events])


def test_a_rejected_event_beside_a_nested_column_with_the_name_of_one_of_its_columns(mesh, chosen):
    declare(mesh, BEFORE)
    send(mesh, {"a": 1, "b": [{"c": "x"}]}, {"a": "many"})
    land(mesh)
    [(value,)] = connect().rows("select value from shop_raw.sales")
    assert json.loads(value) == {"a": 1, "b": [{"c": "x"}]}
    [(bytes_, reason)] = connect().rows("select value, reason from shop_raw.sales__rejected")
    assert json.loads(bytes(bytes_))["value"] == {"a": "many"}
    assert reason == "field `value.a`: `many` is not a valid integer"


@pytest.mark.parametrize(
    ("after", "problem"),
    [
        ("struct<a string, b array<struct<c string>>>",
         "the field `value.a` of shop_raw.sales holds integer; its type cannot become string"),
        ("struct<a integer, b array<struct<d string>>>",
         "the field `value.b[].c` of shop_raw.sales is no longer declared"),
        ("map<string, string>", "column `value` of shop_raw.sales holds struct<a integer"),
    ],
)  # fmt: skip
def test_a_declaration_that_loses_a_nested_field_is_refused(mesh, chosen, after, problem):
    declare(mesh, BEFORE)
    send(mesh, {"a": 1})
    land(mesh)
    mesh.edit(TOPICS, BEFORE, after)
    send(mesh, None)
    with pytest.raises(UsageError) as refused:
        land(mesh)
    assert problem in str(refused.value)
    mesh.edit(TOPICS, after, "struct<a bigint, b array<struct<c string, d date>>>")
    land(mesh)
    assert connect().rows("select count(*) from shop_raw.sales") == [(2,)]
