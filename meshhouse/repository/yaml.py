"""YAML that remembers where it stands.

Belongs here: reading one file into plain values whose mappings know their lines, and
one clear error for a file that is no YAML. Does not: what the keys mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from meshhouse.errors import UsageError


class DeclarationError(UsageError):
    """A file of the repository says something that cannot be used."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(f"{display_path(path)}:{line}: {problem}")
        self.path = path
        self.line = line
        self.problem = problem


class Located(dict[str, Any]):
    """A mapping with the line (from 1) of itself and of each of its keys."""

    line: int = 1
    lines: dict[str, int]

    def line_of(self, key: str) -> int:
        """Line of `key`, or of the mapping where the key is absent."""
        return self.lines.get(key, self.line)


class _Loader(yaml.CSafeLoader):
    """PyYAML's safe loader, building `Located` mappings."""


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> Located:
    mapping = Located(
        {
            str(loader.construct_object(key, deep=True)): loader.construct_object(value, deep=True)
            for key, value in node.value
        }
    )
    mapping.line = node.start_mark.line + 1
    mapping.lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
    return mapping


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def read_yaml(path: Path) -> Located:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        DeclarationError: the file cannot be read, is no YAML, or holds no mapping.
    """
    try:
        value = yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506 - built on CSafeLoader
    except OSError as error:
        raise DeclarationError(path, 1, f"cannot be read: {error.strerror}.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise DeclarationError(path, line, f"this is no valid YAML: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise DeclarationError(path, 1, f"this is no valid YAML: {error}.") from error
    if value is None:
        value = Located()
        value.lines = {}
    if not isinstance(value, Located):
        raise DeclarationError(path, 1, "the file must hold a mapping of keys to values.")
    return value


def display_path(path: Path) -> str:
    """The path as people type it: relative to where they stand, if it lies below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
