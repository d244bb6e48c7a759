"""`mesh tail`: ships the lines of a growing log file to a topic."""

from __future__ import annotations

from pathlib import Path

import click

from meshhouse.cli.interrupts import until_signalled
from meshhouse.cli.output import console, print_json
from meshhouse.events import event_log
from meshhouse.events.source import Producer
from meshhouse.repository import Repository


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--topic", required=True, help="The topic for the lines, one event per line.")
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    help="Partitions, if the topic does not exist yet; 1 by default. All lines of a file go to one "
    "of them.",
)
@click.option("--once", is_flag=True, help="Ship the lines that the file has now, then stop.")
@click.option(
    "--from-start/--from-end",
    default=True,
    help="The first time: ship the lines already in the file (default), or only new lines.",
)
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON at the end.")
def tail(
    file: Path,
    topic: str,
    partitions: int | None,
    once: bool,
    from_start: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Ship the lines of a growing log file to a topic, through rotation and restarts."""
    from meshhouse.events.kafka.settings import kafka_settings
    from meshhouse.events.tail.tail import LogProducer
    from meshhouse.events.tail.tail import tail as ship

    repository = Repository.find()
    settings = kafka_settings(repository.root)
    if settings is None:
        sink: Producer = LogProducer(event_log(repository.home))
    else:
        from meshhouse.events.kafka.writer import KafkaLines

        sink = KafkaLines(settings)
    shown_on = console(quiet or as_json)
    with until_signalled() as stopped:
        shipped = ship(
            file,
            topic,
            sink,
            repository.home,
            partitions=partitions,
            once=once,
            from_end=not from_start,
            stopped=stopped,
            say=lambda line: shown_on.print(line, markup=False),
        )
    if as_json:
        print_json(
            {
                "file": str(shipped.file),
                "topic": shipped.topic,
                "lines": shipped.lines,
                "bytes": shipped.bytes,
                "skipped": shipped.skipped,
            }
        )
    else:
        skipped = f", {shipped.skipped:,} skipped as too long" if shipped.skipped else ""
        shown_on.print(f"{topic}: {shipped.lines:,} lines shipped{skipped}", markup=False)
