"""`mesh topic produce` and `consume`: the events of a topic.

Belongs here: sending a file, and printing events. Not here: reading files (events/files.py), or
topics themselves (topic.py).
"""

from __future__ import annotations

import json
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from meshhouse.cli.interrupts import until_signalled
from meshhouse.cli.output import console, counted, excerpt, print_json, text_of
from meshhouse.cli.run import progress_bar
from meshhouse.errors import MeshError, UsageError
from meshhouse.events import open_source, open_writer
from meshhouse.events.batches import from_rows
from meshhouse.events.files import FORMS, EventFile, key_of, open_events
from meshhouse.events.source import EventBatch, Partition, Source
from meshhouse.repository import Repository

PRODUCER = "mesh topic"
_BATCH_BYTES = 4 << 20
_BATCH_EVENTS = 10_000
_POLL_SECONDS = 0.5
_ONLY_BINARY = ("avro", "protobuf")

_Row = tuple[bytes | None, bytes, int, None]


@click.command(short_help="Send the lines or rows of a file to a topic.")
@click.argument("name")
@click.argument("file", metavar="FILE.jsonl|.csv|.parquet|-",
                type=click.Path(path_type=Path, allow_dash=True))  # fmt: skip
@click.option("--key", metavar="COLUMN", help="The column whose text is the key of the event.")
@click.option("--partition", type=click.IntRange(min=0), metavar="N",
              help="Send all events to this partition, whatever their keys are.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(FORMS),
              help="What FILE holds; by default as its suffix says; `-` is jsonl.")  # fmt: skip
@click.option("--skip", type=click.IntRange(min=0), default=0, metavar="N",
              help="Leave out the first N events: an interrupted command sent them.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print what was sent as JSON.")
def produce(
    name: str,
    file: Path,
    key: str | None,
    partition: int | None,
    form: str | None,
    skip: int,
    quiet: bool,
    as_json: bool,
) -> int:
    """Send the lines or rows of a file to a topic, each as one event in JSON.

    The whole file is checked first: if one line is not an event, nothing is sent. Sending a file
    twice stores its events twice.
    """
    repository = Repository.find()
    writer = open_writer(repository.root, repository.home)
    described = writer.describe(name)
    if partition is not None and partition not in described.partitions:
        raise UsageError(
            f"Topic `{name}` has no partition {partition}; it has {len(described.partitions)}, "
            "counted from 0."
        )
    tables = [raw for each in repository.readings for raw in each.raw_tables if raw.topic == name]
    for raw in tables:
        if raw.format in _ONLY_BINARY:
            raise UsageError(
                f"{raw.relation} declares that topic `{name}` holds {raw.format}, and this command "
                "writes JSON, which would be rejected. Use a producer of that format."
            )
    out = console(quiet or as_json)
    from_stdin = str(file) == "-"
    with (
        until_signalled() as stopped,
        open_events(None if from_stdin else file, form, sys.stdin.buffer) as content,
        progress_bar(out) as bars,
    ):
        total = _checked(content, key, stopped, _bar(bars, "checking", None))
        advance = _bar(bars, "sending", max(total - skip, 0))
        write = partial(writer.append_events, name, producer=PRODUCER, partition=partition)
        sent = _send(content, key, skip, write, advance, stopped)
    done = skip + sent >= total
    if as_json:
        print_json({"topic": name, "events": sent, "in_file": total, "complete": done})
    else:
        out.print(f"{counted(sent, 'event')} sent to {name}", markup=False)
        if done and sent:
            _say_what_is_next(out, name, [raw.relation for raw in tables])
    if not done:
        click.echo(f"mesh: {_rest(content.name, skip + sent, total)}", err=True)
        return 130
    return 0


def _checked(
    content: EventFile,
    key: str | None,
    stopped: Callable[[], bool],
    advance: Callable[[int], None],
) -> int:
    """How many events a file has; all of them can be sent."""
    total = 0
    try:
        for _ in _rows(content, key, stopped):
            total += 1
            advance(1)
    except UsageError as error:
        raise UsageError(f"{error} Nothing was sent. Correct it and try again.") from error
    if stopped():
        raise MeshError("Interrupted while the file was checked. Nothing was sent.")
    return total


def _rows(content: EventFile, key: str | None, stopped: Callable[[], bool]) -> Iterator[_Row]:
    """Events as producers send them, until a signal arrives."""
    for event in content.events():
        found = None if key is None else key_of(event, key, content.where(event.place))
        yield found, event.value, int(time.time() * 1000), None
        if stopped():
            return


def _send(
    content: EventFile,
    key: str | None,
    skip: int,
    write: Callable[[Any], int],
    advance: Callable[[int], None],
    stopped: Callable[[], bool],
) -> int:
    """Sends batch by batch; returns how many events were sent."""
    sent = tried = 0
    try:
        for batch in _batches(_after(_rows(content, key, lambda: False), skip)):
            if stopped():
                break
            tried = len(batch)
            write(from_rows(batch))
            sent, tried = sent + tried, 0
            advance(len(batch))
    except MeshError as error:
        done = skip + sent
        unsure = f" Of the next {tried:,}, some may have been sent, too." if tried else ""
        kind = UsageError if isinstance(error, UsageError) else MeshError
        # The rest of the message is a remedy for commands that a user can simply repeat.
        reason = str(error).partition(". ")[0].rstrip(".")
        raise kind(
            f"{reason}. Of {content.name}, {counted(done, 'event')} were sent.{unsure} "
            f"`--skip {done}` sends the rest."
        ) from error
    return sent


def _batches(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    waiting: list[_Row] = []
    size = 0
    for row in rows:
        waiting.append(row)
        size += len(row[1])
        if size >= _BATCH_BYTES or len(waiting) >= _BATCH_EVENTS:
            yield waiting
            waiting, size = [], 0
    if waiting:
        yield waiting


def _after(rows: Iterator[_Row], skip: int) -> Iterator[_Row]:
    for number, row in enumerate(rows):
        if number >= skip:
            yield row


def _bar(bars: Any, what: str, total: int | None) -> Callable[[int], None]:
    task = bars.add_task(what, total=total)
    return lambda count: bars.advance(task, count)


def _rest(file: str, sent: int, total: int) -> str:
    return (
        f"Interrupted: {sent:,} of {counted(total, 'event')} of {file} were sent. "
        f"Send the rest with `--skip {sent}`."
    )


def _say_what_is_next(out: Any, name: str, tables: list[str]) -> None:
    if tables:
        out.print(f"`mesh land {' '.join(tables)}` lands them", markup=False)
    else:
        out.print(
            f"no domain declares {name}: `mesh new topic DOMAIN.TABLE --from {name}`", markup=False
        )


@click.command()
@click.argument("name")
@click.option("--from", "start", metavar="OFFSET|TIME|beginning|end",
              help="Where to begin in each partition (beginning; with --follow, end).")  # fmt: skip
@click.option("--partition", type=click.IntRange(min=0), metavar="N", help="Only this partition.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N events.")
@click.option("--follow", is_flag=True, help="Wait for new events, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per event.")
def consume(
    name: str,
    start: str | None,
    partition: int | None,
    limit: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Print the events of a topic: position, time, key and value.

    Nothing is landed or committed, and no other reader is affected. Events of one partition come in
    order.
    """
    repository = Repository.find()
    source = open_source(repository.root, repository.home)
    held = dict(source.describe(name).partitions)
    if partition is not None:
        if partition not in held:
            raise UsageError(f"Topic `{name}` has no partition {partition}; it has {len(held)}.")
        held = {partition: held[partition]}
    begins = _begins(source, name, held, start or ("end" if follow else "beginning"))
    read = _following if follow else _held
    with until_signalled() as stopped:
        printed = 0
        for batch in read(source, name, begins, held, stopped):
            for event in batch.events.to_pylist():
                _print_event(event_facts(batch.partition, event), as_json)
                printed += 1
                if printed == limit:
                    return
                if stopped():
                    return


def event_facts(partition: int, event: Mapping[str, Any]) -> dict[str, Any]:
    """An event for JSON; bytes that are not UTF-8 are in the fields `..._base64`."""
    return {
        "partition": partition,
        "offset": event["offset"],
        "timestamp": event["timestamp"],
        **_both("key", event["key"]),
        "headers": [
            {"name": each["key"], **_both("value", each["value"])}
            for each in event["headers"] or ()
        ],
        **_both("value", event["value"]),
    }


def _both(name: str, value: bytes | None) -> dict[str, str | None]:
    text = None if value is None else text_of(value)
    is_binary = value is not None and text is None
    return {name: text, f"{name}_base64": b64encode(value).decode() if is_binary else None}


def _begins(source: Source, name: str, held: Mapping[int, Partition], start: str) -> dict[int, int]:
    """The first offset to read in each partition."""
    if start == "beginning":
        return {number: each.begin for number, each in held.items()}
    if start == "end":
        return {number: each.end for number, each in held.items()}
    if not start.isdecimal():
        try:
            since = datetime.fromisoformat(start)
        except ValueError as error:
            raise UsageError(
                f"`{start}` is neither an offset nor a time. Write `beginning`, `end`, 120000, or "
                "2017-03-01T00:00:00Z."
            ) from error
        found = source.offsets_at(name, since.replace(tzinfo=since.tzinfo or UTC))
        return {number: found[number] for number in held}
    offset = int(start)
    if not any(each.begin <= offset <= each.end for each in held.values()):
        spans = ", ".join(
            f"{each.begin} to {each.end} in partition {number}" for number, each in held.items()
        )
        raise UsageError(f"Topic `{name}` does not hold offset {offset}; it holds {spans}.")
    return {number: min(max(offset, each.begin), each.end) for number, each in held.items()}


def _held(
    source: Source,
    name: str,
    begins: Mapping[int, int],
    held: Mapping[int, Partition],
    stopped: Callable[[], bool],
) -> Iterator[EventBatch]:
    """The events that the topic holds now."""
    ranges = {
        number: (begin, held[number].end)
        for number, begin in begins.items()
        if begin < held[number].end
    }
    return source.read(name, ranges, _BATCH_BYTES) if ranges else iter(())


def _following(
    source: Source,
    name: str,
    begins: Mapping[int, int],
    held: Mapping[int, Partition],
    stopped: Callable[[], bool],
) -> Iterator[EventBatch]:
    """Events until a signal arrives."""
    client = source.follow(name, "mesh-topic-consume")
    try:
        client.assign(begins)
        while not stopped():
            yield from client.poll(_POLL_SECONDS)
            sys.stdout.flush()
    finally:
        client.close()


def _print_event(event: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps({**event, "timestamp": event["timestamp"].isoformat()}))
        return
    when = event["timestamp"].astimezone(UTC)
    position = f"{event['partition']}/{event['offset']}"
    cells = [position, f"{when:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"]
    for name in ("key", "value"):
        encoded = event[f"{name}_base64"]
        shown = excerpt(event[name], None) if encoded is None else f"base64:{encoded}"
        cells.append("-" if shown is None else shown)
    print("\t".join(cells))
