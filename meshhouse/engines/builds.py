"""Where engines that build Iceberg tables keep what they build.

Belongs here: the folders and catalogs of such builds, for engines and for maintenance. Not here:
the build itself (spark/engine.py), or tables that consumers see (lake/).
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
"""Beside the lake, not in `build/` as on other targets: published tables refer to these files."""


def work_folder(home: Path, domain: str) -> Path:
    """The folder in which runs of a domain keep the catalog and the tables that they build."""
    return home / _RUNS / domain


def work_lake(home: Path, domain: str) -> Lake:
    """The lake in which runs build a domain."""
    catalog = _catalog(home, f"{domain}_work")
    return Lake(work_folder(home, domain), catalog, _in_store("builds", home, domain))


def plain_lake(home: Path, domain: str) -> Lake:
    """The lake in which dbt builds a domain when a person starts it, outside a run."""
    catalog = _catalog(home, f"{domain}_dbt")
    return Lake(home / "build" / domain / "spark", catalog, _in_store("tries", home, domain))


def audit_lake(home: Path, domain: str) -> Lake:
    """The lake through which the audit of a domain reads: it registers tables of other lakes."""
    folder = home / "build" / domain / "spark-audit"
    # It writes only empty tables, so the local disk is enough.
    return Lake(folder, _catalog(home, f"{domain}_audit"), f"file://{folder / 'lake'}")


def building_domains(home: Path) -> list[str]:
    """Domains that have built Iceberg tables."""
    return sorted(path.parent.parent.name for path in home.glob(f"{_RUNS}/*/lake/catalog.db"))


def publishable(home: Path, domains: Iterable[str], stores: Iterable[str] = ()) -> list[str]:
    """Folders in which runs build; published tables may refer to files below them.

    Args:
        home: folder of the mesh's data, or of an environment's.
        domains: names of all domains.
        stores: folders of object stores that hold tables, whatever MESH_WAREHOUSE is now.
    """
    local = [f"file://{work_folder(home, domain)}" for domain in domains]
    folders = {each for each in (warehouse(), *stores) if each}
    building = building_domains(home)
    return [*local, *(_folder(each, "builds", home, name) for each in folders for name in building)]


def folders_in_store(home: Path) -> list[str]:
    """Folders in an object store that hold builds of a workspace, made by runs or by plain dbt."""
    plain = (path.parents[2].name for path in home.glob("build/*/spark/lake/catalog.db"))
    found = [
        *(_in_store("builds", home, domain) for domain in building_domains(home)),
        *(_in_store("tries", home, domain) for domain in sorted(plain)),
    ]
    return [folder for folder in found if folder]


def _in_store(purpose: str, home: Path, domain: str) -> str | None:
    """The folder for builds if the warehouse is an object store, else None."""
    folder = warehouse()
    return _folder(folder, purpose, home, domain) if folder else None


def _folder(store: str, purpose: str, home: Path, domain: str) -> str:
    environment = home.name if home.parent.name == ENVIRONMENTS else ""
    number = _number(home.parent.parent if environment else home)
    # The hyphen keeps it apart from the folders of schemas, which maintenance searches.
    return f"{store}/spark-{purpose}/{stored_schema(environment, domain)}-{number}"


def _number(home: Path) -> str:
    """The number that separates this mesh from others that build in the same bucket.

    It is drawn once. Maintenance removes files that this mesh does not know from its folders, so
    two meshes must not share a folder.
    """
    path = home / "number"
    if not path.exists():
        with lock(home / "locks" / "number"):
            if not path.exists():  # another process may have written it before the lock
                replace(path, uuid4().hex)
    return path.read_text()


def _catalog(home: Path, purpose: str) -> str:
    """A catalog's name that is unique even if one process opens several meshes."""
    return f"{purpose}_{catalog_digest(home)}"
