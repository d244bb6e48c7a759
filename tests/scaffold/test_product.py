"""The declaration of a new product reads back as what was meant, whatever the texts are."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshhouse.repository import Column, Domain, Repository
from meshhouse.repository.edit import scalar
from meshhouse.scaffold.product import Source, new_product
from tests.support.tiny import copy_tiny

TEXTS = st.text(max_size=20) | st.text("ab ,:#[]{}'\"-&*!|>%@?\n\\~1.", max_size=8)


@given(TEXTS)
@example("EUR, each")
@example("}")
@example("a\nb")
def test_a_text_is_the_same_value_in_a_block_and_in_brackets(text):
    assert yaml.safe_load(f"a:\n  - b: {scalar(text)}\n") == {"a": [{"b": text}]}
    written = f"a: {{b: {{c: {scalar(text, in_brackets=True)}, d: 1}}}}\n"
    assert yaml.safe_load(written) == {"a": {"b": {"c": text, "d": 1}}}
    assert len(written.splitlines()) == 1


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    folder = tmp_path_factory.mktemp("mesh")
    copy_tiny(folder)
    return Repository(folder).domain("shop")


@given(unit=TEXTS, description=TEXTS, grain=st.sampled_from(["order_id", "a, b", "x: y", "on"]))
@example(unit="EUR, each", description="", grain="order_id")
@example(unit="}", description="", grain="a, b")
@settings(max_examples=50)
def test_what_is_declared_of_a_column_reads_back(shop: Domain, unit, description, grain):
    column = Column(grain, "decimal(18,2)", description, unit=unit, classification="personal")
    made = new_product(shop, "paid", Source("orders", (column,)), [grain])
    [text] = [each for path, each in made.items() if path.suffix == ".yml"]
    [model] = yaml.safe_load(text)["models"]
    assert model["config"]["meta"]["grain"] == [grain]
    [declared] = model["columns"]
    assert declared["name"] == grain
    expected = {"classification": "personal", **({"unit": unit} if unit else {})}
    assert declared["config"] == {"meta": expected}
