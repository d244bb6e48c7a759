"""Which Kafka client library is used.

Belongs here: the choice among those that are installed. Not here: how a library is used.

The libraries are imported inside functions because importing both takes 0.2 s, which only
commands that speak to Kafka should pay.
"""

from __future__ import annotations

from meshhouse.events.kafka.library import Admin, MakeClient, Sender
from meshhouse.events.kafka.settings import KafkaSettings


def fastest() -> MakeClient:
    """A reader of the fastest library that is installed; all of them read the same."""
    if _has_confluent():
        from meshhouse.events.kafka.confluent import ConfluentClient

        return ConfluentClient
    from meshhouse.events.kafka.python import PythonClient

    return PythonClient


def sender(settings: KafkaSettings) -> Sender:
    """A sender of the fastest library that is installed."""
    if _has_confluent():
        from meshhouse.events.kafka.confluent import ConfluentSender

        return ConfluentSender(settings)
    from meshhouse.events.kafka.python import PythonSender

    return PythonSender(settings)


def admin(settings: KafkaSettings) -> Admin:
    """The administrator of a cluster: kafka-python's, which is always installed.

    Questions to a cluster are few, so speed is no reason for a second one.
    """
    from meshhouse.events.kafka.python import PythonAdmin

    return PythonAdmin(settings)


def _has_confluent() -> bool:
    try:
        import confluent_kafka  # noqa: F401
    except ImportError:
        return False
    return True
