"""Spark, as what we do with it needs it.

Belongs here: the one session of a process, its jars and its Java. Does not: building
domains (engines/spark.py), or landing (landing/spark.py).
"""

from meshhouse.spark.session import catalog_settings, session

__all__ = ["catalog_settings", "session"]
