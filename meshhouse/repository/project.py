"""The files, variables and tools from which dbt makes one domain's manifest.

Belongs here: the folders of a dbt project, the environment variables that its files name,
and one digest of all of them. Not here: the manifest itself (manifest.py), or declarations
of the mesh (read.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from meshhouse.repository.model import Domain
from meshhouse.repository.read import Repository
from meshhouse.repository.yaml import DeclarationError, read_yaml

_FOLDERS = {
    "model-paths": "models",
    "macro-paths": "macros",
    "seed-paths": "seeds",
    "snapshot-paths": "snapshots",
    "test-paths": "tests",
    "analysis-paths": "analyses",
    "function-paths": "functions",
}
"""Key of dbt_project.yml -> the folder that dbt reads if the key is missing."""
_FILES = (
    "dbt_project.yml",
    "dependencies.yml",
    "packages.yml",
    "package-lock.yml",
    "vars.yml",
    "selectors.yml",
    ".dbtignore",
)
_CODE = (".sql", ".py", ".yml", ".yaml", ".md")
"""Suffixes of files in which dbt renders Jinja; it does not render seeds and fixtures."""
_NOT_READ = {"target", "logs", ".git", "__pycache__"}
"""Folders that tools write to."""

PLATFORM_MACROS = Path(__file__).parents[1] / "macros"
"""The macros that come with the platform; a part of every domain's dbt project."""

PLATFORM_VARIABLES = frozenset(
    {
        "MESH_ROOT",
        "MESH_HOME",
        "MESH_ENV",
        "MESH_RUN_ID",
        "MESH_PINS",
        "MESH_MEMORY_LIMIT",
        "MESH_STEPS",
        "MESH_JOB_MIB",
        "MESH_JOB_THREADS",
        "MESH_JOBS",
    }
)
"""The mesh's own environment variables: they set where and when it runs, not what it builds."""
_ENV_VAR = re.compile(r"\benv_var\s*\(\s*(?:(['\"])(?P<name>[^'\"]*)\1\s*[,)])?")

_TOOLS: Mapping[str, tuple[str, ...]] = {
    "duckdb": ("dbt-duckdb", "duckdb"),
    "spark": ("dbt-spark", "pyspark"),
    "snowflake": ("dbt-snowflake",),
}
"""dbt's name of an adapter -> distributions whose version may change the results of SQL."""
_ADAPTERS = {"local": "duckdb"}


def target_in_use() -> str:
    """The target that `MESH_TARGET` names."""
    return os.environ.get("MESH_TARGET") or "local"


def adapter_of(target: str) -> str:
    """Dbt's name of the adapter that a target uses."""
    return _ADAPTERS.get(target, target)


@cache
def tool_versions(adapter: str) -> Mapping[str, str]:
    """Distribution -> version, of dbt and of the libraries that an adapter uses."""
    found = {}
    for name in ("dbt-core", "dbt-adapters", *_TOOLS.get(adapter, ())):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def settings(folder: Path) -> Mapping[str, Any]:
    """`dbt_project.yml` of a project; empty if it cannot be read, which dbt reports."""
    return _yaml(folder / "dbt_project.yml")


def connection(root: Path, folder: Path) -> Mapping[str, Any]:
    """The target in use as `profiles.yml` declares it, unrendered: its settings affect rows."""
    profile = _yaml(root / "profiles" / "profiles.yml").get(str(settings(folder).get("profile")))
    outputs = profile.get("outputs") if isinstance(profile, dict) else None
    found = outputs.get(target_in_use()) if isinstance(outputs, dict) else None
    return found if isinstance(found, dict) else {}


def variables(folder: Path) -> Mapping[str, Any]:
    """Every value that `var()` may return in a project and its installed packages."""
    return {
        os.path.relpath(project, folder): [
            settings(project).get("vars"),
            _yaml(project / "vars.yml").get("vars"),
        ]
        for project in (folder, *packages(folder))
    }


def packages(folder: Path) -> list[Path]:
    """The folders of the packages that `dbt deps` has installed in a project."""
    return sorted(each for each in install_path(folder).glob("*") if each.is_dir())


def install_path(folder: Path) -> Path:
    """The folder in which `dbt deps` installs the packages of a project."""
    return folder / str(settings(folder).get("packages-install-path") or "dbt_packages")


def named_packages(folder: Path) -> list[str]:
    """What `dbt deps` has to install in a project: the packages of its lock file, if it has one."""
    for name in ("package-lock.yml", "packages.yml", "dependencies.yml"):
        entries = _yaml(folder / name).get("packages")
        if isinstance(entries, list) and entries:
            return [_package(each) for each in entries if isinstance(each, dict)]
    return []


def _package(entry: Mapping[str, Any]) -> str:
    keys = ("package", "git", "local", "tarball", "private", "name")
    return str(next((entry[key] for key in keys if key in entry), "?"))


def folders(folder: Path, *keys: str) -> list[Path]:
    """The folders that these keys of dbt_project.yml name; by default those of all keys."""
    project, found = settings(folder), []
    for key in keys or tuple(_FOLDERS):
        named = project.get(key, [_FOLDERS[key]])
        paths = named if isinstance(named, list) else [named]
        found += [Path(os.path.normpath(folder / str(path))) for path in paths if path]
    return list(dict.fromkeys(found))


def shared_macros(root: Path) -> list[Path]:
    """The folders of macros that belong to every domain: those of the platform and of the mesh.

    `dbt_meshhouse.py` adds them to each project that dbt reads, so no `macro-paths` names them.
    """
    return [each for each in (PLATFORM_MACROS, root / "macros") if each.is_dir()]


_EVERY_MODEL = {"file_format": "iceberg", "transient": False}
"""What every model of a mesh needs: Spark publishes Iceberg tables, and Snowflake cannot clone a
transient table. Other targets ignore both."""


def add_defaults(models: dict[str, Any], domain: Domain) -> None:
    """Adds the settings that every domain would repeat to `models` of its dbt_project.yml.

    Settings of the domain win. A product is a table unless a setting says otherwise: a view, which
    is dbt's default, cannot be published.

    Args:
        models: the settings as dbt has read them; changed in place.
        domain: whose project it is.
    """
    for key, value in _EVERY_MODEL.items():
        if key not in models:
            models.setdefault(f"+{key}", value)
    for product in domain.products:
        if product.sql_path.is_relative_to(domain.path / "models"):
            below = product.sql_path.relative_to(domain.path / "models").parent.parts
            _make_a_table(models, (domain.name, *below, product.model))


def _make_a_table(models: dict[str, Any], place: Sequence[str]) -> None:
    """Sets the materialization of one model, unless a setting on the way to it does."""
    at = models
    for name in (*place, None):
        if "+materialized" in at or "materialized" in at:
            return
        if name is None:
            at["+materialized"] = "table"
            return
        below = at.get(name)
        if below is not None and not isinstance(below, dict):
            return  # a setting has the name of the model
        if below is None:
            below = at[name] = {}
        at = below


def files_below(folder: Path) -> Iterator[Path]:
    """Regular files in a folder; follows links, as which `dbt deps` installs local packages."""
    seen: set[str] = set()
    for place, inner, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            inner[:] = []
            continue
        seen.add(real)
        inner[:] = [name for name in inner if name not in _NOT_READ]
        yield from filter(Path.is_file, (Path(place, name) for name in names))


def project_files(repository: Repository, domain: Domain) -> list[Path]:
    """Every file that a domain's manifest depends on."""
    root = repository.root
    places = [*folders(domain.path), *packages(domain.path), *shared_macros(root)]
    places.append(root / "profiles")
    found = {path for place in places for path in files_below(place)}
    found |= {domain.path / name for name in _FILES}
    # Injected nodes come from the declarations of upstream products.
    found |= {product.path for product in repository.provided(domain)}
    return sorted(path for path in found if path.is_file())


def project_fingerprint(repository: Repository, domain: Domain) -> str:
    """A digest of everything that a domain's manifest depends on."""
    target = target_in_use()
    digest = hashlib.sha256(json.dumps([target, dict(tool_versions(adapter_of(target)))]).encode())
    named: dict[str, str | None] = {}
    for path in project_files(repository, domain):
        content = path.read_bytes()
        digest.update(os.path.relpath(path, repository.root).encode() + b"\0")
        digest.update(hashlib.sha256(content).digest())
        if path.suffix in _CODE and b"env_var" in content:
            named |= environment_named([content.decode(errors="replace")])
    digest.update(json.dumps(named, sort_keys=True).encode())
    return digest.hexdigest()


def environment_named(texts: Iterable[str]) -> dict[str, str | None]:
    """Environment variable -> value, for the variables that `env_var()` reads in these texts.

    If a text computes a name, the result holds all variables. The mesh's own are left out.
    """
    names: set[str] = set()
    for text in texts:
        for match in _ENV_VAR.finditer(text):
            names |= set(os.environ) if match["name"] is None else {match["name"]}
    return {name: os.environ.get(name) for name in names - PLATFORM_VARIABLES}


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        return read_yaml(path) if path.is_file() else {}
    except DeclarationError:
        return {}
