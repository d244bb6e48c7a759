"""References to other domains' published products.

Belongs here: which products a domain may `ref`, and the message when a reference does not
resolve. Not here: dbt; its plugin (dbt_meshhouse.py) turns these products into nodes.
"""

from __future__ import annotations

from collections.abc import Collection

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
    versions = [each for each in provider.products if each.model == reference.product]
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
