"""Editing YAML as text, line by line, so that comments and formatting stay.

Belongs here: where a block ends, and inserting lines. Not here: what is inserted (new_version.py,
new_topic.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import yaml


def _leaves(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.ScalarNode) or getattr(node, "flow_style", False) or not node.value:
        yield node
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _leaves(key)
            yield from _leaves(value)
    else:
        for each in node.value:
            yield from _leaves(each)


def last_line(node: yaml.Node) -> int:
    """The last line with content of a block, counted from 0; comments after it do not count."""
    ends = (each.end_mark for each in _leaves(node))
    return max(end.line - 1 if end.column == 0 else end.line for end in ends)


def inserted(lines: list[str], after: int, text: str, end: str) -> str:
    """The lines with a text after one of them, with the line ends of the file."""
    before, behind = lines[: after + 1], lines[after + 1 :]
    if before and not before[-1].endswith("\n"):
        before[-1] += end
    return "".join([*before, text.replace("\n", end), *behind])


def indented(text: str, by: str) -> str:
    """The lines of a text with white space before each that is not empty."""
    return "".join(f"{by}{line}\n" if line else "\n" for line in text.splitlines())


def end_of_block(lines: Sequence[str], last: int, indent: int) -> int:
    """The last line of a block, counted from 0, with the comments that are indented like it.

    Args:
        lines: all lines.
        last: the last line with content.
        indent: the column of the block's parent; deeper lines belong to the block.
    """
    for number in range(last + 1, len(lines)):
        line = lines[number]
        if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
            break
        if line.strip():
            last = number
    return last


def scalar(text: str, in_brackets: bool = False) -> str:
    """A text as a YAML value on one line, quoted if it must be.

    Args:
        text: the value.
        in_brackets: whether it is written in `[...]` or `{...}`, where a comma ends it.
    """
    special = r"[\n#:,\[\]{}]|^\W|\s$" if in_brackets else r"[\n#:]|^\W|\s$"
    if not re.search(special, text):
        try:
            if yaml.safe_load(f"- {text}\n") == [text]:
                return text
        except yaml.YAMLError:
            pass
    # Only double quotes keep a line end on one line, as `\n`.
    style = '"' if len(f"{text}.".splitlines()) > 1 else None
    written = yaml.safe_dump(
        [text], default_flow_style=True, default_style=style, width=10**9, allow_unicode=True
    )
    return written.strip()[1:-1]
