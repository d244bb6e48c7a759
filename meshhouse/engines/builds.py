"""Where engines that build Iceberg tables keep what they build.

Belongs here: the folders and catalogs of such builds, for engines and for upkeep. Does not:
building (spark.py), or tables that consumers see (lake/).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from meshhouse.lake import Lake

_RUNS = "spark"
"""Beside the lake, and not where builds are on other targets: publications name its files."""


def work_folder(home: Path, domain: str) -> Path:
    """Where the runs of a domain keep its catalog and tables."""
    return home / _RUNS / domain


def work_lake(home: Path, domain: str) -> Lake:
    """Where the runs of a domain build."""
    return Lake(work_folder(home, domain), _catalog(home, f"{domain}_work"))


def plain_lake(home: Path, domain: str) -> Lake:
    """Where dbt builds a domain by itself, outside runs."""
    return Lake(home / "build" / domain / "spark", _catalog(home, f"{domain}_dbt"))


def audit_lake(home: Path, domain: str) -> Lake:
    """What the audit of a domain sees: tables of other lakes, none of its own."""
    return Lake(home / "build" / domain / "spark-audit", _catalog(home, f"{domain}_audit"))


def building_domains(home: Path) -> list[str]:
    """Domains that have built Iceberg tables."""
    return sorted(path.parent.parent.name for path in home.glob(f"{_RUNS}/*/lake/catalog.db"))


def _catalog(home: Path, purpose: str) -> str:
    """A catalog's name, of which one process may hold several meshes' in its life."""
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:8]
    return f"{purpose}_{digest}"
