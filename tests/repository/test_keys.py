"""Reading, checking and documenting a key of `config.meta` all use its one declaration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meshhouse.repository import keys
from meshhouse.repository.misfits import ANY, FLAG, NUMBER, TEXT, Many, Map
from tests.conftest import Mesh

ROOT = Path(__file__).parents[2]
ORDERS = "domains/shop/models/products/orders.yml"
STAGING = "domains/shop/models/staging/stg_sales.yml"
TOPICS = "domains/shop/models/topics.yml"
FILES = {
    keys.SOURCE_TABLE: (TOPICS, "meta: {topic: shop.sales, format: json}", "meta: {{{}}}"),
    keys.COLUMN: (ORDERS, "{name: sold_at,", "{{name: sold_at, config: {{meta: {{{}}}}},"),
    keys.PRODUCT: (ORDERS, "      meta:\n", "      meta:\n        {}\n"),
    keys.PRIVATE_MODEL: (STAGING, "  - name: stg_sales\n",
                         "  - name: stg_sales\n    config: {{meta: {{{}}}}}\n"),
    keys.PROMISES_OF_PRODUCT: (ORDERS, "promises: {refreshed_within_hours: 24}",
                               "promises: {{{}}}"),
}  # fmt: skip
"""Place -> a file, a text in it, and a replacement for the text that adds a key in that place."""
VALUES = {ANY: "5", FLAG: "true", NUMBER: "5", TEXT: "x"}


def value(shape: object) -> str:
    if isinstance(shape, Many):
        return "[order_id]"
    if isinstance(shape, Map):
        name, inner = next(iter(shape.keys.items()))
        return f"{{{name}: {value(inner)}}}"
    return VALUES[shape]


def written(mesh: Mesh, place: str, line: str) -> list[tuple[str, str]]:
    """Problem and remedy of each unknown key after a line was added in a place."""
    path, old, new = FILES[place]
    name = line.partition(":")[0]
    # If the file already has the key, replace it.
    text = re.sub(rf"^ +{name}: .*\n", "", (mesh.root / path).read_text(), flags=re.MULTILINE)
    assert old in text
    mesh.write(path, text.replace(old, new.format(line), 1))
    return [(each.problem, each.remedy) for each in mesh.repository.reading("shop").unknown_keys]


@pytest.mark.parametrize(
    ("key", "place"),
    [
        pytest.param(key, place, id=f"{key.name}, {place}")
        for key in keys.KEYS
        for place in key.places
    ],
)
def test_a_declared_key_is_accepted_where_it_is_declared(mesh, key, place):
    assert written(mesh, place, f"{key.name}: {value(key.shape)}") == []


def test_a_classification_of_a_whole_product_protects_nothing_and_says_where_it_belongs(mesh):
    [(problem, remedy)] = written(mesh, keys.PRODUCT, "classification: personal")
    assert problem == (
        "`classification` is not a key that the mesh knows in config.meta of a model."
    )
    assert remedy == "It belongs in config.meta of a column."


def test_what_is_declared_is_read(mesh):
    written(mesh, keys.COLUMN, "classification: personal")
    written(mesh, keys.PRODUCT, "shared: true")
    product = mesh.repository.product("shop.orders")
    assert product.shared
    assert [each.name for each in product.columns if each.classification] == ["sold_at"]


READERS = ("columns", "domain", "products", "topics")


def test_the_readers_read_keys_by_their_declaration_only():
    readers = (ROOT / "meshhouse/repository" / f"{name}.py" for name in READERS)
    reader = "".join(path.read_text() for path in readers)
    assert not re.findall(r"\bmeta(?:\.get\(|\[)[\"']", reader)
    assert all(f"keys.{name}." in reader for name in ("TOPIC", "GRAIN", "SHARED", "REQUIRED"))


@pytest.mark.parametrize("place", [keys.SOURCE_TABLE, keys.COLUMN, keys.PRODUCT])
def test_the_reference_lists_every_key(place):
    """If it fails, copy the output of `meshhouse.repository.keys.table` into the page."""
    assert f"\n{keys.table(place)}\n\n" in (ROOT / "docs/reference.md").read_text()
