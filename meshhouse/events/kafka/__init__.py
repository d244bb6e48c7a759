"""Kafka: a topic source, and a broker for everyone who has none."""
