"""A template of SQL and Jinja as tokens.

Belongs here: the grammar of tokens, and looking around in a list of them. Not here: what the
tokens mean (hidden.py, hidden_relations.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

BLOCK = r"\{\{.*?\}\}|\{%.*?%\}"
_PIECES = r"""
    (?P<jinja_comment>\{\#.*?\#\})
  | (?P<jinja>BLOCK)
  | (?P<comment>--[^\n]*|/\*.*?\*/)
  | (?P<text>TEXT)
  | (?P<dollars>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
  | (?P<quoted>"(?>BLOCK|\{(?![{%])|[^"{]|"")*"|`[^`]*`)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<mark>::|\S)
"""
_FLAGS = re.VERBOSE | re.DOTALL
# After a backslash, a quote ends the string on some targets and not on others: try both.
SQL = tuple(
    re.compile(_PIECES.replace("BLOCK", BLOCK).replace("TEXT", text), _FLAGS)
    for text in (
        rf"'(?>{BLOCK}|\{{(?![{{%])|[^'{{]|'')*'",
        rf"'(?>{BLOCK}|\{{(?![{{%])|[^'{{\\]|''|\\.)*'",
    )
)
JINJA = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<word>[A-Za-z_]\w*)|(?P<mark>\S)""",
    re.DOTALL,
)
JINJA_BLOCK = re.compile(BLOCK, re.DOTALL)


@dataclass(frozen=True)
class Token:
    """A word, string, quoted name, block of Jinja or mark, and its offset."""

    kind: str
    text: str
    at: int


Found = Iterator[tuple[int, str, str]]
"""Offset, what, kind."""


def blocks_in(match: re.Match[str]) -> list[re.Match[str]]:
    """Jinja inside a string or a quoted name; dbt renders it there too."""
    if match.lastgroup not in ("text", "quoted", "dollars"):
        return []
    return list(JINJA_BLOCK.finditer(match.group()))


def near(tokens: Sequence[Token], index: int, steps: int) -> str:
    """The text of the token so many steps away; empty beyond the ends."""
    there = index + steps
    return tokens[there].text if 0 <= there < len(tokens) else ""
