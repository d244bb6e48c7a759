"""New files are written all or not at all."""

from __future__ import annotations

import pytest

from meshhouse.errors import MeshError, UsageError
from meshhouse.repository import Repository
from meshhouse.scaffold.write import editing, write_changes, write_new
from tests.support.tiny import copy_tiny


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


def test_a_change_that_breaks_the_domain_is_taken_back_and_only_that(tmp_path):
    copy_tiny(tmp_path)
    models = tmp_path / "domains" / "shop" / "models"
    topics, broken, theirs = models / "topics.yml", models / "new.yml", models / "theirs.sql"
    before = topics.read_bytes()
    with editing(Repository(tmp_path)) as current:
        with pytest.raises(UsageError, match="Nothing was written"):
            write_changes(current, "shop", {broken: "models: ["}, {topics: "sources: []\n"})
        assert topics.read_bytes() == before
        assert not broken.exists()
        theirs.write_text("select 1 as a\n")
        with pytest.raises(UsageError, match="exists already"):
            write_changes(current, "shop", {theirs: ""}, {topics: ""})
    assert topics.read_bytes() == before
    assert theirs.read_text() == "select 1 as a\n"


def test_the_declarations_are_read_again_after_the_wait_for_another_call(tmp_path):
    copy_tiny(tmp_path)
    topics = tmp_path / "domains" / "shop" / "models" / "topics.yml"
    mine = Repository(tmp_path)
    assert len(mine.domain("shop").raw_tables) == 1
    topics.write_text("")
    with editing(mine) as current:
        assert len(current.reading("shop").raw_tables) == 0
