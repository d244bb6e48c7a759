"""`mesh sinks`: what sinks have received, and delivering what they lack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from meshhouse.cli.output import console, counted, escaped, print_json, print_texts, results
from meshhouse.engines import engine
from meshhouse.errors import UsageError
from meshhouse.ledger import Ledger
from meshhouse.repository import Domain, Repository
from meshhouse.runs.status import age

if TYPE_CHECKING:
    from meshhouse.sinks import SinkState


@click.command()
@click.argument("targets", nargs=-1, metavar="[DOMAIN|DOMAIN.PRODUCT]...")
@click.option("--deliver", "to_deliver", is_flag=True, help="Deliver now what sinks lack.")
@click.option("--full", is_flag=True, help="With --deliver: deliver all rows again.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def sinks(targets: tuple[str, ...], to_deliver: bool, full: bool, as_json: bool) -> int:
    """Show what each sink has received, or deliver what it lacks."""
    if full and not to_deliver:
        raise UsageError("`--full` only works with `--deliver`.")
    if full and not targets:
        raise UsageError("`--full` delivers all rows again; name the product that needs it.")
    repository = Repository.find()
    domains, products = _chosen(repository, targets)
    if to_deliver:
        if repository.environment:
            raise UsageError(
                f"Sinks receive production's publications, and {repository.environment} is an "
                "environment. Unset MESH_ENV."
            )
        outcomes = deliver_and_say(repository, domains, not as_json, products, full)
        if as_json:
            print_json(outcomes)
        return 1 if any(each["problem"] for each in outcomes) else 0
    states = [
        each
        for each in _states(engine(repository).ledger, domains)
        if products is None or each.product in products
    ]
    if as_json:
        print_json([{**vars(each)} for each in states])
        return 0
    if not states:
        console().print("No product declares a sink.")
        return 0
    rows = [
        (each.product, each.sink, each.delivered, each.delivered_at, each.current, each.waiting,
         each.problem or ("waits for the next run" if each.waiting else "up to date"))
        for each in states
    ]  # fmt: skip
    columns = ["product", "sink", "delivered", "at", "current", "behind", "state"]
    print_texts(columns, rows, right=["delivered", "current", "behind"])
    return 0


def states_in_production(repository: Repository, ledger: Ledger) -> list[SinkState]:
    """What each sink has received; an environment delivers nothing."""
    if repository.environment:
        return []
    domains, _ = _chosen(repository, ())
    return _states(ledger, domains)


def print_summary(states: Sequence[SinkState], now: datetime) -> None:
    """Prints what each sink has, how many publications wait, and the last error of each."""
    if not states:
        return
    rows = [
        (each.product, each.sink, "none" if each.delivered is None else each.delivered,
         age(each.delivered_at, now), each.waiting)
        for each in states
    ]  # fmt: skip
    out = results()
    out.print()
    columns = ["product", "sink", "publication", "delivered", "waiting"]
    print_texts(columns, rows, right=["publication", "waiting"])
    for each in states:
        if each.problem:
            line = f"{each.product} was not delivered to {each.sink}: {each.problem}"
            console().print(escaped(line), markup=False)


def _states(ledger: Ledger, domains: Sequence[Domain]) -> list[SinkState]:
    if not any(product.sinks for domain in domains for product in domain.products):
        return []
    # Loads DuckDB and pyarrow, which a mesh without sinks does without.
    from meshhouse.sinks import sink_states

    return sink_states(ledger, domains)


def deliver_and_say(
    repository: Repository,
    domains: Sequence[Domain],
    shown: bool,
    products: Sequence[str] | None = None,
    full: bool = False,
) -> list[dict[str, Any]]:
    """Delivers what sinks lack, and says what came of it; the result is for `--json`."""
    if repository.environment or not any(
        product.sinks for domain in domains for product in domain.products
    ):
        return []
    # Loads DuckDB and pyarrow, which a mesh without sinks does without.
    from meshhouse.sinks import deliver

    out = console(not shown)
    say: Callable[[str], None] = lambda line: out.print(  # noqa: E731
        escaped(line.partition(": ")[2]), markup=False, style="dim"
    )
    found = deliver(repository, engine(repository), domains, say, products, full)
    for each in found:
        if each.ok:
            parts = [f"{each.added:,} added", f"{each.changed:,} changed",
                     f"{each.removed:,} removed"]  # fmt: skip
            what = (
                f"{counted(each.added, 'row')} in all" if each.since is None else ", ".join(parts)
            )
            note = f" (all rows: {each.note})" if each.note else ""
            out.print("[green]delivered[/] ", end="")
            out.print(
                escaped(f"{each.product} to {each.sink}: publication {each.number}, {what}{note}"),
                markup=False,
            )
        else:
            click.echo(
                escaped(
                    f"mesh: {each.product} was not delivered to {each.sink}: {each.problem} "
                    "Consumers see it all the same; the next run tries again."
                ),
                err=True,
            )
    return [{**vars(each)} for each in found]


def _chosen(
    repository: Repository, targets: Sequence[str]
) -> tuple[list[Domain], list[str] | None]:
    """The domains of the targets, and the relations of products; None for all.

    Raises:
        UsageError: a target is not declared, or has no sink.
    """
    if not targets:
        return [each for each in repository.readings if not each.problems], None
    domains: dict[str, Domain] = {}
    products: list[str] = []
    for target in targets:
        name, dot, _ = target.partition(".")
        domain = domains.setdefault(name, repository.domain(name))
        wanted = [repository.product(target)] if dot else list(domain.products)
        with_sinks = [each.relation for each in wanted if each.sinks]
        if not with_sinks:
            raise UsageError(f"{target} declares no sink. Add `sinks` to its `config.meta`.")
        products += with_sinks
    return list(domains.values()), products
