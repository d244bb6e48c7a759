"""What the gate knows of a product: its names, and its earlier contracts. Without a warehouse."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from meshhouse.governance.contract import Contract
from meshhouse.ledger import Head
from meshhouse.runs.gate import Gate, names_of
from meshhouse.runs.history import History
from tests.conftest import Mesh

V1 = {"product": "sales.orders", "relation": "sales.orders_v1", "version": 1, "versioned": True}


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"product": "sales.orders", "relation": "sales.orders"}, {"sales.orders"}),
        (
            {"product": "sales.purchases", "relation": "sales.purchases",
             "renamed_from": "sales.orders", "aliases": ["sales.orders"]},
            {"sales.purchases", "sales.orders"},
        ),
        ({**V1, "latest_version": 1, "aliases": ["sales.orders"]},
         {"sales.orders", "sales.orders_v1"}),
        # Published when it was the latest version, which it is not any more.
        ({**V1, "latest_version": 2, "renamed_from": "sales.old",
          "aliases": ["sales.orders", "sales.old", "sales.old_v1"]},
         {"sales.orders_v1", "sales.old_v1"}),
    ],
)  # fmt: skip
def test_former_names_count_and_the_plain_name_only_for_the_latest_version(
    document: dict[str, Any], names: set[str]
) -> None:
    assert set(names_of(Contract(document))) == names


def contract(product: str, *columns: str, **more: Any) -> Contract:
    found = [{"name": name, "type": "bigint"} for name in columns]
    return Contract(
        {"product": product, "relation": product, "version": 1, "columns": found, **more}
    )


def test_names_of_columns_before_a_renaming_count_and_those_of_a_later_namesake_do_not(
    mesh: Mesh,
) -> None:
    published = contract("shop.orders", "order_id", renamed_from="shop.sales")
    stored = [
        contract("shop.sales", "order_id", "note"),
        published,
        contract("shop.sales", "sale_id", "colour"),
    ]
    rows = [
        {"number": number, "contract": each.text} for number, each in enumerate(stored, start=1)
    ]
    head = Head("shop", "orders", number=2, version=1, contract=published.text)
    ledger = SimpleNamespace(
        production=None, heads=lambda: {"shop.orders": head}, entries=lambda name, domain: rows
    )
    repository = mesh.repository
    gate = Gate(repository, ledger, repository.domain("shop"))  # type: ignore[arg-type]
    candidate = contract("shop.orders", "order_id", "note", "colour", renamed_from="shop.sales")
    judged = gate.judge(repository.product("shop.orders"), candidate)
    assert judged is not None
    keys = {each.key for each in judged.changes}
    assert "S11:note" in keys
    assert "S11:colour" not in keys
    assert any(each.endswith(":colour") for each in keys)


def test_an_environment_learns_from_production_what_is_usual(mesh: Mesh) -> None:
    """The statistics are production's, so the publications must be, too."""
    product = mesh.repository.product("shop.orders")
    own, production = [{"publication_id": "own"}], [{"publication_id": "production"}]
    history = History({"shop.orders": own}, {"shop.orders": production})
    assert history.of(product) == own
    assert history.for_consumers(product) == production
    assert History({"shop.orders": own}, {}).for_consumers(product) == own
