"""All documents of a mesh.

Belongs here: the order in which documents are made. Not here: what is in them (the other modules
of this folder).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from meshhouse.catalog.documents import Mesh
from meshhouse.catalog.gather.domains import domains_of
from meshhouse.catalog.gather.known import Sources, read_sources
from meshhouse.catalog.gather.operations import (
    Operations,
    operations_facts,
    publications_by_day,
    waits_of,
)
from meshhouse.catalog.gather.policies import policies_of
from meshhouse.catalog.gather.products import product_of
from meshhouse.catalog.gather.topics import topics_of
from meshhouse.catalog.traces import Traces
from meshhouse.engines import Engine
from meshhouse.errors import UsageError
from meshhouse.lake.object_store import is_remote
from meshhouse.repository import Repository, printable
from meshhouse.runs.status import broken_domains

_TRACES = "traces"
"""Folder with the steps of columns, which take 10 ms of parsing for each contract."""


@dataclass(frozen=True)
class Gathered:
    """The documents of a mesh, and what they were made from."""

    mesh: Mesh
    sources: Sources
    operations: Operations
    broken: Mapping[str, str]
    """Domains that no run can build, with the reason."""


def gather(
    repository: Repository, engine: Engine, consumer: str = "", now: datetime | None = None
) -> Mesh:
    """The documents of everything that consumers can read, and of who provides it.

    Args:
        repository: what is declared.
        engine: the target in use.
        consumer: the domain for which the catalog is made; empty for everyone.
        now: the time of the catalog.

    Raises:
        UsageError: there is no such consumer.
    """
    return gathered(repository, engine, consumer, now).mesh


def gathered(
    repository: Repository, engine: Engine, consumer: str = "", now: datetime | None = None
) -> Gathered:
    """The same, with what the documents were made from."""
    check_consumer(repository, consumer)
    now = now or datetime.now(UTC)
    sources = read_sources(repository, engine, now, consumer)
    broken = {
        name: sources.without_places(because)
        for name, because in broken_domains(repository).items()
    }
    operations = Operations(sources)
    products = tuple(
        sorted(
            (operations.added(product_of(each, sources, broken)) for each in sources.products),
            key=lambda each: each.relation,
        )
    )
    sources.comparisons.remember()
    topics = tuple(topics_of(sources, products))
    domains = tuple(domains_of(sources, products, topics, broken))
    contracts = [each.contract for each in sources.products if each.contract is not None]
    hashes = {each.relation: each.head.contract_hash or "" for each in sources.products}
    traces = Traces(contracts, repository.workspace / _TRACES, hashes)
    published = {each.relation: each for each in contracts}
    mesh = Mesh(
        built_at=now,
        domains=domains,
        products=products,
        topics=topics,
        traces=traces,
        trace_digests=traces.digests(),
        consumer=consumer,
        environment=repository.environment,
        operations=operations_facts(
            products,
            publications_by_day(products, now),
            sorted(waits_of(products, operations.landings)),
            operations.costs,
            now,
        ),
        policies=policies_of(repository, published, now, hashes),
        storage=_storage(engine),
    )
    return Gathered(mesh, sources, operations, broken)


def check_consumer(repository: Repository, consumer: str) -> None:
    """Checks that a catalog can be made for a consumer.

    Raises:
        UsageError: there is no such domain.
    """
    if consumer and consumer not in repository.domain_names:
        names = printable(", ".join(repository.domain_names))
        raise UsageError(f"There is no domain `{printable(consumer)}`. Domains: {names}.")


def _storage(engine: Engine) -> str:
    """Where published tables are; see `Mesh.storage`."""
    if engine.lake is None:
        return "warehouse"
    return "store" if engine.lake.is_served or is_remote(engine.lake.location) else "lake"
