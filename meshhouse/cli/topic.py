"""`mesh topic`: create topics, list them, and show one.

Belongs here: the group, and what a topic is. Not here: its events (topic_events.py).
"""

from __future__ import annotations

import heapq
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import click

from meshhouse.cli.output import (
    console,
    counted,
    excerpt,
    print_json,
    print_texts,
    results,
    table,
)
from meshhouse.cli.topic_events import consume, event_facts, produce
from meshhouse.engines import engine
from meshhouse.errors import UsageError
from meshhouse.events import open_source, open_writer
from meshhouse.events.source import Source, Topic
from meshhouse.landing.lag import Lag, lag
from meshhouse.repository import RawTable, Repository, display_path, names

_SAMPLE_BYTES = 8 << 20
_MARKS = 16
"""Offsets read beyond the sample: Kafka's last offsets may be marks of transactions."""


@click.group()
def topic() -> None:
    """Create topics, write events to them, and look at them, in Kafka or the embedded event log."""


topic.add_command(produce)
topic.add_command(consume)


@topic.command()
@click.argument("name")
@click.option("--partitions", type=click.IntRange(1, 10_000), default=1, show_default=True,
              help="Events with the same key share a partition.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="Print errors only.")
def create(name: str, partitions: int, quiet: bool) -> None:
    """Create an empty topic."""
    repository = Repository.find()
    if problem := names.bad_topic(name):
        raise UsageError(problem)
    if name.startswith("__"):
        raise UsageError(f"`{name}`: names that begin with `__` are for Kafka's internal topics.")
    writer = open_writer(repository.root, repository.home)
    if name in writer.topics():
        raise UsageError(
            f"Topic `{name}` exists in {_place(repository)}. `mesh topic show {name}` shows it."
        )
    writer.create_topic(name, partitions)
    out = console(quiet)
    out.print(
        f"created   {name} with {counted(partitions, 'partition')}, in {_place(repository)}",
        markup=False,
    )
    if not declaring(repository, name):
        out.print(f"declare   `mesh new topic DOMAIN.TABLE --from {name}`, once it holds events")


@topic.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_(as_json: bool) -> None:
    """List every topic, and the raw tables that land it."""
    repository = Repository.find()
    source = open_source(repository.root, repository.home)
    held = source.topics()
    declared = {raw.topic for domain in repository.readings for raw in domain.raw_tables}
    found = []
    for name in sorted({*held, *declared}):
        described = source.describe(name) if name in held else None
        found.append((name, described, _lags(repository, name, described)))
    if as_json:
        print_json([_list_facts(*each) for each in found])
        return
    if not found:
        console().print(f"{_place(repository)} holds no topic. Create one: `mesh topic create`.",
                        markup=False)  # fmt: skip
        return
    rows = []
    for name, described, lags in found:
        count = None if described is None else len(described.partitions)
        events = None if described is None else _events(described)
        tables = [f"{each.raw.relation}" for each in lags]
        rows.append((name, count, events, "\n".join(tables) or None,
                     "\n".join(_lag_text(each, described) for each in lags) or None))  # fmt: skip
    columns = ["topic", "partitions", "events", "raw table", "lag"]
    results().print(table(columns, rows, right=("partitions", "events")))
    if absent := sorted(declared - set(held)):
        count = f"{counted(len(absent), 'declared topic')} {'is' if len(absent) == 1 else 'are'}"
        console().print(
            f"{count} not in {_place(repository)}. Create: `mesh topic create {absent[0]}`.",
            markup=False,
        )


@topic.command(short_help="Show partitions, offsets, lag and newest events of a topic.")
@click.argument("name")
@click.option("--limit", type=click.IntRange(0, 1_000), default=5, show_default=True,
              help="How many of the newest events to show.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, values in full.")
def show(name: str, limit: int, as_json: bool) -> None:
    """Show a topic: partitions, offsets, lag, newest events, and where it is declared."""
    repository = Repository.find()
    source = open_source(repository.root, repository.home)
    described = source.describe(name)
    lags = _lags(repository, name, described)
    newest = _newest(source, described, limit)
    if as_json:
        partitions = [
            {"partition": number, "first_offset": each.begin, "next_offset": each.end}
            for number, each in described.partitions.items()
        ]
        print_json(
            {
                **_list_facts(name, described, lags),
                "place": _place(repository),
                "cluster_id": described.cluster_id,
                "topic_id": described.topic_id,
                "partitions": partitions,
                "newest": newest,
            }
        )
        return
    out = results()
    out.print(f"{name}: {counted(_events(described), 'event')}, in {_place(repository)}",
              markup=False, soft_wrap=True)  # fmt: skip
    for each in lags:
        out.print(f"{each.raw.relation}: {_lag_text(each, described)}; declared in "
                  f"{_declared_in(each.raw)}", markup=False, soft_wrap=True)  # fmt: skip
    if not lags:
        remedy = f"`mesh new topic DOMAIN.TABLE --from {name}`"
        out.print(f"No raw table lands it. Declare one: {remedy}", markup=False, soft_wrap=True)
    rows: list[Sequence[Any]] = [
        (number, each.begin, each.end, each.end - each.begin)
        for number, each in described.partitions.items()
    ]
    columns = ["partition", "first offset", "next offset", "events"]
    out.print()
    out.print(table(columns, rows, right=columns))
    if newest:
        out.print()
        print_texts(["newest", "time", "key", "value"], [
            (f"{each['partition']}/{each['offset']}", each["timestamp"],
             excerpt(_either(each, "key")), excerpt(_either(each, "value")))
            for each in newest
        ])  # fmt: skip


def declaring(repository: Repository, name: str) -> list[RawTable]:
    """The raw tables of all domains, broken ones too, that land a topic."""
    return [raw for domain in repository.readings for raw in domain.raw_tables if raw.topic == name]


def _lags(repository: Repository, name: str, described: Topic | None) -> list[Lag]:
    declared = declaring(repository, name)
    if not declared:
        return []
    if described is None:
        return [Lag(raw, None, is_landed=False) for raw in declared]
    store = engine(repository).store
    return [lag(store, raw, described) for raw in declared]


def _newest(source: Source, described: Topic, limit: int) -> list[dict[str, Any]]:
    ranges = {
        number: (max(each.begin, each.end - limit - _MARKS), each.end)
        for number, each in described.partitions.items()
        if each.end > each.begin
    }
    if not limit or not ranges:
        return []
    found = (
        event_facts(batch.partition, event)
        for batch in source.read(described.name, ranges, _SAMPLE_BYTES)
        for event in batch.events.to_pylist()
    )
    return heapq.nlargest(limit, found, key=lambda each: (each["timestamp"], each["offset"]))


def _list_facts(name: str, described: Topic | None, lags: Sequence[Lag]) -> dict[str, Any]:
    return {
        "topic": name,
        "exists": described is not None,
        "partitions": None if described is None else len(described.partitions),
        "events": None if described is None else _events(described),
        "raw_tables": [
            {
                "raw_table": each.raw.relation,
                "lag": each.events,
                "landed": each.is_landed,
                "declared_in": _declared_in(each.raw),
            }
            for each in lags
        ],
    }


def _events(described: Topic) -> int:
    return sum(each.end - each.begin for each in described.partitions.values())


def _lag_text(each: Lag, described: Topic | None) -> str:
    if described is None:
        return "no such topic"
    if each.events is None:
        return "landed from another topic of this name"
    waiting = f"{each.events:,} to land" if each.events else "all landed"
    return waiting if each.is_landed else f"{waiting} (never landed)"


def _declared_in(raw: RawTable) -> str:
    return f"{display_path(raw.path)}:{raw.line}"


def _either(event: dict[str, Any], name: str) -> str | bytes | None:
    encoded = event[f"{name}_base64"]
    return event[name] if encoded is None else b64decode(encoded)


def _place(repository: Repository) -> str:
    """Where the mesh's topics are, for messages."""
    from meshhouse.events.kafka.settings import kafka_settings

    settings = kafka_settings(repository.root)
    if settings is None:
        return f"the event log {display_path(repository.home / 'events')}"
    return f"Kafka at {settings.bootstrap_servers}"
