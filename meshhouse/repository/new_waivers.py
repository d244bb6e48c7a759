"""Adds entries to `waivers.yml` of a domain, and keeps its comments.

Belongs here: where a new entry is written, and the proof that nothing else changed. Not here: the
shape of the file (waivers.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from meshhouse import files
from meshhouse.repository.waivers import NAME, waivers_of
from meshhouse.repository.yaml import DeclarationError, Located, parse_yaml, read_text

_HEAD = "# Exceptions that the owner of this domain answers for: docs/policies.md.\n"


def add_waiver(folder: Path, entry: Mapping[str, Any]) -> int:
    """Adds a waiver to the file of the domain in a folder; returns its line. See `_add`."""
    return _add(folder / NAME, "waivers", entry)


def add_confirmation(folder: Path, entry: Mapping[str, Any]) -> int:
    """Adds a confirmation to the file of a domain; returns its line. See `_add`."""
    return _add(folder / NAME, "confirmations", entry)


def _add(path: Path, section: str, entry: Mapping[str, Any]) -> int:
    """Adds an entry to a section, and keeps everything else as it is written.

    Raises:
        DeclarationError: the file or the entry cannot be used, or the section is not written as a
            list with one entry a line.
    """
    before = read_text(path) if path.exists() else _HEAD
    content = parse_yaml(path, before)
    _refuse(path, content)
    text, line = _extended(before, content, section, entry)
    expected = {**content, section: [*(content.get(section) or []), dict(entry)]}
    try:
        made = parse_yaml(path, text)
    except DeclarationError:
        made = Located()
    if made != expected:
        problem = (
            f"`{section}` has an unusual form, so nothing was written. Put each of its entries "
            "on a line that begins with `- `, and try again."
        )
        raise DeclarationError(path, content.line_of(section), problem)
    _refuse(path, made)
    files.replace(path, text)
    return line


def _refuse(path: Path, content: Located) -> None:
    for problem in waivers_of(path, content).problems:
        raise problem


def _extended(
    text: str, content: Located, section: str, entry: Mapping[str, Any]
) -> tuple[str, int]:
    """The text with a new entry at the end of a section, and the line of the entry."""
    lines = text.splitlines()
    if content.get(section) is None or content[section] == []:
        if section in content:  # an empty section, with its comment, becomes a filled one
            at = content.line_of(section)
            lines[at - 1] = lines[at - 1].replace("[]", "", 1).rstrip()
            indent = "  "
        else:
            lines += [f"{section}:"]
            at, indent = len(lines), "  "
    else:
        first, last = content[section][0], content[section][-1]
        written = lines[first.line - 1]
        indent = written[: len(written) - len(written.lstrip(" "))]
        at = max(_last_line(each) for each in (first, last))
        at = _end(lines, at, len(indent))
    lines[at:at] = _lines(entry, indent)
    return "\n".join(lines) + "\n", at + 1


def _last_line(entry: Located) -> int:
    return max(entry.lines.values(), default=entry.line)


def _end(lines: Sequence[str], at: int, indent: int) -> int:
    """The last line of an entry: later lines that are indented deeper belong to it."""
    end = at
    for number in range(at, len(lines)):
        line = lines[number]
        if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
            break
        if line.strip():
            end = number + 1
    return end


def _lines(entry: Mapping[str, Any], indent: str) -> list[str]:
    found = [f"{indent}  {key}: {_written(value)}" for key, value in entry.items()]
    found[0] = f"{indent}- {found[0].lstrip(' ')}"
    return found


def _written(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump([value], default_flow_style=True, width=10**9, allow_unicode=True)
    return text.strip()[1:-1]
