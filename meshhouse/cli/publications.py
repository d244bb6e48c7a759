"""`mesh history` and `mesh rollback`."""

from __future__ import annotations

import re

import click

from meshhouse.cli.output import console, print_json, results, size, table
from meshhouse.engines import engine
from meshhouse.errors import UsageError
from meshhouse.ledger import Ledger
from meshhouse.locks import lock
from meshhouse.repository import Product, Repository, undeclared
from meshhouse.runs.history import effective_publications, past_checks, past_publications
from meshhouse.runs.publication import rollback as roll_back


@click.command()
@click.argument("product", metavar="DOMAIN.PRODUCT")
@click.option("--json", "as_json", is_flag=True, help="Print the ledger entries as JSON.")
def history(product: str, as_json: bool) -> None:
    """List the publications of a product, newest first."""
    repository = Repository.find()
    ledger = engine(repository).ledger
    found = _known(repository, ledger, product)
    publications = past_publications(ledger, found.domain)
    entries = publications.of(found)
    remaining = effective_publications(entries)
    checks = past_checks(ledger, found.domain)
    if as_json:
        print_json(
            [{**entry, "checks": checks.get(entry["audit_id"])} for entry in reversed(entries)]
        )
        return
    if not entries:
        console().print(f"{product} was never published. Run `mesh run {found.domain}`.")
        return
    results().print(
        table(
            [
                "",
                "number",
                "published",
                "kind",
                "version",
                "rows",
                "size",
                "score",
                "snapshot",
                "by",
            ],
            [
                (
                    "*" if remaining and entry is remaining[-1] else "",
                    str(entry["number"]),
                    entry["finished_at"],
                    entry["kind"],
                    entry["version"],
                    entry["rows"],
                    size(entry["bytes"]),
                    entry["score"],
                    str(entry["snapshot_id"]),
                    entry["done_by"],
                )
                for entry in reversed(entries)
            ],
            right=["rows", "size", "score", "version"],
        )
    )
    console().print("* is the current publication, which consumers see")
    if not publications.is_own(found):
        console().print(
            f"{product} was not published in {repository.environment}: these are production's"
        )


def _known(repository: Repository, ledger: Ledger, name: str) -> Product:
    """A declared product, or one that only the ledger knows: it is retired, or was removed."""
    relation = re.sub(r"\.v(\d+)$", r"_v\1", name)
    try:
        return repository.product(relation)
    except UsageError:
        past = past_publications(ledger, relation.partition(".")[0])
        if relation in past.own or relation in past.production:
            return undeclared(relation)
        raise


@click.command()
@click.argument("product", metavar="DOMAIN.PRODUCT")
def rollback(product: str) -> None:
    """Publish the previous publication of a product again."""
    repository = Repository.find()
    found = repository.product(product)
    chosen = engine(repository)
    out = console()
    waiting = f"{found.domain}: waiting for a run of it"
    with lock(
        repository.workspace / "locks" / f"{found.domain}.run", lambda holder: out.print(waiting)
    ):
        previous = roll_back(chosen, chosen.ledger, found)
    out.print(
        f"Consumers of {product} see the publication of "
        f"{previous['finished_at']:%Y-%m-%d %H:%M:%S} again ({previous['rows']:,} rows). "
        "Runs publish a new one only when its code or inputs change."
    )
