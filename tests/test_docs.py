"""Pages lead where they say, and name commands that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from meshhouse.cli.main import _COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "models" / "README.md",
    *sorted((ROOT / "domains").glob("*/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^    |`)(?:[A-Z_]+=\S+ )*mesh ([a-z]+)", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page):
    broken = []
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_pages_exist(page):
    assert set(COMMAND.findall(page.read_text())) <= set(_COMMANDS)


def test_every_decision_is_in_the_index():
    folder = ROOT / "docs" / "explanation" / "decisions"
    index = (folder / "README.md").read_text()
    numbered = sorted(folder.glob("[0-9]*.md"))
    assert [each.name[:4] for each in numbered] == [
        f"{number:04d}" for number in range(1, len(numbered) + 1)
    ]
    for each in numbered:
        title, _, head, *_ = each.read_text().splitlines()
        assert f"[{each.name[:4]}]({each.name}) | {title.removeprefix('# ')} |" in index
        assert re.match(
            r"Date: \d{4}-\d\d-\d\d\. Status: (accepted|proposed|replaced by \[\d{4}\])", head
        )


CONTRIBUTING = ROOT / "docs" / "contributing.md"


def test_the_picture_of_imports_is_the_contract_that_lint_checks():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [layers] = [each["layers"] for each in settings["contracts"] if each["type"] == "layers"]
    contract = [{name.removeprefix("meshhouse.") for name in each.split(" | ")} for each in layers]
    section = CONTRIBUTING.read_text().partition("## Import direction")[2].partition("\n## ")[0]
    picture = re.findall(r"^    (.+)$", section, re.MULTILINE)
    assert [set(each.split(" | ")) for each in picture] == contract


def test_files_that_contributors_are_sent_to_exist():
    places = (ROOT, ROOT / "meshhouse")
    named = re.findall(r"`((?:\w+/)+[\w.]*)`", CONTRIBUTING.read_text())
    missing = [each for each in named if not any((place / each).exists() for place in places)]
    assert named
    assert not missing
