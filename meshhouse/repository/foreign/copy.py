"""Copies the files of a dbt project that a domain takes over.

Belongs here: which files, and where they go. Not here: their content.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from meshhouse.errors import MeshError
from meshhouse.repository.foreign.edit import dumped, loaded
from meshhouse.repository.foreign.project import FILES, FOLDERS, ForeignProject
from meshhouse.repository.yaml import display_path

_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.pyc", "target", "logs")


def copy_project(project: ForeignProject, to: Path, final: Path) -> list[str]:
    """Copies a project into a new folder, and returns what a person should know of it.

    Args:
        project: as it was found.
        to: the new folder.
        final: where the folder will be in the end, for relative paths of packages.
    """
    to.mkdir(parents=True)
    for kind in FOLDERS:
        for folder in project.folders(kind):
            if project.path not in folder.resolve().parents:
                raise MeshError(
                    f"{display_path(folder)} is not a folder within the project, and only the "
                    "project is copied. Move it there first."
                )
            _copy(folder, to / kind)
    for name in FILES:
        if (project.path / name).is_file():
            shutil.copyfile(project.path / name, to / name)
    (to / "models").mkdir(exist_ok=True)
    if project.packages_path.is_dir():
        # `dbt deps` installs local packages as links.
        for package in sorted(each for each in project.packages_path.iterdir() if each.is_dir()):
            _copy(package.resolve(), to / "dbt_packages" / package.name)
    return _local_packages(project, to, final)


def _copy(folder: Path, to: Path) -> None:
    """Copies regular files; two folders of one kind are laid over each other."""
    for place, names, files in os.walk(folder, followlinks=False):
        left_out = _LEFT_OUT(place, [*names, *files])
        names[:] = [each for each in names if each not in left_out]
        for name in files:
            source = Path(place, name)
            if name in left_out or not source.is_file():
                continue
            target = to / source.relative_to(folder)
            if target.exists():
                raise MeshError(
                    f"{display_path(source)}: the project has two files of this name in folders "
                    "of one kind, which a domain has once. Rename one."
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _local_packages(project: ForeignProject, to: Path, final: Path) -> list[str]:
    """Copies packages inside the project, and corrects the paths of those outside."""
    said = []
    for name in ("packages.yml", "dependencies.yml"):
        path = to / name
        content = loaded(path.read_text()) if path.is_file() else {}
        entries = content.get("packages")
        for entry in entries if isinstance(entries, list) else []:
            local = entry.get("local") if isinstance(entry, dict) else None
            if not isinstance(local, str) or "{{" in local:
                continue
            place = (project.path / local).resolve()
            if project.path in place.parents:
                if place.is_dir() and not (to / local).exists():
                    _copy(place, to / local)
                continue
            entry["local"] = os.path.relpath(place, final)
            path.write_text(dumped(content))
            (to / "package-lock.yml").unlink(missing_ok=True)
            said.append(
                f"The package {local} is outside the project, and {name} now names it from here. "
                "Copy it into the repository."
            )
    return said
