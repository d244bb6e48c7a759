"""`mesh show`: one product, described for its readers.

Belongs here: combining facts from declarations and the ledger. Not here: reading them
(runs/status.py, repository/).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from meshhouse.cli.output import counted, escaped, print_json, results, table
from meshhouse.engines import engine
from meshhouse.governance.objectives import OBJECTIVES
from meshhouse.repository import Product, Repository
from meshhouse.runs.objectives import ObjectiveStatus, objective_statuses
from meshhouse.runs.status import ProductStatus, age, product_statuses


@click.command()
@click.argument("name", metavar="DOMAIN.PRODUCT")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show(name: str, as_json: bool) -> None:
    """Show a product: columns, owner, freshness, readers, how to read it."""
    repository = Repository.find()
    product = repository.product(name)
    ledger = engine(repository).ledger
    statuses = product_statuses(repository, ledger)
    status = next(each for each in statuses if each.product.relation == product.relation)
    facts = _facts(repository, product, status)
    kept = objective_statuses(ledger, [product], datetime.now(UTC))[product.relation]
    facts["objectives"] = _objectives(product, kept)
    if as_json:
        print_json(facts)
    else:
        _print(facts, status)


def _facts(repository: Repository, product: Product, status: ProductStatus) -> dict[str, Any]:
    domain = repository.domain(product.domain)
    owner = domain.owner(product)
    return {
        "product": product.relation,
        "description": product.description,
        "owner": owner.get("name"),
        "owner_email": owner.get("email"),
        "grain": list(product.grain),
        "version": product.version,
        "versions": {
            each.relation: each.version for each in domain.products if each.model == product.model
        },
        "published_at": status.published_at,
        "rows": status.rows,
        "score": status.score,
        "refreshed_at": status.refreshed_at,
        "freshness": status.freshness(datetime.now(UTC)),
        "readers": _readers(repository, product),
        "columns": [
            {
                "name": column.name,
                "type": column.data_type,
                "required": column.required,
                "classification": column.classification,
                "description": column.description,
            }
            for column in product.columns
        ],
    }


def _objectives(product: Product, kept: Sequence[ObjectiveStatus]) -> list[dict[str, Any]]:
    """Every promise of a product, with the last measurement of those that were measured."""
    measured = {each.last.objective: each.as_json() for each in kept}
    return [
        measured.get(name)
        or {"objective": name, "target": product.promises[name], "measured": None, "met": None,
            "at": None, "budget_left_percent": None}
        for name in OBJECTIVES
        if name in product.promises
    ]  # fmt: skip


def _readers(repository: Repository, product: Product) -> list[str]:
    """Domains with a model that refers to this version; a `ref` without version is the latest."""
    return sorted(
        domain.name
        for domain in repository.domains
        if any(
            (each.domain, each.product) == (product.domain, product.model)
            and (each.version == product.version or (each.version is None and product.is_latest))
            for each in domain.references
        )
    )


def _reference(product: Product) -> str:
    """The arguments of a `ref` in another domain."""
    version = "" if product.is_latest else f", v={product.version}"
    return f"'{product.domain}', '{product.model}'{version}"


def _print(facts: dict[str, Any], status: ProductStatus) -> None:
    published = "never"
    if status.published_at is not None:
        published = (
            f"{age(status.published_at)}, {counted(status.rows or 0, 'row')}, "
            f"score {status.score:g}"
        )
    owner = " ".join(filter(None, (facts["owner"], facts["owner_email"])))
    versions = ", ".join(f"{name} (v{number})" for name, number in facts["versions"].items())
    lines = {
        "owner": owner or "-",
        "grain": ", ".join(facts["grain"]) or "-",
        "versions": versions,
        "published": published,
        "fresh": f"{facts['freshness']}, refreshed {age(status.refreshed_at)}",
        "readers": ", ".join(facts["readers"]) or "no other domain",
        "in SQL": f'mesh sql "select * from {facts["product"]} limit 5"',
        "in dbt": f"{{{{ ref({_reference(status.product)}) }}}}",
    }
    click.echo(f"{facts['product']}: {escaped(' '.join(facts['description'].split()))}\n")
    for name, value in lines.items():
        click.echo(f"{name:<10} {escaped(value)}")
    if facts["objectives"]:
        click.echo()
        results().print(
            table(
                ["promise", "target", "measured", "", "error budget left"],
                [
                    (
                        each["objective"],
                        f"{each['target']:g}",
                        "not measured" if each["measured"] is None else f"{each['measured']:g}",
                        {True: "kept", False: "broken", None: ""}[each["met"]],
                        "" if each["budget_left_percent"] is None
                        else f"{each['budget_left_percent']:g} %",
                    )
                    for each in facts["objectives"]
                ],
                right=["target", "measured", "error budget left"],
            )
        )  # fmt: skip
    click.echo()
    rows = [
        (
            column["name"],
            column["type"] + (", required" if column["required"] else ""),
            " ".join(
                filter(None, (column["description"], f"({column['classification']})"
                              if column["classification"] else ""))
            ),
        )
        for column in facts["columns"]
    ]  # fmt: skip
    results().print(table(["column", "type", "meaning"], rows))
