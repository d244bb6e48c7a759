"""`mesh status`: one line per product."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from meshhouse.cli.output import console, fitting, print_json, results, table, width
from meshhouse.cli.sinks import print_summary, states_in_production
from meshhouse.engines import engine
from meshhouse.governance.policies import notice_days
from meshhouse.repository import Repository, printable
from meshhouse.repository.environment import PRODUCTION
from meshhouse.runs.objectives import objective_statuses
from meshhouse.runs.retirement import retired
from meshhouse.runs.status import ProductStatus, age, broken_domains, leftovers, product_statuses

UNDECLARED, RETIRED = "not declared", "retired"
_LESS_IMPORTANT = ("version", "last run", "score", "refreshed")
"""Columns that are left out on a narrow terminal, the first one first."""


@click.command()
@click.option("--retired", "all_retired", is_flag=True, help="Show all retired products.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def status(all_retired: bool, as_json: bool) -> None:
    """Show each product and its sinks: version, published when, rows, score, freshness."""
    repository = Repository.find()
    chosen = engine(repository)
    statuses = product_statuses(repository, chosen.ledger, chosen.lake)
    left = leftovers(repository, chosen)
    now = datetime.now(UTC)
    since = now - timedelta(days=notice_days(repository))
    gone = [each for each in retired(chosen) if all_retired or each.at >= since]
    declared = {each.product.relation for each in statuses}
    sinks = states_in_production(repository, chosen.ledger)
    broken = broken_domains(repository)
    for domain, because in _grouped(broken):
        click.echo(f"mesh: {domain}: {because}", err=True)
    if as_json:
        kept = objective_statuses(chosen.ledger, (each.product for each in statuses), now)
        print_json(
            [
                {
                    "product": each.product.relation,
                    "version": each.product.version,
                    "published_at": each.published_at,
                    "rows": each.rows,
                    "score": each.score,
                    "refreshed_at": each.refreshed_at,
                    "freshness": each.freshness(now),
                    "last_run": each.last_run,
                    "rolled_back": each.rolled_back,
                    "damage": each.damage or None,
                    "environment": each.environment or PRODUCTION,
                    "broken": broken.get(each.product.domain),
                    "state": each.state,
                    "objectives": [one.as_json() for one in kept[each.product.relation]],
                    "sinks": [
                        {name: value for name, value in vars(one).items() if name != "product"}
                        for one in sinks
                        if one.product == each.product.relation
                    ],
                }
                for each in statuses
            ]
            + [
                {
                    "product": each.relation,
                    "version": each.version,
                    "published_at": each.published_at,
                    "rows": each.rows,
                    "score": each.score,
                    "refreshed_at": None,
                    "freshness": None,
                    "last_run": None,
                    "rolled_back": False,
                    "environment": each.environment or PRODUCTION,
                    "state": UNDECLARED,
                }
                for each in left
            ]
            + [
                {
                    "product": each.relation,
                    "version": each.version,
                    "published_at": None,
                    "rows": None,
                    "score": None,
                    "refreshed_at": None,
                    "freshness": None,
                    "last_run": None,
                    "rolled_back": False,
                    "environment": repository.environment or PRODUCTION,
                    "state": RETIRED,
                    "retired_at": each.at,
                }
                for each in gone
                if each.relation not in declared
            ]
        )
        return
    columns = ["product", "version", "published", "rows", "score", "refreshed", "promise"]
    columns += ["last run", *(["environment"] if repository.environment else [])]
    rows = [_cells(each, now, each.product.domain in broken) for each in statuses]
    rows += [
        (each.relation, each.version, age(each.published_at, now), each.rows, each.score, None,
         UNDECLARED, None, each.environment or PRODUCTION)
        for each in left
    ]  # fmt: skip
    rows += [
        (each.relation, each.version, "-", None, None, None, f"retired {age(each.at, now)}", None,
         repository.environment or PRODUCTION)
        for each in gone if each.relation not in declared
    ]  # fmt: skip
    rows = [row[: len(columns)] for row in rows]
    columns, rows, left_out = fitting(columns, rows, _LESS_IMPORTANT, width())
    right = [name for name in ("version", "rows", "score") if name in columns]
    results().print(table(columns, rows, right=right))
    if left_out:
        console().print(f"Left out for lack of width: {', '.join(left_out)}; --json has them.")
    for each in statuses:
        if each.damage:
            console().print(f"{each.damage} See `mesh doctor`.", markup=False)
    names = [each.relation for each in left]
    names += [each.product.relation for each in statuses if each.state != "declared"
              and each.published_at]  # fmt: skip
    if names:
        console().print(
            f"Consumers still see {', '.join(sorted(names))}, but no run publishes them any more."
        )
    print_summary(sinks, now)


def _cells(status: ProductStatus, now: datetime, broken: bool) -> tuple[Any, ...]:
    return (
        status.product.relation,
        status.product.version,
        _published(status, now),
        status.rows,
        status.score,
        age(status.refreshed_at, now),
        status.freshness(now) if status.state == "declared" else status.state,
        "broken" if broken else status.last_run,
        status.environment or PRODUCTION,
    )


def _grouped(broken: Mapping[str, str]) -> list[tuple[str, str]]:
    """Broken domains and their problems; a problem of several domains is listed once."""
    domains: dict[str, list[str]] = {}
    for domain, because in broken.items():
        domains.setdefault(because, []).append(printable(domain))
    return [
        (f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} broken", because)
        for because, names in domains.items()
    ]


def _published(status: ProductStatus, now: datetime) -> str:
    if status.damage:
        return "damaged"
    if status.published_at is None:
        return "-" if status.state == "retired" else "never"
    return age(status.published_at, now) + (", rolled back" if status.rolled_back else "")
