"""A product in the Open Data Product Standard (ODPS) 1.0 of Bitol, as YAML.

Belongs here: which fact becomes which field. Not here: the contract behind it (odcs.py).

Source: https://bitol-io.github.io/open-data-product-standard/v1.0.0/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from meshhouse.catalog import paths
from meshhouse.catalog.documents import (
    Mesh,
    ProductFacts,
    is_listed,
)
from meshhouse.catalog.exports.standard import (
    as_yaml,
    status_of,
    support_of,
    team_of,
    without_empty,
)
from meshhouse.catalog.page import Page

VERSION = "v1.0.0"


def pages(mesh: Mesh) -> Iterator[Page]:
    """One file for each product that is or was published."""
    versions = {each.relation: each.version for each in mesh.products}
    for product in mesh.products:
        if is_listed(mesh, product.domain) and product.publications:
            read = {each: str(versions.get(each, 1)) for each in product.reads}
            inputs = (product, read)
            path = paths.product(product.relation, "odps.yaml")
            yield Page(path, inputs, partial(_text, *inputs))


def _text(product: ProductFacts, read: Mapping[str, str]) -> str:
    return as_yaml(product_of(product, read))


def product_of(product: ProductFacts, read: Mapping[str, str]) -> dict[str, Any]:
    """The product as the standard's fields.

    Args:
        product: the product; its one output port is its relation.
        read: products of other domains that it reads -> their version.
    """
    version = str(product.version)
    return without_empty(
        {
            "apiVersion": VERSION,
            "kind": "DataProduct",
            "id": product.relation,
            "name": product.relation,
            "version": version,
            "status": status_of(product),
            "domain": product.domain,
            "description": {"purpose": product.description},
            "tags": list(product.tags),
            "inputPorts": [
                {"name": relation, "version": number, "contractId": relation}
                for relation, number in read.items()
            ],
            "outputPorts": [
                {
                    "name": product.relation,
                    "description": product.sentence,
                    "type": "table",
                    "version": version,
                    "contractId": product.relation,
                    "inputContracts": [
                        {"id": relation, "version": number} for relation, number in read.items()
                    ],
                }
            ],
            "support": support_of(product),
            "team": team_of(product),
        }
    )
