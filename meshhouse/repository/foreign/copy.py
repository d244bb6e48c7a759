"""Copies the files of a dbt project that a domain takes over.

Belongs here: which files, and where they go. Not here: their content.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from meshhouse.errors import MeshError
from meshhouse.repository.foreign.edit import dumped, loaded
from meshhouse.repository.foreign.project import FILES, FOLDERS, ForeignProject
from meshhouse.repository.yaml import display_path, read_yaml

_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.pyc")
_WRITTEN_BY_DBT = {"target", "logs"}
"""Folders in that of a dbt project; deeper ones are folders of models."""


_READ = {".csv", ".md", ".py", ".sql", ".yaml", ".yml"}
"""Endings of files that dbt reads."""
_NAMES = 20
"""Most files that a sentence lists."""


def copy_project(project: ForeignProject, to: Path) -> list[str]:
    """Copies a project into a new folder, and returns what a person should know of it.

    Args:
        project: as it was found.
        to: the new folder.
    """
    to.mkdir(parents=True)
    ignored: list[Path] = []
    hidden: list[Path] = []
    for kind in FOLDERS:
        for folder in project.folders(kind):
            if project.path not in folder.resolve().parents:
                raise MeshError(
                    f"{display_path(folder)} is not a folder within the project, and only the "
                    "project is copied. Move it there first."
                )
            _refuse_links(folder)
            ignored += _copy(folder, to / kind, is_ignored=project.is_ignored)
            hidden += _hidden(folder)
    for folder in _docs(project):
        ignored += _copy(folder, to / "models", (".md",), is_ignored=project.is_ignored)
    for name in FILES:
        if (project.path / name).is_file():
            shutil.copyfile(project.path / name, to / name)
    (to / "models").mkdir(exist_ok=True)
    if project.packages_path.is_dir():
        # `dbt deps` installs local packages as links.
        for package in sorted(each for each in project.packages_path.iterdir() if each.is_dir()):
            _copy_package(package.resolve(), to / "dbt_packages" / package.name)
    return [
        *_about(ignored),
        *_about_hidden(project, hidden),
        *_padded(to),
        *_local_packages(project, to),
    ]


def _refuse_links(folder: Path) -> None:
    """Refuses links to folders: a copy would lose them, or take what is outside the project."""
    for place, names, _ in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.is_symlink() and not name.startswith("."):
                raise MeshError(
                    f"{display_path(path)} is a link to a folder, and links are not copied. Put "
                    "the folder itself there."
                )


def _about(ignored: Sequence[Path]) -> Iterator[str]:
    if ignored:
        names = ", ".join(sorted({each.name for each in ignored})[:5])
        yield f"Not copied, because .dbtignore names them: {len(ignored)} files, such as {names}."


def _hidden(folder: Path) -> Iterator[Path]:
    """What dbt could read, and a copy leaves out because a name on its path begins with a dot."""
    for place, _, files in os.walk(folder):
        for each in files:
            path = Path(place, each)
            is_hidden = any(name.startswith(".") for name in path.relative_to(folder).parts)
            if is_hidden and path.suffix in _READ:
                yield path


def _about_hidden(project: ForeignProject, hidden: Sequence[Path]) -> Iterator[str]:
    if hidden:
        names = sorted(str(each.relative_to(project.path)) for each in hidden)
        more = f", and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        yield (
            f"Not copied, because their names begin with a dot: {', '.join(names[:_NAMES])}{more}. "
            "If the domain needs one, copy it there under another name."
        )


def _docs(project: ForeignProject) -> list[Path]:
    """Folders with nothing but descriptions; dbt also finds those beside models."""
    named = project.settings.get("docs-paths")
    taken = [folder for kind in FOLDERS for folder in project.folders(kind)]
    places = [project.path / str(each) for each in (named if isinstance(named, list) else [])]
    return [
        each
        for each in places
        if each.is_dir() and not any(each == one or one in each.parents for one in taken)
    ]


def _copy_package(folder: Path, to: Path) -> None:
    """Copies a whole dbt project, without what dbt has written there."""
    _copy(folder, to, left_out=_WRITTEN_BY_DBT)


def _copy(
    folder: Path,
    to: Path,
    suffixes: tuple[str, ...] = (),
    left_out: Collection[str] = (),
    is_ignored: Callable[[Path], bool] = lambda path: False,
) -> list[Path]:
    """Copies regular files; two folders of one kind are laid over each other.

    Args:
        folder: what is copied.
        to: the folder that gets its content.
        suffixes: of the files; empty for all.
        left_out: names of folders in `folder` that are not copied.
        is_ignored: whether a file is not copied.

    Returns:
        The files that were ignored.
    """
    ignored = []
    for place, names, files in os.walk(folder, followlinks=False):
        unwanted = _LEFT_OUT(place, [*names, *files])
        if Path(place) == folder:
            unwanted |= set(left_out)
        names[:] = [each for each in names if each not in unwanted]
        for name in files:
            source = Path(place, name)
            if name in unwanted or not source.is_file():
                continue
            if suffixes and source.suffix not in suffixes:
                continue
            if is_ignored(source):
                ignored.append(source)
                continue
            target = to / source.relative_to(folder)
            if target.exists():
                raise MeshError(
                    f"{display_path(source)}: the project has two files of this name in folders "
                    "of one kind, which a domain has once. Rename one."
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return ignored


def _padded(to: Path) -> list[str]:
    """Fills rows of seeds that have fewer values than the header, as dbt does elsewhere.

    DuckDB refuses them.
    """
    said = []
    for path in sorted((to / "seeds").rglob("*.csv")):
        with path.open(newline="", encoding="utf-8-sig") as file:
            try:
                rows = list(csv.reader(file))
            except (csv.Error, UnicodeDecodeError):
                continue  # the trial build says what is wrong
        width = len(rows[0]) if rows else 0
        if any(len(row) < width for row in rows if row):
            with path.open("w", newline="", encoding="utf-8") as file:
                lines = ([*row, *[""] * (width - len(row))] for row in rows if row)
                csv.writer(file, lineterminator="\n").writerows(lines)
            said.append(f"Rows of the seed {path.name} had fewer values than columns; it has "
                        "empty values there now.")  # fmt: skip
    return said


def _local_packages(project: ForeignProject, to: Path) -> list[str]:
    """Copies packages that are folders; those outside the project go to `packages/`."""
    said = []
    for name in ("packages.yml", "dependencies.yml"):
        path = to / name
        content: dict[str, Any] = {}
        if path.is_file():
            read_yaml(path)  # says in which line it is not valid
            content = loaded(path.read_text(encoding="utf-8-sig"))
        entries = content.get("packages")
        for entry in entries if isinstance(entries, list) else []:
            local = entry.get("local") if isinstance(entry, dict) else None
            if not isinstance(local, str) or "{{" in local:
                continue
            place = (project.path / local).resolve()
            if not (place / "dbt_project.yml").is_file():
                raise MeshError(
                    f"{display_path(project.path / name)}: there is no dbt project in {local}. "
                    "Correct the path of that package."
                )
            if project.path in place.parents:
                if not (to / local).exists():
                    _copy_package(place, to / local)
                continue
            entry["local"] = f"packages/{place.name}"
            _copy_package(place, to / "packages" / place.name)
            path.write_text(dumped(content))
            (to / "package-lock.yml").unlink(missing_ok=True)
            said.append(
                f"The package {local} is outside the project: it was copied to "
                f"packages/{place.name}. Is that where it should live?"
            )
    return said
