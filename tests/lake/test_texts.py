"""A table's declared texts are in its metadata, so every Iceberg reader can show them."""

from __future__ import annotations

import json

import pytest
from pyiceberg.table import StaticTable, Table

from meshhouse.lake import Lake
from meshhouse.lake.texts import LONGEST, bounded
from tests.conftest import Mesh, sale

SHOP = "domains/shop/models"
ORDERS = f"{SHOP}/products/orders.yml"
NOT_NULL = "meshhouse.not-null-columns"


def table(mesh: Mesh, relation: str = "shop.orders") -> Table:
    """The table, opened by its metadata location, as any reader opens it."""
    return StaticTable.from_metadata(Lake(mesh.home).states()[relation])


def docs(mesh: Mesh, relation: str = "shop.orders") -> dict[str, str | None]:
    return {field.name: field.doc for field in table(mesh, relation).schema().fields}


def ids(mesh: Mesh, relation: str = "shop.orders") -> dict[str, int]:
    return {field.name: field.field_id for field in table(mesh, relation).schema().fields}


def said(mesh: Mesh, relation: str = "shop.orders") -> dict[str, str]:
    properties = table(mesh, relation).properties
    names = ("comment", "owner", "meshhouse.contact", NOT_NULL)
    return {name: properties[name] for name in names if name in properties}


@pytest.fixture
def published(mesh: Mesh) -> Mesh:
    mesh.sell(1, 2)
    mesh.run("land")
    mesh.run("run", "shop")
    return mesh


def test_a_product_says_what_it_is_and_a_change_of_words_alone_reaches_its_table(published):
    mesh = published
    assert docs(mesh) == {
        "order_id": "The order.",
        "customer_id": "Who bought.",
        "amount": "What was paid.",
        "sold_at": "When.",
    }
    assert said(mesh) == {
        "comment": "What was bought. One row per order.",
        "owner": "shop team",
        "meshhouse.contact": "shop@tiny.example",
        NOT_NULL: '["order_id"]',
    }
    assert not any(field.required for field in table(mesh).schema().fields)
    before, rows = ids(mesh), mesh.rows("select * from shop.orders order by all")

    mesh.edit(ORDERS, "description: Who bought.", 'description: "Who\\nbought: \\"it\\" ☃\\e[1m"')
    mesh.write(f"{SHOP}/words.md", "{% docs all %}\nAll that was bought.\n{% enddocs %}\n")
    mesh.edit(ORDERS, "What was bought. One row per order.", "\"{{ doc('all') }}\"")
    mesh.edit(ORDERS, ", description: When.", "")
    mesh.edit(ORDERS, "description: What was paid.", "constraints: [{type: not_null}]")
    mesh.edit(f"{SHOP}/domain.yml", "shop team", "till team")
    assert "2 products published" in mesh.run("run", "shop").stderr
    assert docs(mesh) == {
        "order_id": "The order.",
        "customer_id": 'Who\nbought: "it" ☃\x1b[1m',
        "amount": None,
        "sold_at": None,
    }
    assert said(mesh)["comment"] == "All that was bought."
    assert said(mesh)["owner"] == "till team"
    assert json.loads(said(mesh)[NOT_NULL]) == ["order_id", "amount"]
    assert ids(mesh) == before
    assert mesh.rows("select * from shop.orders order by all") == rows
    assert "2 unchanged" in mesh.run("run", "shop").stderr

    mesh.run("rollback", "shop.orders")
    assert docs(mesh)["amount"] == "What was paid."  # the docs of the earlier publication
    assert said(mesh)["comment"] == "All that was bought."
    assert said(mesh)["owner"] == "till team"
    assert ids(mesh) == before
    assert mesh.rows("select * from shop.orders order by all") == rows


def test_a_column_with_a_null_is_not_called_free_of_them_after_a_rollback(mesh):
    required = '{name: amount, data_type: "decimal(12,2)"'
    mesh.sell(1)
    mesh.send("shop.sales", [(b"1", sale(2)[1].replace(b"1.5", b"null"))])
    mesh.run("land")
    mesh.run("run", "shop")
    assert json.loads(said(mesh)[NOT_NULL]) == ["order_id"]
    mesh.edit(ORDERS, required, f"{required}, constraints: [{{type: not_null}}]")
    mesh.edit(f"{SHOP}/products/orders.sql", "cast(amount", "cast(coalesce(amount, 0)")
    mesh.run("run", "shop", "--confirm", "a missing amount is zero")
    assert json.loads(said(mesh)[NOT_NULL]) == ["order_id", "amount"]
    mesh.run("rollback", "shop.orders")
    assert mesh.row("select count(*) from shop.orders where amount is null") == (1,)
    assert json.loads(said(mesh)[NOT_NULL]) == ["order_id"]


def test_a_raw_table_says_what_its_columns_are_and_adds_no_schema_for_it_at_each_commit(mesh):
    topics, raw = f"{SHOP}/topics.yml", "shop_raw.sales"

    def land(number: int) -> None:
        mesh.sell(number)
        mesh.run("land")

    land(1)
    land(2)
    assert docs(mesh, raw)["sale_id"] == "The sale."
    assert said(mesh, raw) == {"comment": "One row per sale."}
    assert len(table(mesh, raw).metadata.schemas) == 1
    before = ids(mesh, raw)
    for number, (old, new) in enumerate((("The sale.", "A sale."), ("A sale.", "The sale."))):
        mesh.edit(topics, old, new)
        land(10 + number)
        land(20 + number)
        assert docs(mesh, raw)["sale_id"] == new
        assert ids(mesh, raw) == before
    assert len(table(mesh, raw).metadata.schemas) == 2
    assert table(mesh, raw).scan().to_arrow().num_rows == 6


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x" * LONGEST, "x" * LONGEST),
        ("x" * (LONGEST + 1), "x" * (LONGEST - 1) + "…"),
        ("a\0b", "ab"),
        ("two\nlines, \x1b[1m ☃", "two\nlines, \x1b[1m ☃"),
    ],
)
def test_texts_are_kept_as_they_are_up_to_a_length_but_for_what_catalogs_refuse(text, kept):
    assert bounded(text) == kept
