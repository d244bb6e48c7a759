"""What engines say when they fail, in plain words.

Belongs here: messages that only name something inside a client library. Does not: errors
in SQL, which the engine explains best itself.
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
"""What pyspark says of a process that has ended, each at another moment."""


_PLAN = re.compile(r"(; line \d+ pos \d+);.*")
"""Behind where an error in SQL is, Spark prints how it understood the whole query."""

_NO_SERVER = "Could not connect to any of"
"""What Thrift's client says of a server that does not answer."""


def plain(message: str) -> str:
    """What a message of the target's client means for people; most mean what they say."""
    if os.environ.get("MESH_TARGET") != "spark":
        return message
    if _NO_SERVER in message:
        return (
            "no Thrift server answers; look at MESH_SPARK_HOST and MESH_SPARK_PORT, and whether "
            "it runs"
        )
    if any(said in message for said in _SPARK_IS_GONE):
        return (
            "Spark ended while it was at work, for lack of memory perhaps; what it said is in "
            "`.mesh/logs/spark.log`. The next run starts it again"
        )
    return _PLAN.sub(r"\1", message)
