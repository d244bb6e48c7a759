"""DuckDB connections that read the lake."""

from __future__ import annotations

from meshhouse.lake.views import UNSIGNED, connect_memory


def test_no_query_can_load_an_unsigned_extension():
    """Loading the wheels' extensions switches the check of signatures off, for that time only."""
    with connect_memory() as connection:
        [(allowed,)] = connection.execute(f"select current_setting('{UNSIGNED}')").fetchall()
        assert allowed is False
        loaded = connection.execute(
            "select extension_name from duckdb_extensions() where loaded order by all"
        ).fetchall()
    assert {("avro",), ("iceberg",)} <= set(loaded)
