"""Under which names consumers read a product; pure."""

from __future__ import annotations

from typing import Any

import pytest

from meshhouse.governance.contract import Contract
from meshhouse.runs.gate import published_names

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
    assert set(published_names(Contract(document))) == names
