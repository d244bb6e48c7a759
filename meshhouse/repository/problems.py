"""Collects the problems in the files of one domain while they are read.

Belongs here: comparing YAML files with their shapes, and keeping every problem. Not here: the
meaning of the content (topics.py, products.py, domain.py).
"""

from __future__ import annotations

from pathlib import Path

from meshhouse.repository.misfits import misfits
from meshhouse.repository.model import UnknownKey
from meshhouse.repository.shapes import shape_of
from meshhouse.repository.yaml import DeclarationError, Located, read_yaml


class Problems:
    """Problems that make declarations unusable, and keys that neither the mesh nor dbt reads."""

    def __init__(self) -> None:
        self.found: list[DeclarationError] = []
        self.unknown_keys: list[UnknownKey] = []

    def add(self, path: Path, line: int, problem: str) -> None:
        """Adds one problem."""
        self.found.append(DeclarationError(path, line, problem))

    def yaml(self, path: Path) -> Located:
        """The content of a YAML file; empty if the file cannot be read."""
        try:
            content = read_yaml(path)
        except DeclarationError as error:
            self.found.append(error)
            return Located()
        for each in misfits(content, shape_of(path)):
            if each.is_unknown_key:
                key = UnknownKey(path, each.line, each.problem, each.remedy, each.is_style)
                self.unknown_keys.append(key)
            else:
                self.add(path, each.line, f"{each.problem} {each.remedy}".rstrip())
        return content
