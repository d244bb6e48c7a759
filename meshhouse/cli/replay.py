"""`mesh replay`: writes the demo's retail data into topics, as events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import click

from meshhouse.cli.output import console, print_json
from meshhouse.cli.run import progress_bar
from meshhouse.errors import UsageError
from meshhouse.events import event_log, uses_kafka
from meshhouse.repository import Repository

if TYPE_CHECKING:
    from meshhouse.demo.replay import ReplayTarget


def replay_events(
    repository: Repository,
    until: date | datetime | None,
    weeks: int | None,
    topics: Sequence[str],
    shown_on: Any,
    to: str | None = None,
) -> list[dict[str, Any]]:
    """Writes the missing events, with one progress bar per topic; returns the numbers."""
    from meshhouse.demo.replay import replay as write_events

    with progress_bar(shown_on) as bars:
        tasks: dict[str, Any] = {}

        def progress(topic: str, done: int, total: int) -> None:
            if topic not in tasks:
                tasks[topic] = bars.add_task(f"replaying {topic}", total=total)
            bars.update(tasks[topic], completed=done, total=total)

        reports = write_events(
            _target(repository, to), until, weeks, progress, list(topics) or None
        )
    return [
        {"topic": each.topic, "written": each.written, "in_log": each.total_in_log}
        for each in reports
    ]


def _target(repository: Repository, to: str | None) -> ReplayTarget:
    if (to or ("kafka" if uses_kafka(repository.root) else "log")) == "log":
        return event_log(repository.home)
    from meshhouse.events.kafka.settings import kafka_settings
    from meshhouse.events.kafka.writer import KafkaWriter

    settings = kafka_settings(repository.root)
    if settings is None:
        raise UsageError(
            "No Kafka is configured. Start one with `mesh kafka start`, and set "
            "KAFKA_BOOTSTRAP_SERVERS to the address that it prints."
        )
    return KafkaWriter(settings)


@click.command()
@click.argument("topics", nargs=-1)
@click.option("--until", metavar="DATE", help="Only events to the end of this day (New York).")
@click.option(
    "--all", "everything", is_flag=True, help="Write all 53 weeks of promotions, not only two."
)
@click.option(
    "--to",
    type=click.Choice(["log", "kafka"]),
    help="Where to write the topics; by default Kafka if one is configured, else the event log.",
)
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def replay(
    topics: tuple[str, ...],
    until: str | None,
    everything: bool,
    to: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the demo's retail data into topics, in time order; a second call adds nothing."""
    weeks = None if everything else 2
    shown_on = console(quiet or as_json)
    repository = Repository.find()
    written = replay_events(repository, parse_until(until), weeks, topics, shown_on, to)
    if as_json:
        print_json(written)
        return
    for each in written:
        shown_on.print(f"{each['topic']}: {each['written']:,} written, {each['in_log']:,} in all")


def parse_until(text: str | None) -> date | datetime | None:
    """Parses a date, or a time with its time zone.

    Raises:
        UsageError: the text is neither.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"`{text}` is not a date. Write it as 2017-03-01.") from error
