"""Target `snowflake`: everything that knows Snowflake.

Belongs here: sessions, raw tables, the ledger and publication in a Snowflake database. Not here:
what makes an event a row (landing/), or when something is published (runs/).
"""
