"""The catalog of a real mesh, with the blocks that readers copy from its pages.

Belongs here: reading pages. Not here: making them (catalog/conftest.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from tests.conftest import Mesh


@dataclass(frozen=True)
class Site:
    """A mesh that is published, and the site of its catalog."""

    mesh: Mesh
    folder: Path

    def block(self, product: str, kind: str) -> str:
        """The text of a block to copy, as the page has it."""
        return _blocks(self.folder / f"products/{product.replace('.', '/')}.html")[kind]

    def blocks(self) -> dict[tuple[str, str], str]:
        """Page and kind -> text, of every block of the whole site."""
        return {
            (page.relative_to(self.folder).as_posix(), kind): text
            for page in sorted(self.folder.rglob("*.html"))
            for kind, text in _blocks(page).items()
        }


def _blocks(page: Path) -> dict[str, str]:
    found = _Blocks()
    found.feed(page.read_text())
    return found.blocks


class _Blocks(HTMLParser):
    """Texts of `<code data-snippet="kind">`."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: dict[str, str] = {}
        self._kind: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kind = dict(attrs).get("data-snippet")
        if tag == "code" and kind:
            self._kind = kind
            self.blocks[kind] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "code":
            self._kind = None

    def handle_data(self, data: str) -> None:
        if self._kind:
            self.blocks[self._kind] += data
