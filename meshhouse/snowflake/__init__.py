"""What the platform keeps in Snowflake: raw tables, generations of products, the ledger."""

from meshhouse.snowflake.session import Session, connect
from meshhouse.snowflake.store import SnowflakeStore

__all__ = ["Session", "SnowflakeStore", "connect"]
