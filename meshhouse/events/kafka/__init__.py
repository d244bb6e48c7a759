"""Kafka: a source and a target of events, and a local broker for development."""
