"""The form of a YAML file of dbt: which keys hold lists and mappings.

Belongs here: refusing a file of another form, with its line, before anything reads it. Not here:
which keys there are, which dbt checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meshhouse.repository.yaml import DeclarationError, Located

_SECTIONS = ("models", "seeds", "snapshots", "sources", "groups")
_ENTRIES = ("tables", "columns", "versions", "constraints")
_LISTS = ("tests", "data_tests")
_MAPPINGS = ("config", "meta")


def check_form(path: Path, content: Located) -> None:
    """Checks the parts of a YAML file that an import reads.

    Raises:
        DeclarationError: a list or a mapping is something else.
    """
    for section in _SECTIONS:
        for entry in _entries(path, content, section):
            _check(path, entry)


def _check(path: Path, entry: Located) -> None:
    for key in _MAPPINGS:
        if not isinstance(entry.get(key), Located | None):
            raise _wrong(path, entry, key, "a mapping of keys to values")
    for key in _LISTS:
        if not isinstance(entry.get(key), list | None):
            raise _wrong(path, entry, key, "a list")
    for key in _ENTRIES:
        for inner in _entries(path, entry, key):
            _check(path, inner)


def _entries(path: Path, content: Located, key: str) -> Iterator[Located]:
    listed: Any = content.get(key)
    if listed is None:
        return
    if not isinstance(listed, list) or not all(isinstance(each, Located) for each in listed):
        raise _wrong(path, content, key, "a list of mappings")
    yield from listed


def _wrong(path: Path, entry: Located, key: str, form: str) -> DeclarationError:
    return DeclarationError(path, entry.line_of(key), f"`{key}` must be {form}.")
