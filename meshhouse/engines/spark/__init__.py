"""Target `spark`: all code that is specific to Spark.

Belongs here: sessions, jars, dbt's settings, builds, and landing with Spark. Not here: code shared
with other engines on Iceberg (engines/iceberg.py), or decoding events (landing/decode.py).
"""
