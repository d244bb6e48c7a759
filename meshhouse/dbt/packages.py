"""dbt packages of a domain: install them when they are missing.

Belongs here: whether `dbt deps` has to run, and running it. Not here: parsing (__init__.py), or
which files of a package decide what is built (repository/project.py).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from meshhouse.dbt import DbtFailed, invoke
from meshhouse.repository import Repository, display_path
from meshhouse.repository.project import install_path, named_packages, packages

_FILES = ("packages.yml", "dependencies.yml", "package-lock.yml")
_INSTALLED_FOR = ".meshhouse-installed"
"""A file beside the installed packages: a digest of the files that named them."""


def install_packages(repository: Repository, domain: str) -> bool:
    """Runs `dbt deps` in a domain if packages are missing; returns whether it ran.

    Packages that are installed already are used as they are, so that a machine without a network
    can build what was installed elsewhere.

    Raises:
        DbtFailed: they cannot be installed; the message names them.
    """
    folder = repository.folder(domain)
    named = named_packages(folder)
    if not named or not _is_needed(folder, named):
        return False
    try:
        invoke(repository, domain, ["deps"], {})
    except DbtFailed as error:
        said = str(error).removeprefix(f"{domain}: ").rstrip(".")
        raise DbtFailed(
            f"{domain}: the dbt packages {', '.join(named)} are not installed, and `dbt deps` "
            f"failed: {said}. Run `dbt deps` in {display_path(folder)} where the packages can be "
            f"reached, or copy {install_path(folder).name}/ from such a machine."
        ) from error
    install_path(folder).mkdir(exist_ok=True)
    _make_links_relative(folder)
    _mark(folder).write_text(_digest(folder))
    return True


def _is_needed(folder: Path, named: Sequence[str]) -> bool:
    mark = _mark(folder)
    if mark.exists():
        return mark.read_text() != _digest(folder) or len(packages(folder)) < len(named)
    # Installed by a plain `dbt deps`. dbt compares the numbers too.
    return len(packages(folder)) < len(named)


def _make_links_relative(folder: Path) -> None:
    """Lets links to local packages survive a move of the repository; dbt makes absolute ones."""
    for link in install_path(folder).iterdir():
        if link.is_symlink() and link.readlink().is_absolute():
            target = os.path.relpath(link.resolve(), link.parent.resolve())
            link.unlink()
            link.symlink_to(target)


def _mark(folder: Path) -> Path:
    return install_path(folder) / _INSTALLED_FOR


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in _FILES:
        path = folder / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()
