"""Catalogs of builds can be read from other hosts, as a Spark Thrift server does."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from meshhouse.engines.builds import audit_lake, plain_lake, work_lake
from meshhouse.lake import Lake

PLACES = [work_lake, plain_lake, audit_lake]


def journal(lake: Lake) -> str:
    with closing(sqlite3.connect(lake.catalog_path)) as connection:
        return connection.execute("pragma journal_mode").fetchone()[0]


@pytest.mark.parametrize("place", PLACES)
def test_a_new_one_has_no_write_ahead_log(place: Callable[..., Lake], tmp_path: Path):
    builds = place(tmp_path, "shop")
    builds.register_external({}, own="shop_build")
    assert journal(builds) == "delete"


def test_an_old_one_loses_it_as_soon_as_no_process_has_it_open(tmp_path):
    builds = work_lake(tmp_path, "shop")
    builds.register_external({}, own="shop_build")
    with closing(sqlite3.connect(builds.catalog_path)) as other:
        other.execute("pragma journal_mode = wal")
        other.execute("select * from iceberg_tables").fetchall()
        builds.register_external({}, own="shop_build")
        assert journal(builds) == "wal"
    builds.register_external({}, own="shop_build")
    assert journal(builds) == "delete"


def test_the_catalog_of_the_mesh_has_none_either_as_readers_cannot_write_it(tmp_path):
    lake = Lake(tmp_path)
    lake.forget("ana")
    assert journal(lake) == "delete"
    with closing(sqlite3.connect(lake.catalog_path)) as other:
        other.execute("pragma journal_mode = wal")
    lake.forget("ana")
    assert journal(lake) == "delete"
