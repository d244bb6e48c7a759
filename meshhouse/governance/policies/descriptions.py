"""Rules about descriptions of products, columns and topics.

Belongs here: rules with their examples. Not here: names (naming.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from meshhouse.governance.policies.rule import Breach, DomainFacts, Mesh, Options, Rule


def _product(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        if not each.product.description:
            yield each.breach("has no description.")


PRODUCT_DESCRIPTION = Rule(
    name="product_description",
    demands="Every product has a description.",
    because="A consumer decides by it whether the product is the right one.",
    remedy='Say what it holds and end with the grain: "One row per ...".',
    check=_product,
    passes={"product": "description: Orders of all stores. One row per order."},
    fails={"product": "description: ''"},
    is_core=True,
)


def _length(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        words = len(each.product.description.split())
        if 0 < words < options["least_words"]:
            yield each.breach(f"has a description of {words} words.")


DESCRIPTION_LENGTH = Rule(
    name="description_length",
    demands="A product's description has enough words to say more than its name.",
    because='"Orders." helps nobody who has read `sales.orders`.',
    remedy="Say which rows are in it and which are not.",
    check=_length,
    passes={"product": "description: Orders of all stores, returns included. One row per order."},
    fails={"product": "description: Orders."},
    options={"least_words": 5},
)


def _grain(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    pattern = re.compile(options["pattern"], re.IGNORECASE)
    for each in domain.products:
        text = " ".join(each.product.description.split())
        last = re.split(r"(?<=\.) ", text)[-1]
        if text and not pattern.match(last):
            yield each.breach("does not end its description with the grain.")


DESCRIPTION_STATES_GRAIN = Rule(
    name="description_states_grain",
    demands="The last sentence of a product's description says what one row is.",
    because="Joins on a wrong idea of the grain count rows twice.",
    remedy='End the description with "One row per ...".',
    check=_grain,
    passes={"product": "description: Orders of all stores. One row per order."},
    fails={"product": "description: Orders of all stores in every country."},
    options={"pattern": "one row per "},
)


def _columns(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        for column in each.product.columns:
            if not column.description:
                yield each.column_breach(column, "has no description.")


COLUMN_DESCRIPTIONS = Rule(
    name="column_descriptions",
    demands="Every column of a product has a description.",
    because="A name does not say whether an amount is before tax.",
    remedy="Say what the column holds, in which unit, and when it is null.",
    check=_columns,
    passes={"column": "description: Net value, without tax."},
    fails={"column": "description: ''"},
)


def _topic(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for raw in domain.topics:
        if not raw.description:
            text = f"topic {raw.topic} ({raw.relation}) has no description."
            yield Breach(raw.path, raw.line, text, raw.relation)


TOPIC_DESCRIPTION = Rule(
    name="topic_description",
    demands="Every topic has a description.",
    because="Nobody but the producer knows when an event is sent.",
    remedy="Say what one event is, and when it is sent.",
    check=_topic,
    passes={"topic": "description: One event for each sale."},
    fails={"topic": "description: ''"},
)


def _topic_columns(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for raw in domain.topics:
        for column in raw.columns:
            if not column.description:
                text = f"column `{column.name}` of {raw.relation} has no description."
                yield Breach(raw.path, column.line, text, f"{raw.relation}.{column.name}")


TOPIC_COLUMN_DESCRIPTIONS = Rule(
    name="topic_column_descriptions",
    demands="Every column of a raw table has a description.",
    because="It is the only place where the meaning of an event's field is written down.",
    remedy="Say what the field holds, in which unit, and when it is missing.",
    check=_topic_columns,
    passes={"topic_column": "description: What was paid."},
    fails={"topic_column": "description: ''"},
)

RULES = (
    PRODUCT_DESCRIPTION,
    DESCRIPTION_LENGTH,
    DESCRIPTION_STATES_GRAIN,
    COLUMN_DESCRIPTIONS,
    TOPIC_DESCRIPTION,
    TOPIC_COLUMN_DESCRIPTIONS,
)
