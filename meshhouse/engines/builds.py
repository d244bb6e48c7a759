"""Where engines that build Iceberg tables keep what they build.

Belongs here: the folders and catalogs of such builds, for engines and for upkeep. Not here:
building (spark.py), or tables that consumers see (lake/).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from meshhouse.files import replace
from meshhouse.lake import Lake
from meshhouse.lake.catalog_paths import catalog_digest
from meshhouse.lake.object_store import warehouse
from meshhouse.locks import lock
from meshhouse.repository.environment import ENVIRONMENTS, stored_schema

_RUNS = "spark"
"""Beside the lake, and not where builds are on other targets: publications name its files."""


def work_folder(home: Path, domain: str) -> Path:
    """Where the runs of a domain keep its catalog and tables."""
    return home / _RUNS / domain


def work_lake(home: Path, domain: str) -> Lake:
    """Where the runs of a domain build."""
    catalog = _catalog(home, f"{domain}_work")
    return Lake(work_folder(home, domain), catalog, _in_store("builds", home, domain))


def plain_lake(home: Path, domain: str) -> Lake:
    """Where dbt builds a domain by itself, outside runs."""
    catalog = _catalog(home, f"{domain}_dbt")
    return Lake(home / "build" / domain / "spark", catalog, _in_store("tries", home, domain))


def audit_lake(home: Path, domain: str) -> Lake:
    """What the audit of a domain sees: tables of other lakes, none of its own."""
    folder = home / "build" / domain / "spark-audit"
    # It makes no tables but empty ones, for which the machine's own disk will do.
    return Lake(folder, _catalog(home, f"{domain}_audit"), f"file://{folder / 'lake'}")


def building_domains(home: Path) -> list[str]:
    """Domains that have built Iceberg tables."""
    return sorted(path.parent.parent.name for path in home.glob(f"{_RUNS}/*/lake/catalog.db"))


def publishable(home: Path, domains: Iterable[str], stores: Iterable[str] = ()) -> list[str]:
    """Locations of what runs build: published tables may refer to files below them.

    Args:
        home: the mesh's data, or that of an environment.
        domains: all domains.
        stores: folders of object stores in which tables are, whatever MESH_WAREHOUSE says now.
    """
    local = [f"file://{work_folder(home, domain)}" for domain in domains]
    folders = {each for each in (warehouse(), *stores) if each}
    building = building_domains(home)
    return [*local, *(_folder(each, "builds", home, name) for each in folders for name in building)]


def folders_in_store(home: Path) -> list[str]:
    """Folders in an object store of all that was built in a workspace, by runs and plain dbt."""
    plain = (path.parents[2].name for path in home.glob("build/*/spark/lake/catalog.db"))
    found = [
        *(_in_store("builds", home, domain) for domain in building_domains(home)),
        *(_in_store("tries", home, domain) for domain in sorted(plain)),
    ]
    return [folder for folder in found if folder]


def _in_store(purpose: str, home: Path, domain: str) -> str | None:
    """The folder of what is built, if the warehouse is an object store."""
    folder = warehouse()
    return _folder(folder, purpose, home, domain) if folder else None


def _folder(store: str, purpose: str, home: Path, domain: str) -> str:
    environment = home.name if home.parent.name == ENVIRONMENTS else ""
    number = _number(home.parent.parent if environment else home)
    # With a hyphen, which no schema's folder has: upkeep looks into those.
    return f"{store}/spark-{purpose}/{stored_schema(environment, domain)}-{number}"


def _number(home: Path) -> str:
    """What tells this mesh from others that build in the same bucket; given to it once.

    Upkeep removes what this mesh does not know from its folders there, so no other may share them.
    """
    path = home / "number"
    if not path.exists():
        with lock(home / "locks" / "number"):
            if not path.exists():  # nobody was quicker
                replace(path, uuid4().hex)
    return path.read_text()


def _catalog(home: Path, purpose: str) -> str:
    """A catalog's name, of which one process may hold several meshes' in its life."""
    return f"{purpose}_{catalog_digest(home)}"
