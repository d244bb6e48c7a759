"""Which Kafka client library is used.

Belongs here: the choice among the installed libraries. Not here: using one (python.py,
confluent.py).

The libraries are imported inside functions: importing both takes 0.2 s, which only commands that
use Kafka should spend.
"""

from __future__ import annotations

from meshhouse.events.kafka.library import Admin, MakeClient, Sender
from meshhouse.events.kafka.settings import KafkaSettings


def fastest() -> MakeClient:
    """The reader of the fastest installed library; all readers return the same events."""
    if _has_confluent():
        from meshhouse.events.kafka.confluent import ConfluentClient

        return ConfluentClient
    from meshhouse.events.kafka.python import PythonClient

    return PythonClient


def sender(settings: KafkaSettings) -> Sender:
    """A sender of the fastest installed library."""
    if _has_confluent():
        from meshhouse.events.kafka.confluent import ConfluentSender

        return ConfluentSender(settings)
    from meshhouse.events.kafka.python import PythonSender

    return PythonSender(settings)


def admin(settings: KafkaSettings) -> Admin:
    """The administrator of a cluster: kafka-python's, which is always installed.

    A second one would not be faster in practice: a command sends few such requests.
    """
    from meshhouse.events.kafka.python import PythonAdmin

    return PythonAdmin(settings)


def _has_confluent() -> bool:
    try:
        import confluent_kafka  # noqa: F401
    except ImportError:
        return False
    return True
