"""Target `snowflake`: all code that is specific to Snowflake.

Belongs here: sessions, raw tables, the ledger and publication in a Snowflake database. Not here:
decoding events (landing/), or deciding when a product is published (runs/).
"""
