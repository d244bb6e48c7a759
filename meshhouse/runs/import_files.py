"""The files of a domain that is being made of a dbt project.

Belongs here: reading and writing them. Not here: what is written (import_project.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meshhouse.errors import MeshError
from meshhouse.repository import display_path
from meshhouse.repository.foreign.forms import check_form
from meshhouse.repository.foreign.project import FOLDERS
from meshhouse.repository.yaml import parse_yaml

YAML = (".yml", ".yaml")
CODE = (".sql", ".py", *YAML)
PACKAGES = "dbt_packages"


@dataclass(frozen=True)
class Files:
    """The folder of the new domain, before it gets its place."""

    folder: Path
    project: Path
    """The project that was copied."""

    def named(self, text: str) -> str:
        """A message in which the copy has the path of the project."""
        for copy in (display_path(self.folder), str(self.folder)):
            text = text.replace(copy, display_path(self.project))
        return text

    def below(self, folder: str, *suffixes: str) -> list[Path]:
        """Files in a folder of the domain, without those of dbt packages."""
        return sorted(self._below(self.folder / folder, suffixes))

    def _below(self, folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
        for path in folder.rglob("*"):
            within = path.relative_to(self.folder).parts
            if path.suffix in suffixes and path.is_file() and within[0] != PACKAGES:
                yield path

    def read(self, path: Path) -> str:
        """The text of a file.

        Raises:
            MeshError: it is not UTF-8, or not YAML of dbt although its name says so.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise MeshError(f"{display_path(path)} is not UTF-8 text. Save it as UTF-8.") from error
        if path.suffix in YAML:
            content = parse_yaml(path, text)
            if path.relative_to(self.folder).parts[0] in FOLDERS:
                check_form(path, content)
        return text

    def write(self, path: Path, text: str) -> None:
        """Writes a file, and its folder if necessary."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def new(self, name: str) -> Path:
        """A file that the project does not have; with another name if it has this one."""
        path = self.folder / name
        while path.exists():
            path = path.with_name(f"mesh_{path.name}")
        return path
