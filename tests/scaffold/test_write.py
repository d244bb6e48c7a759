"""New files are written all or not at all."""

from __future__ import annotations

import pytest

from meshhouse.errors import MeshError
from meshhouse.scaffold.write import write_new


def test_a_failure_leaves_nothing_that_was_not_there_before(tmp_path):
    (tmp_path / "mine").mkdir()
    files = {
        tmp_path / "mine" / "a.sql": "a",
        tmp_path / "new" / "deeper" / "b.sql": "b",
        tmp_path / "new" / ("c" * 300): "c",
    }
    with pytest.raises(MeshError, match=r"cannot be written: File name too long\. Nothing was"):
        write_new(files)
    assert [*tmp_path.rglob("*")] == [tmp_path / "mine"]


def test_what_was_written_can_be_taken_back(tmp_path):
    undo = write_new({tmp_path / "new" / "a.sql": "ä\r\n"})
    assert (tmp_path / "new" / "a.sql").read_bytes() == "ä\r\n".encode()
    (tmp_path / "new" / "of an editor").touch()
    undo()
    assert [*tmp_path.rglob("*.sql")] == []
    assert (tmp_path / "new" / "of an editor").exists()
