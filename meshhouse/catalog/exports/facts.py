"""The documents as JSON files: the read-only HTTP API of the catalog is these files.

Belongs here: which files there are, and their JSON. Not here: their description (openapi.py).

pydantic writes the JSON, because it writes dataclasses 20 times as fast as Python does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from meshhouse.catalog import paths
from meshhouse.catalog.documents import (
    DomainFacts,
    Mesh,
    ProductFacts,
    TopicFacts,
    adapter,
    is_listed,
)
from meshhouse.catalog.page import Page


@dataclass(frozen=True)
class ProductEntry:
    """One product in the list of all."""

    relation: str
    sentence: str
    state: str
    refreshed_at: datetime | None
    score: float | None
    rows: int | None
    href: str
    """Path of the file with its facts, relative to the root of the site."""


@dataclass(frozen=True)
class Entry:
    """One domain or topic in a list."""

    name: str
    href: str


@dataclass(frozen=True)
class Index:
    """Everything that the catalog has a file about."""

    domains: tuple[Entry, ...]
    products: tuple[ProductEntry, ...]
    topics: tuple[Entry, ...]


def pages(mesh: Mesh) -> Iterator[Page]:
    """One file for each document, and the list of all."""
    for product in mesh.products:
        if is_listed(mesh, product.domain):
            yield _file(paths.product(product.relation, "json"), product)
    for domain in mesh.domains:
        if is_listed(mesh, domain.name):
            yield _file(paths.domain(domain.name, "json"), domain)
    for topic in mesh.topics:
        if is_listed(mesh, topic.domain):
            yield _file(paths.topic(topic.domain, topic.table, "json"), topic)
    listed = (_entries(mesh.products), mesh.domains, mesh.topics)
    yield Page(paths.FACTS, listed, partial(_index, *listed))


def _file(path: str, document: ProductFacts | DomainFacts | TopicFacts) -> Page:
    return Page(path, document, partial(_json, document))


def _json(document: Any) -> bytes:
    writer = adapter(type(document))
    try:
        return writer.dump_json(document) + b"\n"
    except ValueError:  # half of a surrogate pair, which Python's JSON escapes
        values = writer.dump_python(document, mode="json")
        return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _entries(products: Sequence[ProductFacts]) -> tuple[ProductEntry, ...]:
    return tuple(
        ProductEntry(
            each.relation, each.sentence, each.state, each.refreshed_at, each.score, each.rows,
            paths.product(each.relation, "json"),
        )
        for each in products
    )  # fmt: skip


def _index(
    products: tuple[ProductEntry, ...],
    domains: Sequence[DomainFacts],
    topics: Sequence[TopicFacts],
) -> bytes:
    return _json(
        Index(
            tuple(Entry(each.name, paths.domain(each.name, "json")) for each in domains),
            products,
            tuple(
                Entry(f"{each.domain}.{each.table}", paths.topic(each.domain, each.table, "json"))
                for each in topics
            ),
        )
    )
