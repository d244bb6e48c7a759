"""Target `spark`: everything that knows Spark.

Belongs here: sessions, jars, dbt's settings, builds, and landing through Spark. Not here: what
other engines do alike (engines/iceberg.py), or what makes an event a row (landing/).
"""
