"""The code location: everything that Dagster shows of the mesh."""

from __future__ import annotations

import dagster as dg
from dagster._check import CheckError

from meshhouse.dagster.broken import broken_asset
from meshhouse.dagster.domain import Reporter, Silent, domain_assets, landing_assets
from meshhouse.errors import MeshError
from meshhouse.repository import Domain, Repository, broken_because, display_path
from orchestration.automation import automation


def definitions(
    repository: Repository,
    domains: list[str] | None = None,
    reporter: Reporter | None = None,
) -> dg.Definitions:
    """Definitions of the named domains (by default of all).

    Steps run one after another in one process: dbt and Soda are loaded once, and each
    step uses both cores by itself.

    Of all domains, one that is broken is an asset that says so. Named domains must be whole.

    Raises:
        MeshError: a named domain's dbt project does not parse.
    """
    if domains is None:
        assets = [each for domain in repository.readings for each in _shown(repository, domain)]
        return dg.Definitions(
            assets=assets, executor=dg.in_process_executor, **automation(repository)
        )
    return dg.Definitions(
        assets=[
            asset
            for domain in repository.domains
            if domain.name in domains
            for asset in domain_assets(repository, domain, reporter or Silent())
        ],
        executor=dg.in_process_executor,
    )


def _shown(repository: Repository, domain: Domain) -> list[dg.AssetsDefinition]:
    """A domain's assets; one that is broken keeps no other from being shown."""
    if domain.problems:
        return [broken_asset(domain.name, broken_because(domain))]
    try:
        return domain_assets(repository, domain, Silent())
    except MeshError as error:
        because = str(error).removeprefix(f"{domain.name}: ")
    # Dagster has rules about names and owners; a domain that breaks one must stop no other.
    except (dg.DagsterError, CheckError) as error:
        because = f"{display_path(domain.path / 'dbt_project.yml')}:1: {error}"
    # Landing needs no dbt, and the sensor on waiting events counts on its assets.
    return [*landing_assets(repository, domain, Silent()), broken_asset(domain.name, because)]


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster dev -m orchestration.definitions` loads."""
    return definitions(Repository.find())
