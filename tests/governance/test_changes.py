"""Every row of the table of changes has the verdict that the table says.

Belongs here: running the files in changes/, of which each is a test and a row of
docs/explanation/changes.md. Not here: the rules' other behaviour (the other tests of this room).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshhouse.governance.change import Verdict
from meshhouse.governance.judgement import judge
from tests.support.changes import CHANGES, Case, cases_of

CASES = [case for path in sorted(CHANGES.glob("*.yml")) for case in cases_of(path)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: a folder for each case would take longer than the judgement."""
    return tmp_path_factory.mktemp("changes")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_change_is_judged_as_the_table_says(case: Case, folder: Path) -> None:
    changes = judge(case.comparison(folder))
    expected = case.expected
    found = [each for each in changes if each.row == case.row]
    worst = max(changes, key=lambda each: each.verdict, default=None)
    if case.row != case.kind:
        assert not [each for each in changes if each.row == case.kind]
    if expected.verdict == "none":
        assert not changes
        return
    if expected.verdict == "no alarm":
        assert not [each for each in changes if each.verdict > Verdict.MINOR]
        return
    assert found, f"{case} is not found; found are {[str(each.key) for each in changes]}"
    top = max(found, key=lambda each: each.verdict)
    assert str(top.verdict) == expected.verdict, top
    assert sorted(str(hit) for hit in top.hits) == sorted(expected.hits), top
    assert str(top.bump) == expected.bump
    assert worst is not None
    assert worst.verdict <= top.verdict or expected.also, f"{worst.key}: {worst.what}"
