"""`mesh land`: events become raw rows."""

from __future__ import annotations

import click

from meshhouse.cli.output import console, print_json
from meshhouse.cli.run import TerminalReporter
from meshhouse.errors import UsageError
from meshhouse.lake import Lake
from meshhouse.landing import land_table
from meshhouse.repository import RawTable, Repository


@click.command()
@click.argument("targets", nargs=-1, metavar="[DOMAIN|DOMAIN_RAW.TABLE]...")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print what was landed as JSON.")
def land(targets: tuple[str, ...], quiet: bool, as_json: bool) -> None:
    """Land the events that wait in topics, each exactly once."""
    repository = Repository.find()
    reporter = TerminalReporter(repository, quiet or as_json)
    lake = Lake(repository.home)
    tables = _tables(repository, targets)
    for raw in tables:
        reporter.landed(land_table(repository, lake, raw, reporter.landing(raw)))
    summary = reporter.summary([], 0)["landed"]
    if as_json:
        print_json(summary)
        return
    rows = sum(each["rows"] for each in summary)
    rejected = sum(each["rejected"] for each in summary)
    console(quiet).print(f"{rows:,} rows landed, {rejected:,} events rejected")


def _tables(repository: Repository, targets: tuple[str, ...]) -> list[RawTable]:
    every = [raw for domain in repository.domains for raw in domain.raw_tables]
    if not targets:
        return every
    chosen = []
    for target in targets:
        found = [raw for raw in every if target in (raw.domain, raw.relation)]
        if not found:
            known = ", ".join(raw.relation for raw in every)
            raise UsageError(f"`{target}` is no domain with topics and no raw table. Raw: {known}.")
        chosen += found
    return chosen
