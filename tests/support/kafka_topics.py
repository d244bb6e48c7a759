"""Topics on the tests' broker: creating, filling and deleting them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable

from meshhouse.events.kafka.broker import Broker
from meshhouse.events.kafka.confluent import configuration
from meshhouse.events.kafka.python import arguments
from meshhouse.events.kafka.settings import KafkaSettings

_numbers = itertools.count()


def settings_of(broker: Broker) -> KafkaSettings:
    return KafkaSettings({"bootstrap.servers": broker.status().bootstrap_servers})


class Cluster:
    """Everything that tests do with a broker, except reading."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.settings = settings_of(broker)

    def admin(self):
        from kafka import KafkaAdminClient

        return KafkaAdminClient(**arguments(self.settings))

    def create(self, partitions: int = 1, name: str = "", **configs: str) -> str:
        from kafka.admin import NewTopic

        name = name or f"topic.{os.getpid()}.{next(_numbers)}"
        admin = self.admin()
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
        admin.wait_for_topics([name])
        admin.close()
        return name

    def delete(self, name: str) -> None:
        admin = self.admin()
        admin.delete_topics([name])
        while name in admin.list_topics():
            pass
        admin.close()

    def producer(self, **options):
        from confluent_kafka import Producer

        return Producer({**configuration(self.settings), "linger.ms": 5, **options})

    def send(
        self, topic: str, values: Iterable[bytes | None], partition: int = 0, key=None, **options
    ) -> None:
        producer = self.producer(**options)
        for value in values:
            while True:
                try:
                    producer.produce(topic, value, key, partition)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(60) == 0

    def transact(self, topic: str, kept: bytes, given_up: bytes, open_: bytes):
        """One transaction that is committed, one that is aborted, and one that stays open.

        Returns the producer, with which the caller ends the open transaction.
        """
        producer = self.producer(**{"transactional.id": topic})
        producer.init_transactions()
        for value, end in (
            (kept, producer.commit_transaction),
            (given_up, producer.abort_transaction),
        ):
            producer.begin_transaction()
            producer.produce(topic, value, partition=0)
            producer.flush()
            end()
        producer.begin_transaction()
        producer.produce(topic, open_, partition=0)
        producer.flush()
        return producer
