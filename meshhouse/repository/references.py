"""References to other domains' published products.

Belongs here: which products a domain may `ref`, and the message when a reference does not
resolve. Not here: dbt; its plugin (dbt_meshhouse.py) turns these products into nodes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from meshhouse.errors import UsageError
from meshhouse.repository import (
    CrossReference,
    Domain,
    Product,
    Repository,
    broken_because,
    display_path,
    has_packages,
    printable,
    unknown_product,
)


@dataclass(frozen=True, order=True)
class Reading:
    """A model, or the checks of a product, that read another domain's product."""

    domain: str
    model: str
    """The reader's own model."""
    relation: str
    """The product that is read, under its own name."""
    path: Path
    line: int


def readings(repository: Repository, domain: Domain) -> list[Reading]:
    """What a domain reads of other domains' products, by file and line."""
    found = [
        Reading(domain.name, each.path.stem, relation_of(repository, each), each.path, each.line)
        for each in domain.references
        if each.domain != domain.name
    ]
    for product in domain.products:
        if product.checks_path.is_file():
            text = product.checks_path.read_text(errors="replace")
            for provided in repository.provided(domain):
                for name in provided.relations:
                    if match := mention_of(name).search(text):
                        line = text.count("\n", 0, match.start()) + 1
                        path, relation = product.checks_path, provided.relation
                        found.append(Reading(domain.name, product.name, relation, path, line))
    return sorted(set(found))


def readers(repository: Repository, product: Product | str) -> list[Reading]:
    """Who in other domains reads a product; broken domains count as far as they can be read.

    Args:
        repository: where the domains are declared.
        product: a declared product, or the relation of one that is not declared.
    """
    relation = product if isinstance(product, str) else product.relation
    provider = relation.partition(".")[0]
    return [
        reading
        for domain in repository.readings
        if domain.name != provider
        for reading in readings(repository, domain)
        if reading.relation == relation
    ]


def relation_of(repository: Repository, reference: CrossReference) -> str:
    """The relation that a reference reads, under its own name and with its version."""
    plain, version = f"{reference.domain}.{reference.product}", reference.version
    found = repository.relations_by_name.get((plain, version))
    return found or (plain if version is None else f"{plain}_v{version}")


def mention_of(relation: str) -> re.Pattern[str]:
    """Finds a relation's name in SQL."""
    return re.compile(rf"(?<![\w.]){re.escape(relation)}(?!\w)")


def resolve(
    repository: Repository, consumer: Domain, published: Collection[str] | None
) -> list[Product]:
    """The products that a domain's models may reference.

    Args:
        repository: where domains are declared.
        consumer: the domain whose models are read.
        published: relations that are published now; None to accept products that are only
            declared (parsing needs no data).

    Raises:
        UsageError: a reference does not resolve; the message says why.
    """
    for reference in consumer.references:
        problem = unresolved(repository, consumer, reference)
        if problem is None and published is not None:
            problem = _unpublished(repository, consumer, reference, published)
        if problem:
            place = f"{display_path(reference.path)}:{reference.line}"
            raise UsageError(f"{problem}   ({place})")
    return repository.provided(consumer)


def first_unresolved(repository: Repository, consumer: Domain) -> str | None:
    """The first unresolved reference of a domain: file, line and reason; None if all resolve."""
    for reference in consumer.references:
        problem = unresolved(repository, consumer, reference)
        if problem:
            return f"{display_path(reference.path)}:{reference.line}: {problem}"
    return None


def unresolved(repository: Repository, consumer: Domain, reference: CrossReference) -> str | None:
    """Why a reference does not resolve; None if it does."""
    if reference.domain == consumer.name:
        return None
    if reference.domain not in repository.domain_names:
        if has_packages(consumer.path):
            return None  # dbt knows the models of packages
        known = printable(", ".join(repository.domain_names))
        return f"There is no domain `{reference.domain}`. Domains: {known}."
    provider = repository.reading(reference.domain)
    known = (*provider.products, *repository.former_products(provider.name))
    versions = [each for each in known if each.model == reference.product]
    if reference.domain in consumer.upstream and provider.problems and not versions:
        # Its published products stay readable, but only its declarations define versions.
        return (
            None
            if reference.version is None
            else f"{provider.name} cannot be read, so version {reference.version} of "
            f"`{reference.product}` is unknown: {broken_because(provider)}"
        )
    if not versions:
        return unknown_product(provider, reference.product)
    if reference.version is not None and reference.version not in {
        each.version for each in versions
    }:
        numbers = ", ".join(str(each.version) for each in versions)
        return (
            f"{provider.name}.{reference.product} has no version {reference.version}. "
            f"Versions: {numbers}."
        )
    if reference.domain not in consumer.upstream:
        return (
            f"{consumer.name} uses {reference.domain}.{reference.product} without naming "
            f"{reference.domain} as a dependency; add `- name: {reference.domain}` under "
            f"`projects:` in {display_path(consumer.path / 'dependencies.yml')}."
        )
    return None


def waits(
    repository: Repository, consumer: Domain, providers: Collection[str], published: Collection[str]
) -> bool:
    """Whether a domain reads a product that one of these providers has not published yet."""
    return any(
        reference.domain in providers
        and _unpublished(repository, consumer, reference, published) is not None
        for reference in consumer.references
    )


def _unpublished(
    repository: Repository,
    consumer: Domain,
    reference: CrossReference,
    published: Collection[str],
) -> str | None:
    if reference.domain not in repository.domain_names:
        return None
    product = next(
        (
            each
            for each in repository.provided(consumer)
            if each.domain == reference.domain
            and each.model == reference.product
            and (each.is_latest if reference.version is None else each.version == reference.version)
        ),
        None,
    )
    if product is None or product.relation in published:
        return None
    provider = repository.reading(reference.domain)
    missing = f"{product.relation} was never published, so nothing can be read from it yet. "
    if provider.problems:
        return f"{missing}{provider.name} is broken: {broken_because(provider)}"
    return f"{missing}Run `mesh run {product.domain}` first."
