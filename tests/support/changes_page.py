"""Writes docs/explanation/changes.md from the corpus of changes.

Run it as `python -m tests.support.changes_page`.

Belongs here: the page's text. Not here: reading a case (changes.py), or the rules themselves
(meshhouse/governance/rules/).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.changes import CHANGES

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "changes.md"
BENIGN = "benign"
_CHAPTERS = (
    ("Columns", "S"),
    ("Types", "T"),
    ("Nulls", "N"),
    ("Keys and grain", "K"),
    ("Accepted values and checks", "V"),
    ("Promises", "P"),
    ("Classification and privacy", "C"),
    ("Access, versions, ownership", "AYO"),
    ("Meaning and units", "M"),
    ("Relation and storage", "R"),
    ("Rows", "D"),
    ("Topics that feed a product", "I"),
    ("Agreements", "G"),
)
_VERDICTS = {
    "H": "harmless", "m": "minor", "B": "breaking", "F": "forbidden", "L": "(if read)",
    "Q": "(silent)",
}  # fmt: skip
_WHERE = {
    "PC": "contract", "STAT": "statistics", "AST": "SQL", "LIN": "lineage", "SNAP": "table",
    "AGR": "agreements", "RUN": "ledger", "TOP": "topic",
}  # fmt: skip
_HEAD = """\
# Changes

Every kind of change of a product that the mesh knows, with its verdict. A run compares each
candidate with what is published, and refuses to publish a change that is breaking or forbidden.

Do not edit this page: `python -m tests.support.changes_page` writes it from the files in
`tests/governance/changes/`. Each file is also a test of its kind of change, with near misses.

| verdict | meaning |
|---|---|
| harmless | Nobody needs to know. |
| minor | Allowed within the version, and listed. |
| breaking | Needs a new version beside the old one, or a waiver to which hit readers agree. |
| forbidden | Needs a waiver with owner, reason and end date. A new version does not cure it. |
| (if read) | Minor if no reader is hit. Unknown lineage counts as read. |
| (silent) | The schema is equal; meaning or rows change. A recorded confirmation is enough. |
"""


def page() -> str:
    """The text of the page."""
    return "\n".join(_lines())


def kinds() -> dict[str, Mapping[str, Any]]:
    """Id -> content of each file, in the order of their numbers."""
    files = sorted(CHANGES.glob("*.yml"), key=lambda each: _order(each.stem))
    return {path.stem: yaml.safe_load(path.read_text()) for path in files}


def _lines() -> Iterator[str]:
    yield _HEAD
    found = kinds()
    for title, letters in _CHAPTERS:
        yield f"## {title}"
        yield ""
        yield "| id | change | who is hurt | verdict | how it is found |"
        yield "|---|---|---|---|---|"
        for letter in letters:
            for name, kind in found.items():
                if name[0] == letter and name[1:].isdigit():
                    yield _row(
                        name, kind["title"], kind["hurt"],
                        _spelled(kind["verdict"], _VERDICTS), _spelled(kind["detect"], _WHERE),
                    )  # fmt: skip
        yield ""
    yield "## Edits that raise no alarm"
    yield ""
    for name, kind in found.items():
        if name.startswith(BENIGN):
            yield f"{int(name.rpartition('-')[2])}. {_upper(kind['title'])}."
    yield ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(each.replace('|', chr(92) + '|') for each in cells)} |"


def _spelled(text: str, words: Mapping[str, str]) -> str:
    """The text with its abbreviations in full."""
    return re.sub(r"\b\w+\b", lambda match: words.get(match[0], match[0]), text)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _order(name: str) -> tuple[str, int]:
    letters, number = re.fullmatch(r"(\D+?)-?(\d+)", name).groups()  # type: ignore[union-attr]
    return letters, int(number)


if __name__ == "__main__":
    PAGE.write_text(page())
