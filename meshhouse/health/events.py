"""Checks of the embedded event log, and of the offsets of raw tables against it.

Belongs here: segments, unfinished last frames, and offsets of raw tables. Not here: Kafka,
which has its own tools.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from meshhouse.errors import MeshError
from meshhouse.events import event_log
from meshhouse.events.errors import CorruptSegment
from meshhouse.events.log.segment import SUFFIX, Segment
from meshhouse.health.finding import Finding, Level
from meshhouse.health.ledger import landed_topics
from meshhouse.lake import Lake
from meshhouse.lake.damage import Damaged, read_metadata
from meshhouse.landing.store import SOURCE, offsets_of

_READ_WHOLE = 256 * 1024 * 1024
"""A partition of at most this size is read completely even without `deep`."""


def events(home: Path, lake: Lake | None, deep: bool) -> Iterator[Finding]:
    """Checks each topic of the event log, and each raw table that was landed from one."""
    root = home / "events"
    if not root.exists():
        yield Finding("events", "event log", Level.OK, "does not exist")
        return
    yield from _facts(root / "cluster.json", "cluster_id", "event log")
    for folder in sorted(each for each in root.iterdir() if each.is_dir()):
        if not folder.name.startswith("~"):
            yield from _topic(folder, deep)
    if lake is not None and not lake.is_served:
        yield from _offsets(home, lake)


def _facts(path: Path, key: str, subject: str) -> Iterator[Finding]:
    """A finding if a JSON file of the event log is missing, invalid or lacks its key."""
    try:
        if key in json.loads(path.read_text()):
            return
        what = f"lacks `{key}`"
    except FileNotFoundError:
        what = "is missing"
    except ValueError:
        what = "is not JSON" if path.stat().st_size else "is empty"
    yield Finding(
        "events", subject, Level.DAMAGED, what, "Restore the file from a backup.", str(path)
    )


def _topic(folder: Path, deep: bool) -> Iterator[Finding]:
    damaged = list(_facts(folder / "topic.json", "topic_id", folder.name))
    notes: list[Finding] = []
    count = 0
    for partition in sorted(each for each in folder.iterdir() if each.is_dir()):
        for finding in _partition(folder.name, partition, deep):
            (damaged if finding.level is Level.DAMAGED else notes).append(finding)
        count += 1
    yield from damaged
    yield from notes
    if not damaged:
        yield Finding("events", folder.name, Level.OK, f"{count} partitions can be read")


def _partition(topic: str, folder: Path, deep: bool) -> Iterator[Finding]:
    paths = sorted(each for each in folder.glob(f"*{SUFFIX}") if each.stem.isdecimal())
    segments = [Segment(path) for path in paths]
    whole = deep or sum(path.stat().st_size for path in paths) <= _READ_WHOLE
    subject = f"{topic}/{folder.name}"
    for segment in segments:
        try:
            segment.refresh()
            if whole:
                for _ in segment.events(segment.base_offset, segment.end_offset):
                    pass
            else:
                segment.verify_last_frame()
        except CorruptSegment as error:
            yield Finding("events", subject, Level.DAMAGED, str(error), "", str(segment.path))
    for segment, following in pairwise(segments):
        if segment.torn or segment.end_offset != following.base_offset:
            what = f"ends before offset {following.base_offset}, the start of the next segment"
            yield Finding("events", subject, Level.DAMAGED, what,
                          "Restore the file from a backup.", str(segment.path))  # fmt: skip
    if segments and segments[0].base_offset:
        what = f"offsets 0 to {segments[0].base_offset - 1} are missing: a segment was removed"
        yield Finding("events", subject, Level.DAMAGED, what,
                      "Restore the file from a backup.", str(folder))  # fmt: skip
    if segments and segments[-1].torn:
        what = "ends with a frame that a producer did not finish; readers skip it"
        remedy = "The next event overwrites it."
        yield Finding("events", subject, Level.NOTE, what, remedy, str(paths[-1]))


def _offsets(home: Path, lake: Lake) -> Iterator[Finding]:
    log = event_log(home)
    known = set(log.topics())
    for relation, topic in landed_topics(lake).items():
        location = lake.state(relation)
        if location is None or topic not in known:
            continue  # landed from Kafka, or from a log that was removed
        try:
            properties = read_metadata(location, relation).get("properties", {})
            described = log.describe(topic)
        except Damaged:
            continue  # reported by the check of tables
        except MeshError as error:
            yield Finding("events", topic, Level.DAMAGED, str(error))
            continue
        source = json.loads(properties.get(SOURCE, "{}"))
        if source.get("topic_id") not in (None, described.topic_id):
            what = f"was landed from another topic `{topic}` than the one in the event log"
            remedy = f"Restore the topic, or continue: `mesh land {relation} --accept new-topic`."
            yield Finding("events", relation, Level.NOTE, what, remedy)
            continue
        for number, end in offsets_of(properties).items():
            held = described.partitions.get(number)
            if held is not None and end > held.end:
                what = (
                    f"holds events of `{topic}` up to offset {end} of partition {number}, which "
                    f"ends at {held.end}: the topic lost events"
                )
                yield Finding("events", relation, Level.DAMAGED, what, "Restore the topic.")
