"""Reads a dbt project that is not a domain yet.

Belongs here: its name, folders, adapter, seeds, and types that its warehouse has reported. Not
here: what has to change (settings.py, sources.py, products.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshhouse.errors import UsageError
from meshhouse.repository.shapes import mapping
from meshhouse.repository.yaml import DeclarationError, Located, display_path, read_yaml

FOLDERS: Mapping[str, tuple[tuple[str, ...], str]] = {
    # Key of dbt_project.yml and its older name, and the folder if neither is given.
    "models": (("model-paths", "source-paths"), "models"),
    "seeds": (("seed-paths", "data-paths"), "seeds"),
    "snapshots": (("snapshot-paths",), "snapshots"),
    "tests": (("test-paths",), "tests"),
    "analyses": (("analysis-paths",), "analyses"),
    "macros": (("macro-paths",), "macros"),
    "functions": (("function-paths",), "functions"),
}
"""Folder in a domain -> where a project says which of its folders that is."""
FILES = (
    "packages.yml", "package-lock.yml", "dependencies.yml", "vars.yml", "selectors.yml",
    "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE",
)  # fmt: skip
"""Files beside dbt_project.yml that a domain takes over."""
_MOST_BYTES = 200_000_000
"""A manifest or catalogue larger than this is not read; one of 10,000 models has 150 MB."""


@dataclass(frozen=True)
class ForeignProject:
    """A dbt project as it was found."""

    path: Path
    name: str
    settings: Located
    """dbt_project.yml."""
    adapter: str
    """dbt's name of the adapter that it was written for; empty if nothing says so."""
    catalogue: Mapping[tuple[str, str], Mapping[str, str]]
    """(source, table) -> column -> type, as `dbt docs generate` found them."""
    is_ignored: Callable[[Path], bool] = lambda path: False
    """Whether `.dbtignore` names a file of the project."""

    def folders(self, kind: str) -> list[Path]:
        """The existing folders of one kind; keys of `FOLDERS`."""
        keys, default = FOLDERS[kind]
        named = next((self.settings[key] for key in keys if key in self.settings), [default])
        places = [self.path / str(each) for each in (named if isinstance(named, list) else [named])]
        return [each for each in places if each.is_dir()]

    def seeds(self) -> dict[str, str]:
        """Name of each seed in lower case -> its name."""
        found = [
            path.stem
            for folder in self.folders("seeds")
            for path in folder.rglob("*.csv")
            if not self.is_ignored(path)
        ]
        return {each.lower(): each for each in found}

    @property
    def packages_path(self) -> Path:
        """Where `dbt deps` installs the packages of the project."""
        named = self.settings.get("packages-install-path") or self.settings.get("modules-path")
        return self.path / str(named or "dbt_packages")


def read_foreign(path: Path, is_ignored: Callable[[Path], bool]) -> ForeignProject:
    """Reads a dbt project.

    Args:
        path: its folder.
        is_ignored: whether `.dbtignore` names a file.

    Raises:
        UsageError: there is none in that folder, or dbt_project.yml cannot be used.
    """
    if not path.is_dir():
        raise UsageError(f"{display_path(path)} is not a folder. Give the folder of a dbt project.")
    file = path / "dbt_project.yml"
    if not file.is_file():
        raise UsageError(
            f"{display_path(path)} has no dbt_project.yml. Give the folder of a dbt project."
        )
    settings = read_yaml(file)
    name = settings.get("name")
    if not isinstance(name, str) or not name:
        raise DeclarationError(file, 1, "it gives the project no `name`.")
    return ForeignProject(
        path, name, settings, _adapter(path, settings), _catalogue(path), is_ignored
    )


def _adapter(path: Path, settings: Located) -> str:
    """From the last manifest, or from profiles.yml in the project."""
    said = mapping_of(path / "target" / "manifest.json").get("metadata")
    if isinstance(said, dict) and isinstance(said.get("adapter_type"), str):
        return str(said["adapter_type"])
    profiles = path / "profiles.yml"
    if not profiles.is_file():
        return ""
    try:
        outputs = mapping(
            mapping(read_yaml(profiles).get(str(settings.get("profile")))).get("outputs")
        )
    except DeclarationError:
        return ""
    types = {str(mapping(each).get("type")) for each in outputs.values()}
    return types.pop() if len(types) == 1 else ""


def _catalogue(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    found = {}
    sources = mapping_of(path / "target" / "catalog.json").get("sources")
    for identifier, table in (sources if isinstance(sources, dict) else {}).items():
        parts, columns = str(identifier).split("."), table.get("columns")
        if len(parts) == 4 and isinstance(columns, dict):
            ordered = sorted(columns.values(), key=lambda each: each.get("index") or 0)
            found[parts[2], parts[3]] = {str(c["name"]): str(c.get("type")) for c in ordered}
    return found


def mapping_of(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return {}
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
