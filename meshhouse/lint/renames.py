"""Findings about renamed products.

Belongs here: names that `renamed_from` cannot have, and readers of former names. Not here: the form
of the key (repository/products.py), or giving tables their names (runs/names.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from meshhouse.lint.finding import Finding
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.keys import RENAMED_FROM
from meshhouse.repository.yaml import display_path


def rename_findings(repository: Repository, domain: Domain) -> Iterator[Finding]:
    """Former names that something else has; they would show two products."""
    for product in domain.products:
        other = _owner(repository, product)
        if other is not None:
            yield Finding(
                product.path,
                product.line,
                f"`{RENAMED_FROM.name}` of {product.relation} is `{product.renamed_from}`, which "
                f"{display_path(other.path)}:{other.line} also claims.",
                f"Remove that declaration, or `{RENAMED_FROM.name}`.",
            )


def former_name_findings(repository: Repository, domain: Domain) -> Iterator[Finding]:
    """Warnings for readers that use a former name."""
    for reference in domain.references:
        if reference.domain not in repository.domain_names:
            continue
        for product in _renamed(repository):
            if product.renamed_from == f"{reference.domain}.{reference.product}":
                yield Finding(
                    reference.path,
                    reference.line,
                    f"{product.renamed_from} is called {product.plain_relation} now; the former "
                    "name ends after the notice period.",
                    f"Read ref('{product.domain}', '{product.model}').",
                    is_warning=True,
                )
                break


def _owner(repository: Repository, product: Product) -> Product | None:
    """Another product that is called as this one was, or was itself called so."""
    if product.renamed_from is None:
        return None
    for domain in repository.readings:
        for other in domain.products:
            same_model = (other.domain, other.model) == (product.domain, product.model)
            if not same_model and product.renamed_from in (
                other.plain_relation, other.renamed_from,
            ):  # fmt: skip
                return other
    return None


def _renamed(repository: Repository) -> list[Product]:
    return [each for domain in repository.readings for each in domain.products if each.former]
