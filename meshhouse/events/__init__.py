"""Topics: the embedded event log, Kafka, and the shipping of log files.

Belongs here: storing, reading and writing events, and which source a mesh uses. Not here: turning
events into rows (landing/).
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from meshhouse.events.log.log import EventLog
from meshhouse.events.source import Source

if TYPE_CHECKING:
    from meshhouse.events.kafka.source import KafkaSource
    from meshhouse.events.kafka.writer import KafkaWriter


def event_log(home: Path) -> EventLog:
    """The embedded event log of a mesh."""
    return EventLog(home / "events")


def open_source(root: Path, home: Path) -> Source:
    """The source of a mesh's topics: Kafka if settings name a cluster, else the event log.

    Raises:
        UsageError: the settings of Kafka cannot be used.
    """
    from meshhouse.events.kafka.settings import kafka_settings

    settings = kafka_settings(root)
    if settings is None:
        return event_log(home)
    return _kafka(tuple(sorted(settings.properties.items())), os.getpid())


def open_writer(root: Path, home: Path) -> EventLog | KafkaWriter:
    """Creates topics and writes events in the place that `open_source` reads.

    Raises:
        UsageError: the settings of Kafka cannot be used.
    """
    from meshhouse.events.kafka.settings import kafka_settings

    settings = kafka_settings(root)
    if settings is None:
        return event_log(home)
    from meshhouse.events.kafka.writer import KafkaWriter

    return KafkaWriter(settings)


def uses_kafka(root: Path) -> bool:
    """Whether the topics of a mesh are in Kafka."""
    from meshhouse.events.kafka.settings import kafka_settings

    return kafka_settings(root) is not None


@cache
def _kafka(properties: tuple[tuple[str, str], ...], process: int) -> KafkaSource:
    """One source per cluster and process, because connecting takes longer than most requests."""
    from meshhouse.events.kafka.settings import KafkaSettings
    from meshhouse.events.kafka.source import KafkaSource

    return KafkaSource(KafkaSettings(dict(properties)))


__all__ = ["EventLog", "Source", "event_log", "open_source", "open_writer", "uses_kafka"]
