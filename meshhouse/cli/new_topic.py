"""`mesh new topic`: declare a topic from samples of its events, with a staging model.

Belongs here: reading samples, writing the files, and saying what is uncertain. Not here: which
columns fit the samples (landing/infer.py), or the text of the files (repository/new_topic.py).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import click

from meshhouse.cli.new_table import AS_STORED, read_table, source_table
from meshhouse.cli.output import console, counted, escaped
from meshhouse.errors import UsageError
from meshhouse.events import Source, event_log, open_source, uses_kafka
from meshhouse.events.files import BadEvent, open_events, parsed
from meshhouse.governance.classes import looks_personal
from meshhouse.governance.policies.meaning import personal_in_topics
from meshhouse.landing.infer import Inference, Inferred, Sample, infer
from meshhouse.repository import Column, Domain, Repository, display_path
from meshhouse.repository.new_topic import (
    AS_SENT,
    KEY_AS_SENT,
    NewFiles,
    NewTopic,
    new_topic,
    refuse_name,
)
from meshhouse.scaffold.write import editing, write_changes

_BYTES = 64 << 20
"""Most bytes of samples: they are held in memory."""
_BATCH_BYTES = 4 << 20
_LOOKED_AT = 1_000
"""Values of a column in which personal data is looked for."""


@dataclass
class Samples:
    """Events from which columns are inferred."""

    name: str
    file: Path | None = None
    events: list[Sample] = field(default_factory=list)
    unreadable: int = 0
    """Events of a topic that are not JSON objects."""
    tombstones: int = 0
    """Events of a topic without a value."""


@click.command(short_help="Declare a topic and its raw table from sample events.")
@click.argument("name", metavar="DOMAIN.TABLE")
@click.option("--from", "origin", metavar="FILE|TOPIC|TABLE",
              help="Sample events: a file, or a topic; by default the topic itself. With "
              "--database, the table.")  # fmt: skip
@click.option("--topic", metavar="NAME", help="The topic; by default DOMAIN.TABLE.")
@click.option("--key", metavar="COLUMN", help="The column whose text is the key of the events.")
@click.option("--samples", "most", type=click.IntRange(min=1), default=10_000, show_default=True,
              help="Events to read: the first of a file, the newest of a topic.")  # fmt: skip
@click.option("--database", metavar="KIND", help="Extract a table of `postgres` or `mysql`.")
@click.option("--connection", metavar="VARIABLE",
              help="With --database: the environment variable with the connection.")  # fmt: skip
@click.option("--cursor", metavar="COLUMN",
              help="With --database: the column that grows with each change.")  # fmt: skip
@click.option("--lag", type=float, metavar="NUMBER",
              help="With --cursor: how late a row may appear.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="Print errors only.")
def topic(
    name: str, origin: str | None, topic: str | None, key: str | None, most: int, quiet: bool,
    **of_database: str | float | None,
) -> None:  # fmt: skip
    """Declare a topic and its raw table from sample events, with a staging model.

    Nothing is overwritten. Whatever is uncertain is printed: read it before the first run.
    """
    repository = Repository.find()
    domain, table = _named(repository, name)
    if any(value is not None for value in of_database.values()):
        _from_database(repository, name, origin, topic or name, key, of_database, quiet)
        return
    source = open_source(repository.root, repository.home)
    samples, topic = _samples(source, origin, topic or name, topic is not None, most)
    if not samples.events:
        raise UsageError(f"{samples.name} holds no event that is a JSON object, so there is no "
                         "sample. Name another one with --from.")  # fmt: skip
    inferred = infer(samples.events, key)
    if key is not None and key not in {each.name for each in inferred.columns}:
        known = ", ".join(each.name for each in inferred.columns)
        raise UsageError(f"The samples have no field `{key}`, which is the key. Fields: {known}.")
    if not inferred.columns:
        raise UsageError(f"The events of {samples.name} have no field that can be a column.")
    personal = personal_in_topics(repository)
    columns = tuple(_column(each, samples, key, personal) for each in inferred.columns)
    new = NewTopic(domain, table, topic, columns, key, changelog=samples.tombstones > 0)
    made = _write(repository, new)
    out = console(quiet)
    out.print(f"read      {counted(len(samples.events), 'event')} of {samples.name}", markup=False)
    for path in made.files:
        did = "changed" if path in made.changed else "wrote"
        out.print(f"{did:<9} {display_path(path)}", markup=False)
    for line in _doubts(new, inferred, samples):
        out.print(f"uncertain {escaped(line)}", markup=False)
    where = _created(repository, source, topic)
    if where == "created":
        out.print(f"created   topic {topic} with 1 partition, in the event log", markup=False)
    declaration = next(iter(made.files))
    for at, step in enumerate(_steps(new, declaration, samples.file, where), start=1):
        out.print(f"{at}. {step}", markup=False)


def _write(repository: Repository, new: NewTopic) -> NewFiles:
    with editing(repository) as current:
        made = new_topic(replace(new, domain=current.domain(new.domain.name)))
        changed = {path: made.files[path] for path in made.changed}
        absent = {path: text for path, text in made.files.items() if path not in changed}
        write_changes(current, new.domain.name, absent, changed)
    return made


def _from_database(
    repository: Repository, name: str, origin: str | None, topic: str, key: str | None,
    of_database: Mapping[str, str | float | None], quiet: bool,
) -> None:  # fmt: skip
    """Declares a topic that a table of a database is extracted to."""
    domain, table = _named(repository, name)
    lag = of_database.get("lag")
    given = {
        "database": of_database.get("database"), "connection": of_database.get("connection"),
        "table": origin, "key": key, "cursor": of_database.get("cursor"),
        "lag": int(lag) if isinstance(lag, float) and lag.is_integer() else lag,
    }  # fmt: skip
    extract = {name: value for name, value in given.items() if value is not None}
    source = source_table(extract)
    read = read_table(repository, source, key)
    made = _write(repository, NewTopic(domain, table, topic, read.columns, key, extract=extract))
    out = console(quiet)
    out.print(f"read      {counted(len(read.columns), 'column')} of {source.name}", markup=False)
    for path in made.files:
        did = "changed" if path in made.changed else "wrote"
        out.print(f"{did:<9} {display_path(path)}", markup=False)
    for line in read.doubts:
        out.print(f"uncertain {escaped(line)}", markup=False)
    steps = (
        f"Say in {display_path(next(iter(made.files)))} what each column holds, and remove the "
        f"columns that the mesh should not read. Now it says: {AS_STORED}",
        f"`mesh check`, then `mesh extract {domain.name}_raw.{table}`.",
    )
    for at, step in enumerate(steps, start=1):
        out.print(f"{at}. {step}", markup=False)


def _created(repository: Repository, source: Source, topic: str) -> str | None:
    """`created` or `absent` for a topic that did not exist; None for one that did.

    An empty topic of the event log costs nothing. In a cluster, its owner chooses the partitions.
    """
    if topic in source.topics():
        return None
    if uses_kafka(repository.root):
        return "absent"
    event_log(repository.home).create_topic(topic)
    return "created"


def _named(repository: Repository, name: str) -> tuple[Domain, str]:
    domain, dot, table = name.partition(".")
    if not dot or not table:
        raise UsageError(f"`{name}` is not a raw table. Write DOMAIN.TABLE, such as shop.visits.")
    domain = domain.removesuffix("_raw")
    if domain not in repository.domain_names:
        known = ", ".join(repository.domain_names)
        raise UsageError(
            f"There is no domain `{domain}`. Domains: {known}. "
            f"`mesh new domain {domain}` writes it."
        )
    found = repository.domain(domain)
    refuse_name(found, table)
    return found, table


def _samples(
    source: Source, origin: str | None, topic: str, is_named: bool, most: int
) -> tuple[Samples, str]:
    """The samples, and the topic that is declared."""
    path = Path(origin) if origin else None
    if path is not None and (path.exists() or path.suffix.lower() in _ENDINGS):
        with open_events(path, None) as content:
            found = Samples(str(path), path)
            events = (Sample(each.value, each.fields) for each in content.events())
            found.events = list(_bounded(islice(events, most)))
        return found, topic
    named = origin or topic
    if named in source.topics():
        return _of_topic(source, named, most), topic if is_named else named
    if origin:
        raise UsageError(
            f"`{origin}` is neither a file nor a topic. `mesh topic list` lists the topics."
        )
    raise UsageError(
        f"There is no topic `{topic}` to take samples from. Name a file with --from, or create the "
        f"topic and send events: `mesh topic create {topic}`, `mesh topic produce {topic} FILE`."
    )


_ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


def _of_topic(source: Source, topic: str, most: int) -> Samples:
    held = source.describe(topic).partitions
    share = max(1, most // max(1, sum(each.end > each.begin for each in held.values())))
    ranges = {
        number: (max(each.begin, each.end - share), each.end)
        for number, each in held.items()
        if each.end > each.begin
    }
    found = Samples(f"topic {topic}")
    found.events = list(_bounded(_decoded(source, topic, ranges, found)))
    return found


def _decoded(
    source: Source, topic: str, ranges: dict[int, tuple[int, int]], found: Samples
) -> Iterator[Sample]:
    if not ranges:
        return
    for batch in source.read(topic, ranges, _BATCH_BYTES):
        for value in batch.events["value"].to_pylist():
            if value is None:
                found.tombstones += 1
                continue
            try:
                yield Sample(value, parsed(value, ""))
            except BadEvent:
                found.unreadable += 1


def _bounded(events: Iterator[Sample]) -> Iterator[Sample]:
    size = 0
    for each in events:
        yield each
        size += len(each.value)
        if size >= _BYTES:
            return


def _column(
    inferred: Inferred, samples: Samples, key: str | None, personal: re.Pattern[str]
) -> Column:
    values = (each.fields.get(inferred.name) for each in samples.events[:_LOOKED_AT])
    texts = [each for each in values if type(each) is str and inferred.data_type == "string"]
    described: dict[str, Any] = {"type": inferred.data_type}
    name = inferred.name
    is_personal = bool(personal.search(name)) or looks_personal(name, described, texts)
    return Column(
        name=inferred.name,
        data_type=inferred.data_type,
        description=KEY_AS_SENT if inferred.name == key else AS_SENT,
        required=inferred.required,
        classification="personal" if is_personal else None,
    )


def _doubts(new: NewTopic, inferred: Inference, samples: Samples) -> Iterator[str]:
    count = len(samples.events)
    for column, each in zip(new.columns, inferred.columns, strict=True):
        for doubt in each.doubts:
            yield f"{each.name}: {each.data_type}; {doubt}"
        if column.classification:
            yield f"{each.name}: looks personal, so it is classified as such"
    for name, reason in inferred.left_out.items():
        yield f"{name}: not a column, because {reason}; its values land in `_rescued`"
    seen = "the only event" if count == 1 else f"all {count:,} events"
    if required := [each.name for each in new.columns if each.required]:
        yield f"required: {', '.join(required)}, in {seen}; events without one are rejected"
    else:
        yield f"required: no column, because none is in {seen}"
    if samples.unreadable:
        yield f"{samples.unreadable:,} events are not JSON objects; landing rejects them"
    if samples.tombstones:
        yield (
            f"changelog: true, because {samples.tombstones:,} events have no value; an event "
            "replaces the earlier one of its key"
        )


def _steps(new: NewTopic, declaration: Path, file: Path | None, where: str | None) -> Iterator[str]:
    key = f" --key {shlex.quote(new.key)}" if new.key else ""
    if where == "absent":
        yield f"`mesh topic create {new.topic} --partitions N`: the cluster does not have it."
    if where is not None and file is not None:
        sent = f"mesh topic produce {new.topic} {shlex.quote(str(file))}{key}"
        yield f"`{sent}`, if you want the samples."
    yield f"Say in {display_path(declaration)} what each column holds. Now it says: {AS_SENT}"
    yield f"`mesh check`, then `mesh run {new.domain.name}`: it lands {new.relation}."
