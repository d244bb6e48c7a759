"""Each data test of a product has an id that other tests do not change."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from meshhouse.repository.declared_tests import data_tests

MODEL = "model.shop.orders"


def node(number: int, expression: str, column: str | None = None) -> dict[str, Any]:
    return {
        "resource_type": "test",
        "name": f"expression_is_true_{number}",
        "attached_node": MODEL,
        "column_name": column,
        "test_metadata": {
            "namespace": "dbt_utils",
            "name": "expression_is_true",
            "kwargs": {"model": "{{ here }}", "expression": expression},
        },
        "config": {"warn_if": "!= 0", "error_if": "!= 0"},
    }


def ids(*nodes: dict[str, Any]) -> dict[str, str]:
    """Id -> expression."""
    manifest: Any = SimpleNamespace(
        nodes={each["name"]: each for each in nodes},
        model_id=lambda product: MODEL,
        macros_of_test=lambda test: "",
    )
    product: Any = None
    return {each["id"]: each["arguments"]["expression"] for each in data_tests(manifest, product)}


def test_tests_that_differ_only_in_their_arguments_all_count():
    several = ids(node(1, "amount > 0"), node(2, "tax > 0"), node(3, "tax < amount"))
    assert sorted(several.values()) == ["amount > 0", "tax < amount", "tax > 0"]
    fewer = ids(node(3, "tax < amount"), node(1, "amount > 0"))
    assert fewer.items() <= several.items()


def test_a_test_that_is_alone_keeps_its_id_when_its_arguments_change():
    other = node(3, "true", column="status")
    before, after = (ids(node(1, each), other) for each in ("amount > 0", "amount >= 0"))
    assert before.keys() == after.keys()
