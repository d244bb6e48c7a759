"""What a product was published with before it moved counts when a candidate is judged."""

from __future__ import annotations

from typing import Any

from meshhouse.governance.contract import Contract
from meshhouse.ledger import Head
from meshhouse.runs.gate import Gate
from tests.conftest import Mesh


def contract(relation: str, *columns: str) -> Contract:
    listed = [{"name": each, "type": "bigint", "nullable": True} for each in columns]
    document = {"product": relation, "relation": relation, "version": 1, "columns": listed}
    return Contract.from_text(Contract(document).text)


FIRST = contract("crm.sums", "orders", "refunds")
SECOND = contract("shop.totals", "orders")


class Ledger:
    """`crm.sums` became `shop.totals`, and lost a column when it did."""

    production = None

    def renames(self) -> list[dict[str, Any]]:
        return [each for each in self.entries("publications", "shop") if each["kind"] == "rename"]

    def entries(self, name: str, domain: str, since: Any = None) -> list[dict[str, Any]]:
        found = {
            "publications": [
                {"number": 1, "domain": "crm", "product": "sums", "kind": "publish",
                 "contract_hash": FIRST.hash},
                {"number": 2, "domain": "shop", "product": "totals", "kind": "rename",
                 "renamed_from": "crm.sums"},
                {"number": 3, "domain": "shop", "product": "totals", "kind": "publish",
                 "contract_hash": SECOND.hash},
            ],
            "contracts": [
                {"domain": "crm", "hash": FIRST.hash, "contract": FIRST.text},
                {"domain": "shop", "hash": SECOND.hash, "contract": SECOND.text},
            ],
        }  # fmt: skip
        return [each for each in found.get(name, []) if each["domain"] == domain]


def test_a_column_that_an_earlier_one_had_before_a_move_is_refused(mesh: Mesh):
    repository = mesh.repository
    head = Head("shop", "totals", 3, "p3", "publish", 1, 7, contract=SECOND.text)
    ledger: Any = Ledger()
    gate = Gate(repository, ledger, repository.domain("shop"), heads={"shop.totals": head})
    product = repository.product("shop.totals")
    judged = gate.judge(product, contract("shop.totals", "orders", "refunds"))
    assert judged is not None
    assert "S11:refunds" in [each.key for each in judged.refused]
