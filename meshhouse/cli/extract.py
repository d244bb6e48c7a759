"""`mesh extract`: new files, rows of databases and records of Kinesis become events of topics."""

from __future__ import annotations

from functools import partial

import click
from rich.console import Console

from meshhouse.cli.interrupts import until_signalled
from meshhouse.cli.output import console, counted, escaped, print_json
from meshhouse.errors import MeshError, UsageError
from meshhouse.extraction import Extracted
from meshhouse.extraction import extract as extract_one
from meshhouse.extraction.new_records import LOST_RECORDS
from meshhouse.repository import Repository


@click.command()
@click.argument("targets", nargs=-1, metavar="[DOMAIN|DOMAIN_RAW.TABLE]...")
@click.option(
    "--accept",
    type=click.Choice([LOST_RECORDS]),
    multiple=True,
    help="Go on although Kinesis may have removed records that were not sent.",
)
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print what was extracted as JSON.")
def extract(targets: tuple[str, ...], accept: tuple[str, ...], quiet: bool, as_json: bool) -> int:
    """Send new files, rows and records to topics, as `extract` of raw tables says, each once."""
    repository = Repository.find()
    tables = [raw for raw in repository.raw_tables(targets) if raw.extraction]
    if not tables:
        where = f" of {', '.join(targets)}" if targets else ""
        raise UsageError(
            f"No raw table{where} has `config.meta.extract`. Declare it beside the topic, such as "
            "`extract: {files: in/*.csv}`."
        )
    if accept and (len(tables) > 1 or not tables[0].extraction.stream):
        raise UsageError(
            "--accept works for one stream only: name one raw table that extracts from Kinesis."
        )
    out = console(quiet or as_json)
    done: list[Extracted] = []
    problems: list[str] = []
    with until_signalled() as stopped:
        for raw in tables:
            try:
                said = partial(_say, out)
                result = extract_one(repository, raw, stopped=stopped, say=said, accept=accept)
            except MeshError as error:
                if len(tables) == 1:
                    raise
                problems.append(str(error))
                continue
            done.append(result)
            _report(out, result)
            if not result.complete:
                break
    if as_json:
        print_json([_facts(each) for each in done])
    problems += filter(None, (each.refusal() for each in done))
    for problem in problems:
        click.echo(escaped(f"mesh: {problem}"), err=True)
    return _code(done, problems)


def _code(done: list[Extracted], problems: list[str]) -> int:
    if not all(each.complete for each in done):
        click.echo("mesh: Interrupted. The next `mesh extract` goes on there.", err=True)
        return 130
    return 1 if problems else 0


def _say(out: Console, line: str) -> None:
    out.print(escaped(line), markup=False)


def _report(out: Console, result: Extracted) -> None:
    for name in result.unsettled:
        out.print(escaped(f"waiting   {name} is being written"), markup=False)
    for note in result.notes:
        out.print(escaped(f"note      {note}"), markup=False)
    spec = result.raw.extraction
    files = "" if spec and (spec.table or spec.stream) else f"{counted(result.files, 'new file')}, "
    out.print(
        f"{result.raw.relation}: {files}{counted(result.events, 'event')} sent to "
        f"{result.raw.topic}",
        markup=False,
    )


def _facts(result: Extracted) -> dict[str, object]:
    return {
        "raw_table": result.raw.relation,
        "topic": result.raw.topic,
        "files": result.files,
        "events": result.events,
        "known": result.known,
        "being_written": list(result.unsettled),
        "changed": list(result.changed),
        "notes": list(result.notes),
        "complete": result.complete,
    }
