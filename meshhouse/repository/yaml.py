"""YAML with line numbers.

Belongs here: reading one file into plain values whose mappings know their lines, and
one error for a file that cannot be used. Not here: the meaning of the keys (shapes.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from meshhouse.errors import UsageError

DEEPEST = 60
"""Most levels of nesting in a file. PyYAML's composer crashes the process at about 100,000."""
ENDLESS = "this is a pipe, a socket or a device, and reading it might never end. Remove it."
LARGEST = 1_000_000
"""Most values in a file, with every alias expanded."""


class DeclarationError(UsageError):
    """A file of the repository cannot be used; the message has the path, line and problem."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        problem = printable(problem)
        super().__init__(f"{display_path(path)}:{line}: {problem}")
        self.path = path
        self.line = line
        self.problem = problem


class Located(dict[str, Any]):
    """A mapping with the line (from 1) of itself and of each of its keys."""

    line: int = 1
    lines: dict[str, int]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lines = {}

    def line_of(self, key: str) -> int:
        """Line of `key`, or of the mapping where the key is absent."""
        return self.lines.get(key, self.line)


class _Loader(yaml.CSafeLoader):
    """PyYAML's safe loader, building `Located` mappings."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A value; one that cannot be converted is an error with its line."""
        try:
            value = super().construct_object(node, deep)
        except ValueError as error:  # such as the date 2024-99-01
            raise _error(node, f"`{printable(str(node.value))[:40]}` cannot be read") from error
        if isinstance(value, int | float) and ":" in node.value:
            # YAML 1.1, which dbt reads as well, has numbers of base 60.
            problem = f"YAML reads `{node.value}` as {value}. Write the number, or quotes around it"
            raise _error(node, problem)
        return value


def _error(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> Located:
    found: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _error(key, "a key must be a word, not a list or a mapping")
        if key.value in found and key.tag != "tag:yaml.org,2002:merge":
            first = found[key.value]
            raise _error(key, f"the key `{key.value}` is here twice (first in line {first})")
        found[key.value] = key.start_mark.line + 1
    loader.flatten_mapping(node)  # writes out `<<: *other`
    mapping = Located(
        {key.value: loader.construct_object(value, deep=True) for key, value in node.value}
    )
    mapping.line = node.start_mark.line + 1
    mapping.lines = {key.value: key.start_mark.line + 1 for key, _ in node.value}
    return mapping


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def read_yaml(path: Path) -> Located:
    """The mapping in a YAML file; an empty file is an empty mapping. Callers do not change it.

    Raises:
        DeclarationError: the file cannot be read, is not valid YAML, or is not a mapping.
    """
    return parse_yaml(path, read_text(path))


def parse_yaml(path: Path, text: str) -> Located:
    """As `read_yaml`, for a text that is or will be the content of a file."""
    try:
        value = _loaded(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # The position of an unclosed bracket or quote may be after the last line.
        line = min(mark.line + 1, len(text.splitlines()) or 1) if mark else 1
        raise DeclarationError(path, line, f"this is not valid YAML: {error.problem}.") from error
    except yaml.reader.ReaderError as error:
        position = error.position if isinstance(error.position, int) else 0
        line = text.encode().count(b"\n", 0, position) + 1
        problem = f"this is not valid YAML: {error.reason}."
        raise DeclarationError(path, line, problem) from error
    except yaml.YAMLError as error:
        raise DeclarationError(path, 1, f"this is not valid YAML: {error}.") from error
    if value is None:
        value = Located()
    if not isinstance(value, Located):
        raise DeclarationError(path, 1, "the file must hold a mapping of keys to values.")
    return value


@lru_cache(maxsize=2_048)
def _loaded(text: str) -> Any:
    """The value of a YAML text, the same object for the same text: nobody may change it.

    `mesh check` reads each file six times, because each rule reads what it is about.
    """
    _measure(text)
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - built on CSafeLoader


def read_text(path: Path) -> str:
    """The text of a file of the repository, which must be UTF-8.

    Raises:
        DeclarationError: the file cannot be read.
    """
    if is_endless(path):
        raise DeclarationError(path, 1, ENDLESS)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DeclarationError(path, 1, f"cannot be read: {error.strerror}.") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        problem = (
            f"this is not UTF-8 text (byte 0x{byte:02x}); save the file with the encoding UTF-8."
        )
        raise DeclarationError(path, line, problem) from error


def is_endless(path: Path) -> bool:
    """Whether reading a file might never end: it is a pipe, a socket or a device."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _measure(text: str) -> None:
    """Refuses a text that would crash the process or fill the memory, before building it."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = total - before
            continue
        if not isinstance(event, yaml.NodeEvent):
            continue
        total += sizes.get(event.anchor, 1) if isinstance(event, yaml.AliasEvent) else 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total - 1))
        elif isinstance(event, yaml.ScalarEvent) and event.anchor is not None:
            sizes[event.anchor] = 1
        if len(open_nodes) > DEEPEST:
            problem = f"it is nested more than {DEEPEST} levels deep"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        if total > LARGEST:
            problem = f"with its aliases expanded it holds more than {LARGEST:,} values"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def printable(text: str) -> str:
    """The text with all unprintable characters escaped."""
    return "".join(_characters(text))


def _characters(text: str) -> Iterator[str]:
    for character in text:
        escaped = character.encode("unicode_escape").decode()
        yield character if character.isprintable() else escaped


def display_path(path: Path) -> str:
    """The path as people type it: relative to the working directory if it is inside."""
    try:
        return printable(str(path.relative_to(Path.cwd())))
    except ValueError:
        return printable(str(path))
