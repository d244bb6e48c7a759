"""Text of others where Markdown is rendered: in Dagster and in comments on code hosts.

Belongs here: keeping such text from being rendered, and tables. Not here: what the text says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SIGNS = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&:@$])")
"""What can mean something in Markdown, mail addresses and links included."""


def fenced(lines: Iterable[str]) -> str:
    """Lines as a block of Markdown code, in which nothing is Markdown or HTML.

    A longer fence than any run of backticks in the lines keeps them inside.
    """
    text = "\n".join(lines)
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}\n{text}\n{fence}"


def plain(text: str) -> str:
    """Text in a line of Markdown, which shows it as it is."""
    return _SIGNS.sub(r"\\\1", _one_line(text))


def code(text: str) -> str:
    """Text as code in a line of Markdown, also inside a table."""
    text = _one_line(text).replace("|", "\\|")
    fence = "`" * (_longest_run(text) + 1)
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def sentence(text: str) -> str:
    """Text that Dagster shows as Markdown in one place and as it is in another.

    Neither a link nor an image can come of it, and it has backslashes only where it has brackets.
    """
    return _one_line(text).replace("[", "\\[")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; every cell must be Markdown already, see `plain` and `code`."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _longest_run(text: str) -> int:
    """Length of the longest run of backticks."""
    return max(map(len, re.findall("`+", text)), default=0)


def _one_line(text: str) -> str:
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())
