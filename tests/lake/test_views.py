"""DuckDB connections that read the lake."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from meshhouse.lake import Lake
from meshhouse.lake.views import UNSIGNED, Size, connect_memory, create_views

SMALL = Size(rows=100, bytes=10_000)


@pytest.fixture
def states(tmp_path) -> dict[str, str]:
    """Relation -> metadata location, of tables with 3 and 101 rows, and one without snapshots."""
    lake = Lake(tmp_path / "mesh")
    for name, count in {"empty": 0, "few": 3, "many": 101}.items():
        table = lake.stage(f"shop.{name}", Schema(NestedField(1, "id", LongType())))
        with table.transaction() as transaction:
            transaction.set_properties({"some": "thing"})
            if count:
                rows = [{"id": number} for number in range(count)]
                transaction.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
        lake.commit([lake.staged(table, None)])
    return lake.states()


def test_small_relations_are_read_once_and_others_by_each_query(states, tmp_path):
    with connect_memory() as connection:
        create_views(connection, states, copied=SMALL)
        for file in (tmp_path / "mesh").rglob("*.parquet"):
            file.unlink()
        assert connection.execute("select sum(id) from shop.few").fetchall() == [(3,)]
        assert connection.execute("select * from shop.empty").fetchall() == []
        with pytest.raises(duckdb.Error):
            connection.execute("select sum(id) from shop.many").fetchall()


def test_a_small_relation_whose_rows_are_gone_fails_only_where_it_is_read(states, tmp_path):
    for file in (tmp_path / "mesh" / "lake" / "shop" / "few").rglob("*.parquet"):
        file.unlink()
    with connect_memory() as connection:
        create_views(connection, states, copied=SMALL)
        assert connection.execute("select count(*) from shop.many").fetchall() == [(101,)]
        with pytest.raises(duckdb.Error):
            connection.execute("select sum(id) from shop.few").fetchall()


def test_no_query_can_load_an_unsigned_extension():
    """Loading the wheels' extensions switches the check of signatures off, for that time only."""
    with connect_memory() as connection:
        [(allowed,)] = connection.execute(f"select current_setting('{UNSIGNED}')").fetchall()
        assert allowed is False
        loaded = connection.execute(
            "select extension_name from duckdb_extensions() where loaded order by all"
        ).fetchall()
    assert {("avro",), ("iceberg",)} <= set(loaded)
