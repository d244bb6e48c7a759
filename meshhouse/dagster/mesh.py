"""The assets of all domains, or of those that a run is about.

Belongs here: putting domains together, and keeping a broken one from hiding the others. Not here:
the assets of one domain (domain.py), or what a mesh starts by itself (orchestration/).
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from dagster._check import CheckError

from meshhouse import garbage
from meshhouse.dagster.broken import broken_asset
from meshhouse.dagster.domain import domain_assets, landing_assets
from meshhouse.dagster.reporter import Reporter, Silent
from meshhouse.dagster.settings import Settings
from meshhouse.errors import MeshError
from meshhouse.repository import Domain, Repository, broken_because, display_path
from meshhouse.runs.parse import parse_domains


def mesh_assets(
    repository: Repository, settings: Settings, domains: Sequence[str] | None = None
) -> list[dg.AssetsDefinition]:
    """The assets of these domains; a broken one is an asset that says what is wrong with it.

    Args:
        repository: the mesh.
        settings: how steps behave.
        domains: names; None for every domain.
    """
    garbage.look_seldom()
    # Another domain is not even read, except for what these domains refer to.
    named = repository.readings if domains is None else tuple(map(repository.reading, domains))
    parse_domains(repository, [each for each in named if not each.problems])
    return [asset for each in named for asset in _shown(repository, each, settings)]


def run_assets(
    repository: Repository, domains: list[str], settings: Settings, reporter: Reporter
) -> list[dg.AssetsDefinition]:
    """The assets of some domains.

    Raises:
        MeshError: a domain's dbt project does not parse.
    """
    return [
        asset
        for domain in repository.domains
        if domain.name in domains
        for asset in domain_assets(repository, domain, settings.without_pools(), reporter)
    ]


def _shown(repository: Repository, domain: Domain, settings: Settings) -> list[dg.AssetsDefinition]:
    """A domain's assets; one that is broken keeps no other from being shown."""
    if domain.problems:
        return [broken_asset(domain.name, broken_because(domain))]
    try:
        return domain_assets(repository, domain, settings, Silent())
    except MeshError as error:
        because = str(error).removeprefix(f"{domain.name}: ")
    # Dagster has rules about names and owners; a domain that breaks one must stop no other.
    except (dg.DagsterError, CheckError) as error:
        because = f"{display_path(domain.path / 'dbt_project.yml')}:1: {error}"
    # Landing needs no dbt, and the sensor on waiting events counts on its assets.
    landing = landing_assets(repository, domain, settings, Silent())
    return [*landing, broken_asset(domain.name, because)]
