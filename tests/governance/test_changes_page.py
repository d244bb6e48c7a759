"""The page of changes is what the corpus says, and the corpus is whole."""

from __future__ import annotations

from tests.support import changes_page

ROWS = {"S": 14, "T": 27, "N": 7, "K": 13, "V": 16, "P": 15, "C": 11, "A": 10, "Y": 12, "O": 4,
        "M": 11, "R": 11, "D": 11, "I": 16, "G": 11}  # fmt: skip


def test_the_page_is_what_the_corpus_says():
    assert changes_page.PAGE.read_text() == changes_page.page(), (
        "docs/explanation/changes.md is old. Write it: python -m tests.support.changes_page"
    )


def test_every_kind_of_change_has_a_file():
    wanted = {
        f"{letter}{number}" for letter, count in ROWS.items() for number in range(1, count + 1)
    }
    wanted |= {f"benign-{number:02d}" for number in range(1, 26)}
    assert {*changes_page.kinds()} == wanted


def test_each_file_says_its_id():
    assert [name for name, kind in changes_page.kinds().items() if kind["id"] != name] == []


def test_changes_that_depend_on_readers_have_a_case_with_and_one_without():
    lacking = []
    for name, kind in changes_page.kinds().items():
        if "L" not in str(kind.get("verdict", "")).replace(",", " ").split():
            continue
        hits = [
            bool(case.get("row", name) == name and each.get("hits"))
            for case in kind["cases"]
            if isinstance(each := case["expect"], dict)
        ]
        if {*hits} != {True, False}:
            lacking.append(name)
    assert lacking == []
