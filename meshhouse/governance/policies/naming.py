"""Rules about names and types of products, columns and topics.

Belongs here: rules with their examples. Not here: names that no engine could store
(repository/names.py), or the meaning of columns (meaning.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from meshhouse.governance.policies.rule import (
    Breach,
    DomainFacts,
    Mesh,
    Options,
    ProductFacts,
    Rule,
)
from meshhouse.repository import Column
from meshhouse.repository.types import parse_type


def kind_of(column: Column) -> str:
    """The kind of a column's type, such as `decimal`; empty if the type is unknown."""
    try:
        return parse_type(column.data_type).kind
    except ValueError:
        return ""


def columns_of(domain: DomainFacts) -> Iterator[tuple[ProductFacts, Column, str]]:
    """Every column of every product, with the kind of its type."""
    for each in domain.products:
        for column in each.product.columns:
            yield each, column, kind_of(column)


def _product_names(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    pattern = re.compile(options["pattern"])
    for each in domain.products:
        name = each.product.model
        if not pattern.fullmatch(name):
            yield each.breach(f"has a name that does not match {options['pattern']}.")
        elif not name.endswith("s") and name.rpartition("_")[2] not in options["not_plural"]:
            yield each.breach("has a name that is not a plural.")


PRODUCT_NAMES = Rule(
    name="product_names",
    demands="Names of products are plural nouns in snake case.",
    because="`sales.orders` reads as what it holds: orders.",
    remedy="Rename the product in a new version, or add a word without plural to `not_plural`.",
    check=_product_names,
    passes={"product": "name: orders"},
    fails={"product": "name: order"},
    options={"pattern": "[a-z][a-z0-9]*(_[a-z0-9]+)*", "not_plural": []},
)


def _column_names(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    pattern = re.compile(options["pattern"])
    for each, column, _ in columns_of(domain):
        if not pattern.fullmatch(column.name):
            yield each.column_breach(column, "is not written in snake case.")


COLUMN_NAMES = Rule(
    name="column_names",
    demands="Names of products' columns are in snake case.",
    because="Other names need quotes on some targets.",
    remedy="Use lower-case letters, digits and single underscores.",
    check=_column_names,
    passes={"column": "name: net_value"},
    fails={"column": "name: netValue"},
    options={"pattern": "[a-z][a-z0-9]*(_[a-z0-9]+)*"},
)


def _times(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    endings = tuple(options["endings"])
    for each, column, kind in columns_of(domain):
        if kind.startswith("timestamp") != column.name.endswith(endings):
            is_time = kind.startswith("timestamp")
            yield each.column_breach(
                column,
                f"holds times, but its name does not end with {' or '.join(endings)}."
                if is_time
                else f"has the name of a time, but its type is {column.data_type}.",
            )


TIME_COLUMNS = Rule(
    name="time_columns",
    demands="Columns with times end with `_at`, and no others do.",
    because="A reader knows from the name whether to compare with a day or a time.",
    remedy="Rename the column, such as `ordered_at`.",
    check=_times,
    passes={"column": "{name: paid_at, data_type: timestamptz}"},
    fails={"column": "{name: paid, data_type: timestamptz}"},
    options={"endings": ["_at"]},
)


def _dates(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    endings = tuple(options["endings"])
    for each, column, kind in columns_of(domain):
        if kind == "date" and not column.name.endswith(endings):
            text = f"holds days, but its name does not end with {' or '.join(endings)}."
            yield each.column_breach(column, text)
        elif kind and kind != "date" and column.name.endswith("_date"):
            text = f"has the name of a day, but its type is {column.data_type}."
            yield each.column_breach(column, text)


DATE_COLUMNS = Rule(
    name="date_columns",
    demands="Columns with days end with `_date`, and no others do.",
    because="Days and times are joined differently.",
    remedy="Rename the column, such as `order_date`.",
    check=_dates,
    passes={"column": "{name: paid_date, data_type: date}"},
    fails={"column": "{name: paid_date, data_type: string}"},
    options={"endings": ["_date"]},
)


def _flags(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    starts = tuple(options["starts"])
    for each, column, kind in columns_of(domain):
        if (kind == "boolean") != column.name.startswith(starts):
            yield each.column_breach(
                column,
                f"is true or false, but its name does not begin with {' or '.join(starts)}."
                if kind == "boolean"
                else f"has the name of a flag, but its type is {column.data_type}.",
            )


FLAG_COLUMNS = Rule(
    name="flag_columns",
    demands="Columns that are true or false begin with `is_` or `has_`, and no others do.",
    because="`is_returned` says what true means; `returned` may be a number or a time.",
    remedy="Rename the column, such as `is_returned`.",
    check=_flags,
    passes={"column": "{name: is_paid, data_type: boolean}"},
    fails={"column": "{name: paid, data_type: boolean}"},
    options={"starts": ["is_", "has_"]},
)


def _ids(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each, column, kind in columns_of(domain):
        if column.name.endswith("_id") and kind and kind not in options["types"]:
            text = f"identifies something, but its type is {column.data_type}."
            yield each.column_breach(column, text)


ID_COLUMNS = Rule(
    name="id_columns",
    demands="Columns that end with `_id` hold whole numbers or texts.",
    because="A decimal or a day cannot be joined with the key of another product.",
    remedy="Declare bigint or string, or rename the column.",
    check=_ids,
    passes={"column": "{name: store_id, data_type: bigint}"},
    fails={"column": "{name: store_id, data_type: 'decimal(12,0)'}"},
    options={"types": ["bigint", "integer", "string"]},
)


def _types(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each, column, kind in columns_of(domain):
        if kind and kind not in options["types"]:
            yield each.column_breach(column, f"has the type {column.data_type}.")


COLUMN_TYPES = Rule(
    name="column_types",
    demands="Products use the allowed types only.",
    because="Sums of `double` differ from run to run, and a `timestamp` has no zone.",
    remedy="Use decimal(p,s) for figures and timestamptz for times.",
    check=_types,
    passes={"column": "data_type: decimal(12,2)"},
    fails={"column": "data_type: double"},
    options={"types": ["bigint", "integer", "decimal", "string", "boolean", "date", "timestamptz"]},
)


def _topics(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for raw in domain.topics:
        if not raw.topic.startswith(f"{domain.name}."):
            text = f"topic `{raw.topic}` does not begin with `{domain.name}.`."
            yield Breach(raw.path, raw.line, text, raw.relation)


TOPIC_NAMES = Rule(
    name="topic_names",
    demands="Names of topics begin with the domain.",
    because="Access to topics is granted by prefix, and the name says whom to ask.",
    remedy="Name the topic `<domain>.<events>`.",
    check=_topics,
    passes={"topic": "config: {meta: {topic: sales.tills}}"},
    fails={"topic": "config: {meta: {topic: tills}}"},
)

RULES = (
    PRODUCT_NAMES,
    COLUMN_NAMES,
    TIME_COLUMNS,
    DATE_COLUMNS,
    FLAG_COLUMNS,
    ID_COLUMNS,
    COLUMN_TYPES,
    TOPIC_NAMES,
)
