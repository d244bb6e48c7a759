"""The reference lists every key of a contract, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from meshhouse.governance.contract import KEYS
from meshhouse.runs.contracts import DeclaredContracts
from meshhouse.runs.parse import fresh_manifest
from tests.conftest import Mesh

REFERENCE = Path(__file__).parents[2] / "docs" / "reference.md"


def test_the_reference_lists_the_keys_of_a_contract():
    section = REFERENCE.read_text().partition("### Contracts\n")[2].partition("\n### ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)) == KEYS


def test_a_contract_says_what_the_reference_lists(mesh: Mesh):
    repository = mesh.repository
    shop = repository.domain("shop")
    made = DeclaredContracts(repository, shop, fresh_manifest(repository, shop))
    [contract] = [made.of(each) for each in shop.products if each.name == "orders"]
    usual = {"product", "relation", "owner", "grain", "columns", "checks", "promises", "models"}
    assert usual < contract.document.keys() <= KEYS.keys()
