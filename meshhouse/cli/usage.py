"""`mesh usage`: who reads which product, which are unused, and what they cost.

Belongs here: printing them. Not here: counting (usage/), or reading the history of a warehouse
(engines/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from meshhouse.cli.output import console, escaped, print_json, print_texts, size
from meshhouse.engines import HISTORIES, engine, import_history
from meshhouse.repository import Repository
from meshhouse.runs.status import age
from meshhouse.usage import Cost, Costs, Usage, costs, usages


class _Products(click.Group):
    """Takes the name of a product for `show`, so that nobody needs to write it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = next((each for each in args if not each.startswith("-")), None)
        if named not in self.commands and not {*args} & {"-h", "--help"}:
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Products)
def usage() -> None:
    """Show who reads products, which are unused and what they cost.

    `mesh usage [DOMAIN.PRODUCT]` is short for `mesh usage show`.
    """


@usage.command(short_help="Show who reads products, and which are unused.")
@click.argument("name", required=False, metavar="[DOMAIN.PRODUCT]")
@click.option("--cost", "as_cost", is_flag=True, help="Show what products cost instead.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show(name: str | None, as_cost: bool, as_json: bool) -> None:
    """Show who reads products, which columns they use, and which products are unused."""
    repository = Repository.find()
    chosen = repository.product(name).relation if name else None
    ledger = engine(repository).ledger
    if as_cost:
        _show_costs(costs(repository, ledger), chosen, as_json)
        return
    found = usages(repository, ledger)
    shown = [found[chosen]] if chosen else list(found.values())
    if as_json:
        print_json([_as_json(each) for each in shown])
    elif chosen:
        _show_one(found[chosen])
    else:
        _show_all(found)


@usage.command(
    "import", short_help="Add reads from a warehouse's history or from Spark's event logs."
)
@click.argument("history", type=click.Choice(HISTORIES))
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def import_(history: str, folder: Path | None, as_json: bool) -> int:
    """Add reads from a warehouse's history, or from a FOLDER of Spark's event logs.

    What was imported before does not count again.
    """
    done = import_history(history, Repository.find(), folder)
    if as_json:
        print_json({"added": done.added, "notes": list(done.notes)})
        return 0 if done.is_whole else 1
    nouns = done.noun if done.added == 1 else done.nouns
    click.echo(f"Added {done.added:,} {nouns}.")
    for note in done.notes:
        console().print(escaped(note), markup=False)
    return 0 if done.is_whole else 1


def _show_all(found: Mapping[str, Usage]) -> None:
    now = datetime.now(UTC)
    rows = [
        (each.relation, each.reads_30_days, each.reads_90_days, len(each.consumers),
         len(each.columns_90_days), age(each.last_read, now), each.state)
        for each in found.values()
    ]  # fmt: skip
    columns = ["product", "reads 30 d", "reads 90 d", "consumers", "columns", "last read", "state"]
    print_texts(columns, [[*each] for each in rows], right=columns[1:5])
    since = next((each.recorded_since for each in found.values()), None)
    console().print(
        f"Reads are recorded since {since:%Y-%m-%d %H:%M} UTC."
        if since
        else "No reads are recorded yet.",
        markup=False,
    )


def _show_one(found: Usage) -> None:
    now = datetime.now(UTC)
    click.echo(f"{found.relation}: {found.state}. {escaped(found.why)}")
    if found.consumers:
        click.echo()
        rows = [
            [name, each.reads_30_days, each.reads_90_days, age(each.last_read, now)]
            for name, each in found.consumers.items()
        ]
        columns = ["consumer", "reads 30 d", "reads 90 d", "last read"]
        print_texts(columns, rows, right=columns[1:3])
    if found.columns_90_days:
        click.echo()
        used = [
            [name, found.columns_30_days.get(name, 0), count]
            for name, count in found.columns_90_days.items()
        ]
        columns = ["column", "reads 30 d", "reads 90 d"]
        print_texts(columns, used, right=columns[1:])
    if found.unknown_columns_90_days:
        click.echo(f"\nReads whose columns are unknown: {found.unknown_columns_90_days:,}")


def _show_costs(found: Costs, product: str | None, as_json: bool) -> None:
    if as_json:
        print_json(_costs_as_json(found, product))
        return
    if product is not None:
        shares = {
            consumer: cost for (name, consumer), cost in found.cells.items() if name == product
        }
        _print_costs(found, f"consumers of {product}", shares)
    else:
        for name in ("domains", "products", "consumers"):
            _print_costs(found, name, getattr(found, name))
            click.echo()
    console().print(
        f"Bytes are those of what is published now; seconds{_and_credits(found)} are those since "
        f"{found.since:%Y-%m-%d %H:%M} UTC.",
        markup=False,
    )


def _and_credits(found: Costs) -> str:
    return " and credits" if found.knows_credits else ""


def _print_costs(found: Costs, title: str, costs: Mapping[str, Cost]) -> None:
    columns = [title, "bytes", "seconds", *(["credits"] if found.knows_credits else [])]
    rows = [[name, *_cells(found, cost)] for name, cost in costs.items()]
    rows.append(["all", *_cells(found, sum(costs.values(), Cost()))])
    print_texts(columns, rows, right=columns[1:])


def _cells(found: Costs, cost: Cost) -> list[str]:
    credit = [f"{cost.credits:,.6f}"] if found.knows_credits else []
    return [size(cost.bytes), f"{cost.seconds:,.1f}", *credit]


def _as_json(found: Usage) -> dict[str, Any]:
    return {
        "product": found.relation,
        "state": found.state,
        "why": found.why,
        "reads_30_days": found.reads_30_days,
        "reads_90_days": found.reads_90_days,
        "last_read": found.last_read,
        "recorded_since": found.recorded_since,
        "consumers": {name: asdict(each) for name, each in found.consumers.items()},
        "columns_30_days": found.columns_30_days,
        "columns_90_days": found.columns_90_days,
        "unknown_columns_90_days": found.unknown_columns_90_days,
    }


def _costs_as_json(found: Costs, product: str | None) -> dict[str, Any]:
    def shown(cost: Cost) -> dict[str, Any]:
        credit = cost.credits if found.knows_credits else None
        return {"bytes": cost.bytes, "seconds": cost.seconds, "credits": credit}

    cells = [
        {"product": name, "consumer": consumer, **shown(cost)}
        for (name, consumer), cost in sorted(found.cells.items())
        if product in (None, name)
    ]
    if product is not None:
        return {"since": found.since, "cells": cells}
    parts = {
        name: {each: shown(cost) for each, cost in getattr(found, name).items()}
        for name in ("domains", "products", "consumers")
    }
    return {"since": found.since, "total": shown(found.total), **parts, "cells": cells}
