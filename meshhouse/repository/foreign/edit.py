"""Edits of YAML and SQL texts that leave everything else as it was written.

Belongs here: removing and replacing entries of a YAML list, and settings of `config()` in SQL.
Not here: which of them (settings.py, sources.py, products.py).

A YAML text is edited by lines, so comments stay. The result is read again; where it is not what
was meant, as with entries in braces, the whole file is written again without its comments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from meshhouse.repository.edit import last_line


class _Dumper(yaml.SafeDumper):
    """Indents lists, as people do."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        """Starts a deeper level."""
        return super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value.strip() else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_multi_representer(
    dict, lambda dumper, value: dumper.represent_mapping("tag:yaml.org,2002:map", value.items())
)
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[assignment, method-assign]


def dumped(content: Mapping[str, Any]) -> str:
    """A mapping as YAML, in the order of its keys."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def loaded(text: str) -> dict[str, Any]:
    """The mapping in a YAML text; empty if there is none."""
    content = yaml.safe_load(text)
    return content if isinstance(content, dict) else {}


def with_entries(text: str, section: str, new: Mapping[str, Mapping[str, Any] | None]) -> str:
    """A YAML text with some entries of a list replaced, or removed (None).

    Args:
        text: the file.
        section: the key of the list, such as `models`.
        new: `name` of an entry -> its new content.
    """
    before = loaded(text)
    wanted = dict(before)
    entries = [each for each in before.get(section) or [] if isinstance(each, dict)]
    kept = [new.get(str(each.get("name")), each) for each in entries]
    wanted[section] = [each for each in kept if each is not None]
    if not wanted[section]:
        del wanted[section]
    if wanted == before:
        return text
    edited = _edited(text, section, new, section not in wanted)
    return edited if edited is not None and _holds(edited, wanted) else dumped(wanted)


def _holds(text: str, wanted: Mapping[str, Any]) -> bool:
    try:
        return loaded(text) == wanted
    except yaml.YAMLError:  # such as an alias whose anchor was in an entry that was replaced
        return False


def _edited(
    text: str, section: str, new: Mapping[str, Mapping[str, Any] | None], is_empty: bool
) -> str | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return None
    key, listed = next((k, v) for k, v in root.value if k.value == section)
    if not isinstance(listed, yaml.SequenceNode) or listed.flow_style:
        return None
    lines = text.splitlines(keepends=True)
    if is_empty:
        del lines[key.start_mark.line : last_line(listed) + 1]
        return "".join(lines)
    for node in reversed(listed.value):
        if not isinstance(node, yaml.MappingNode) or node.flow_style:
            continue
        name = next((str(v.value) for k, v in node.value if k.value == "name"), "")
        if name not in new:
            continue
        start, end, entry = node.start_mark.line, last_line(node) + 1, new[name]
        indent = " " * (node.start_mark.column - 2)
        written = dumped({"-": [entry]}).split("\n", 1)[1] if entry is not None else ""
        shifted = [f"{indent}{line[2:]}\n" if line else "\n" for line in written.splitlines()]
        lines[start:end] = shifted
    return "".join(lines)


_CONFIG = re.compile(r"\{\{-?\s*config\s*\((?P<inside>.*?)\)\s*-?\}\}", re.DOTALL)


def with_config(text: str, change: Callable[[str, str], str | None]) -> str:
    """SQL with some settings in its `{{ config(...) }}` changed; an empty call disappears.

    Args:
        text: the SQL.
        change: name and text of a setting -> its new text; None removes it.
    """

    def changed(match: re.Match[str]) -> str:
        before = _arguments(match["inside"])
        after = [change(each.partition("=")[0].strip(), each) for each in before]
        if after == before:
            return match[0]
        kept = [each.strip() for each in after if each is not None and each.strip()]
        return f"{{{{ config({', '.join(kept)}) }}}}" if kept else ""

    return _CONFIG.sub(changed, text)


def _arguments(inside: str) -> list[str]:
    """The arguments of a call: the text between the commas outside brackets and quotes."""
    found, depth, quote, start = [], 0, "", 0
    for at, letter in enumerate(inside):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and depth == 0:
            found.append(inside[start:at])
            start = at + 1
    return [*found, inside[start:]]


def without_settings(text: str, names: Sequence[str]) -> str:
    """SQL without some settings in its `config()`."""
    return with_config(text, lambda name, written: None if name in names else written)


def with_setting(text: str, name: str, value: str) -> str:
    """SQL in whose `config()` a setting has another value, if it has one there."""
    return with_config(
        text, lambda found, written: f"{name}='{value}'" if found == name else written
    )


def with_setting_removed(text: str, name: str, value: str) -> str:
    """SQL without a setting in its `config()`, if it has a certain value."""
    written = re.compile(rf"\s*{name}\s*=\s*(['\"]){re.escape(value)}\1\s*")
    return with_config(text, lambda _, each: None if written.fullmatch(each) else each)
