"""Topics and where their events come from."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from meshhouse.events.log.log import EventLog
from meshhouse.events.source import Source

if TYPE_CHECKING:
    from meshhouse.events.kafka.source import KafkaSource


def event_log(home: Path) -> EventLog:
    """The embedded event log of a mesh."""
    return EventLog(home / "events")


def open_source(root: Path, home: Path) -> Source:
    """Where the topics of a mesh are: Kafka where settings name it, else the event log.

    Raises:
        UsageError: the settings of Kafka are no such thing.
    """
    from meshhouse.events.kafka.settings import kafka_settings

    settings = kafka_settings(root)
    if settings is None:
        return event_log(home)
    return _kafka(tuple(sorted(settings.properties.items())), os.getpid())


def uses_kafka(root: Path) -> bool:
    """Whether the topics of a mesh are in Kafka."""
    from meshhouse.events.kafka.settings import kafka_settings

    return kafka_settings(root) is not None


@cache
def _kafka(properties: tuple[tuple[str, str], ...], process: int) -> KafkaSource:
    """One for each cluster and process: connecting takes longer than most questions."""
    from meshhouse.events.kafka.settings import KafkaSettings
    from meshhouse.events.kafka.source import KafkaSource

    return KafkaSource(KafkaSettings(dict(properties)))


__all__ = ["EventLog", "Source", "event_log", "open_source", "uses_kafka"]
