"""Error messages of engines, translated into plain words.

Belongs here: messages that name only the insides of a client library. Not here: errors in SQL,
which the engine itself explains best.
"""

from __future__ import annotations

import os
import re

_SPARK_IS_GONE = (
    "Answer from Java side is empty",
    "Cannot call methods on a stopped SparkContext",
    "Connection refused",
    "Error while obtaining a new communication channel",
    "Error while sending or receiving",
    "Reentrant call inside",
    "SparkContext has been shutdown",
    "SparkContext was shut down",
    "does not exist in the JVM",
)
"""Messages of pyspark when Spark's process has ended; which one depends on the call it makes."""


_PLAN = re.compile(r"(; line \d+ pos \d+);.*")
"""Spark appends its plan of the whole query to the position of an error in SQL."""

_NO_SERVER = "Could not connect to any of"
"""Message of the Thrift client when the server does not answer."""


def plain(message: str) -> str:
    """Returns a client's message in plain words; most messages are returned as they are."""
    if os.environ.get("MESH_TARGET") != "spark":
        return message
    if _NO_SERVER in message:
        return (
            "no Thrift server answers; check MESH_SPARK_HOST and MESH_SPARK_PORT, and whether "
            "the server runs"
        )
    if any(said in message for said in _SPARK_IS_GONE):
        return (
            "Spark ended during its work, perhaps for lack of memory; its log is "
            "`.mesh/logs/spark.log`. The next run starts it again"
        )
    return _PLAN.sub(r"\1", message)
