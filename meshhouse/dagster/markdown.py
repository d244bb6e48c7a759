"""Text of others in a description that Dagster renders as Markdown.

Belongs here: keeping such text from being rendered. Not here: what the text says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def fenced(lines: Iterable[str]) -> str:
    """Lines as a block of Markdown code, in which nothing is Markdown or HTML.

    A longer fence than any run of backticks in the lines keeps them inside.
    """
    text = "\n".join(lines)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
