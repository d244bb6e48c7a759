"""What becomes of a catalog file that cannot be used."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from meshhouse.errors import MeshError
from meshhouse.lake import Lake


def test_a_catalog_that_another_program_keeps_locked_is_named_and_readers_go_on(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("meshhouse.lake.catalog._BUSY_SECONDS", 0)
    lake = Lake(tmp_path)
    lake.commit([])
    with closing(sqlite3.connect(lake.catalog_path, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert lake.pointers() == {}
        with pytest.raises(MeshError) as refused:
            lake.commit([])
    assert str(refused.value) == (
        f"The catalog {lake.catalog_path} has been locked by another program for 0 s. "
        "Let that finish or end it; then run the same command again."
    )
    lake.commit([])
