"""Files of the catalog for programs follow the standards that they name.

The schemas in schemas/ are those of Bitol's repositories open-data-contract-standard (v3.1.0) and
open-data-product-standard (v1.0.0), both Apache-2.0.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from meshhouse.catalog import paths
from meshhouse.catalog.documents import ColumnFacts, Mesh
from meshhouse.catalog.exports import facts, odcs, odps, openapi, texts
from tests.support.catalog_mesh import full_mesh

SCHEMAS = Path(__file__).parent / "schemas"
MAKERS = (facts.pages, odcs.pages, odps.pages, openapi.pages, texts.llms_pages, texts.sitemap_pages)
NESTED = "struct<id bigint, tags array<string>, prices map<string, decimal(10,2)>>"


def files(mesh: Mesh) -> dict[str, str]:
    found = {page.path: page.render() for make in MAKERS for page in make(mesh)}
    return {
        path: text.decode() if isinstance(text, bytes) else text for path, text in found.items()
    }


@cache
def validator(name: str) -> jsonschema.Draft201909Validator:
    schema = json.loads((SCHEMAS / name).read_text())
    return jsonschema.validators.validator_for(schema)(schema)


def nested_mesh() -> Mesh:
    mesh = full_mesh("Bought.\n\nOne row per order.")
    orders, *others = mesh.products
    columns = (*orders.columns, ColumnFacts("parts", NESTED), ColumnFacts("odd", "geometry"))
    return replace(mesh, products=(replace(orders, columns=columns), *others))


@pytest.mark.parametrize(
    ("extension", "schema"),
    [("odcs.yaml", "odcs-3.1.0.json"), ("odps.yaml", "odps-1.0.0.json")],
)
def test_contracts_and_products_follow_their_standard(extension, schema):
    made = files(nested_mesh())
    for relation in ("shop.orders", "crm.customers"):
        document = yaml.safe_load(made[paths.product(relation, extension)])
        validator(schema).validate(document)
        assert document["id"] == relation


def test_a_contract_says_what_the_product_promises():
    contract = yaml.safe_load(files(nested_mesh())[paths.product("shop.orders", "odcs.yaml")])
    [schema] = contract["schema"]
    columns = {each["name"]: each for each in schema["properties"]}
    assert (contract["status"], contract["domain"]) == ("deprecated", "shop")
    assert columns["basket_id"]["primaryKeyPosition"] == 1
    assert columns["basket_id"]["logicalType"] == "integer"
    assert [each["logicalType"] for each in columns["parts"]["properties"]] == [
        "integer", "array", "object",
    ]  # fmt: skip
    assert columns["parts"]["properties"][1]["items"]["logicalType"] == "string"
    assert "logicalType" not in columns["odd"], "a type that is not known is not guessed"
    assert {"property": "endOfSupport", "value": "2027-01-01"} in contract["slaProperties"]


def test_a_product_that_was_never_published_has_no_contract():
    mesh = full_mesh()
    orders, *others = mesh.products
    made = files(replace(mesh, products=(replace(orders, publications=()), *others)))
    assert paths.product("shop.orders", "odcs.yaml") not in made
    assert paths.product("shop.orders", "json") in made


def test_every_file_is_as_the_api_describes_it():
    made = files(nested_mesh())
    described = json.loads(made[paths.OPENAPI])
    for path, schema in (
        (paths.FACTS, "Index"),
        (paths.product("shop.orders", "json"), "ProductFacts"),
        (paths.domain("shop", "json"), "DomainFacts"),
        (paths.topic("shop", "sales", "json"), "TopicFacts"),
    ):
        whole = {**described, "$ref": f"#/components/schemas/{schema}"}
        jsonschema.Draft202012Validator(whole).validate(json.loads(made[path]))
    [wrong] = [json.loads(made[paths.domain("shop", "json")])]
    del wrong["owner"]
    whole = {**described, "$ref": "#/components/schemas/DomainFacts"}
    assert not jsonschema.Draft202012Validator(whole).is_valid(wrong)


def test_the_described_paths_are_files_of_the_site():
    made = files(nested_mesh())
    for path in json.loads(made[paths.OPENAPI])["paths"]:
        named = path.removeprefix("/").format(domain="shop", product="orders", table="sales")
        assert named in made, path


def test_the_index_leads_to_every_file():
    made = files(nested_mesh())
    listed = json.loads(made[paths.FACTS])
    assert {each["href"] for kind in listed.values() for each in kind} <= made.keys()
    assert [each["relation"] for each in listed["products"]] == ["shop.orders", "crm.customers"]


def test_a_sitemap_needs_the_address_of_the_site(monkeypatch):
    assert paths.SITEMAP not in files(full_mesh())
    monkeypatch.setenv("MESH_CATALOG_URL", "https://catalog.example/mesh/")
    tree = ElementTree.fromstring(files(full_mesh())[paths.SITEMAP])
    found = [each.text for each in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]
    assert "https://catalog.example/mesh/products/shop/orders.html" in found


@given(st.text(max_size=30))
def test_any_text_stays_data(text):
    made = files(full_mesh(text or "x", f"n{text}"))
    product = json.loads(made[paths.product("shop.orders", "json")])
    assert product["description"] == f"{text or 'x'}\n\n{text or 'x'}"
    validator("odcs-3.1.0.json").validate(
        yaml.safe_load(made[paths.product("shop.orders", "odcs.yaml")])
    )
    listed = [line for line in made[paths.LLMS].splitlines() if "shop.orders" in line]
    assert len(listed) == 1
    assert listed[0].startswith("- [shop.orders](products/shop/orders.json)")


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "\u2028", "- [x](javascript:y)\n# z", "<b>"])
def test_hostile_text_stays_data(text):
    made = files(full_mesh(text))
    for path, content in made.items():
        content.encode()
        if path.endswith(".json"):
            json.loads(content)
        elif path.endswith(".yaml"):
            yaml.safe_load(content)
    assert not [line for line in made[paths.LLMS].splitlines() if line.startswith("# z")]
