"""`mesh land`: events become raw rows."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import click

from meshhouse.cli.output import console, escaped, print_json
from meshhouse.cli.run import TerminalReporter
from meshhouse.engines import LANDERS, Engine, lake_of, lander
from meshhouse.engines import engine as engine_of
from meshhouse.errors import MeshError, UsageError
from meshhouse.extraction import extracted_whole, no_reading_in_part
from meshhouse.landing import Landing, Pace, follow_table, land_table, reprocess_table
from meshhouse.maintenance import keep_short, maintain_while_landing
from meshhouse.repository import BrokenDomain, RawTable, Repository, broken_because


@click.command()
@click.argument("targets", nargs=-1, metavar="[DOMAIN|DOMAIN_RAW.TABLE]...")
@click.option(
    "--follow", is_flag=True, help="Go on landing until Ctrl-C; several may share a topic."
)
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="With --follow: commit this often.",
)
@click.option(
    "--events",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    metavar="N",
    help="With --follow: commit sooner after so many events.",
)
@click.option(
    "--accept",
    type=click.Choice(["lost-events", "new-topic"]),
    multiple=True,
    help="Go on although events are gone, or although the topic was created again.",
)
@click.option(
    "--again-from",
    metavar="OFFSET|TIME",
    help="Reprocess what was landed since then: new rows replace the earlier ones.",
)
@click.option(
    "--engine",
    type=click.Choice(LANDERS),
    default="python",
    show_default=True,
    help="What reads and decodes: this process, or Spark (topics in Kafka only).",
)
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print what was landed as JSON.")
def land(
    targets: tuple[str, ...],
    follow: bool,
    every: float,
    events: int,
    accept: tuple[str, ...],
    again_from: str | None,
    engine: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Land the events that wait in topics, each exactly once."""
    repository = Repository.find()
    tables = repository.raw_tables(targets)
    # Without targets, the topics of a broken domain are left out, which is a failure.
    code = 0 if targets else _say_what_is_broken(repository, tables)
    if accept and not targets:
        raise UsageError("--accept is about one topic: name the raw table, too.")
    target = engine_of(repository)
    if again_from is not None and engine != "python":
        raise UsageError("--again-from lands in this process: leave out --engine.")
    lands = lander(engine, repository, target)
    if follow:
        work = partial(
            follow_table,
            repository,
            target.store,
            pace=Pace(every, events),
            accept=accept,
            lander=lands,
            maintain=partial(_maintain, target),
        )
        _follow(_followed(repository, tables), work, quiet, as_json)
        return code
    if again_from is not None:
        if not targets:
            raise UsageError("--again-from is about one topic: name the raw table, too.")
        _again(repository, tables, again_from, quiet or as_json)
    reporter = TerminalReporter(repository, quiet or as_json)
    for raw in tables:
        progress = reporter.landing(raw)
        with no_reading_in_part(repository, raw.topic):
            done = land_table(repository, target.store, raw, progress, accept, lands)
        reporter.landed(done)
        _keep_short(target, raw, reporter)
    summary = reporter.summary([], 0)["landed"]
    if as_json:
        print_json(summary)
        return code
    if summary and all(landing.followed_by for landing in reporter.landings):
        return code
    rows = sum(each["rows"] for each in summary)
    rejected = sum(each["rejected"] for each in summary)
    console(quiet).print(f"{rows:,} rows landed, {rejected:,} events rejected")
    return code


def _keep_short(target: Engine, raw: RawTable, reporter: TerminalReporter) -> None:
    """Shortens a raw table; what goes wrong is a warning, because the rows are landed."""
    if target.lake is None:
        return
    try:
        keep_short(target.lake, [raw.relation, f"{raw.schema}.{raw.rejected}"])
    except (MeshError, OSError) as error:
        reporter.warned(f"{raw.relation} was not shortened; `mesh maintain` does it: {error}")


def _followed(repository: Repository, tables: Sequence[RawTable]) -> list[RawTable]:
    """The tables that can land event by event; names each other one.

    Raises:
        UsageError: there are others only.
    """
    followed: list[RawTable] = []
    others: list[str] = []
    for raw in tables:
        if found := extracted_whole(repository, raw.topic):
            others.append(
                f"{raw.relation} is not followed: its topic has readings of the whole table "
                f"{found[1].name}, and a part of one would look like a table that lost rows. "
                f"Run `mesh land {raw.relation}` after `mesh extract` instead."
            )
        else:
            followed.append(raw)
    if others and not followed:
        raise UsageError(" ".join(others))
    for line in others:
        click.echo(escaped(f"mesh: {line}"), err=True)
    return followed


def _follow(
    tables: Sequence[RawTable],
    follow: Callable[..., Landing],
    quiet: bool,
    as_json: bool,
) -> None:
    """One thread a table; one that fails leaves the others at work."""
    out = console(quiet)
    failures: list[Exception] = []
    done: list[Landing] = []

    def landed(landing: Landing) -> None:
        if as_json:
            print_json({**_facts(landing), "at": landing.offsets})
            return
        fields = ", ".join(landing.new_fields)
        landing.new_fields = ()
        rejected = f", {landing.rejected:,} rejected" if landing.rejected else ""
        out.print(f"landed    {landing.raw.relation}: {landing.rows:,} rows{rejected}")
        if fields:
            out.print(f"new       {landing.raw.relation}: undeclared fields {fields}", markup=False)

    def work(raw: RawTable) -> None:
        try:
            done.append(follow(raw, stop, on_landed=landed))
        except Exception as error:  # noqa: BLE001 - whatever ends a thread ends the command badly
            failures.append(error)
            out.print(f"stopped   {raw.relation}: {error}", markup=False)

    with _until_told() as stop:
        workers = [threading.Thread(target=work, args=(raw,), name=raw.relation) for raw in tables]
        for worker in workers:
            worker.start()
        out.print(f"landing   {', '.join(raw.relation for raw in tables)}; Ctrl-C stops")
        for worker in workers:
            while worker.is_alive():  # a join without end would not hear signals
                worker.join(0.5)
    rows = sum(landing.rows for landing in done)
    out.print(f"{rows:,} rows landed")
    if failures:
        raise failures[0]


def _maintain(target: Engine, raw: RawTable) -> None:
    """Keeps a table quick to commit to, where tables are the lake's."""
    if target.lake is not None:
        maintain_while_landing(target.lake, raw.relation)


def _facts(landing: Landing) -> dict[str, object]:
    return {
        "raw_table": landing.raw.relation,
        "rows": landing.rows,
        "rejected": landing.rejected,
        "commits": landing.commits,
        "snapshot_id": landing.snapshot_id,
    }


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM only set a flag, so that what was read is committed first."""
    told = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, lambda number, frame: told.set()) for each in signals]
    try:
        yield told
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


def _again(repository: Repository, tables: Sequence[RawTable], start: str, quiet: bool) -> None:
    for raw in tables:
        again = reprocess_table(repository, lake_of(engine_of(repository)), raw, start)
        console(quiet).print(
            f"again     {raw.relation}: {again.replaced:,} events are now {again.rows:,} rows "
            f"and {again.rejected:,} rejected"
        )


def _say_what_is_broken(repository: Repository, tables: Sequence[RawTable]) -> int:
    """Names each broken domain; the exit code is 1 if there is one.

    Raises:
        BrokenDomain: there is one, and nothing else to land.
    """
    if repository.broken and not tables:
        raise BrokenDomain(repository.broken[0])
    for because in dict.fromkeys(broken_because(domain) for domain in repository.broken):
        click.echo(f"mesh: not landed: {because}", err=True)
    return 1 if repository.broken else 0
