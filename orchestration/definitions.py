"""The code location: everything that Dagster shows of the mesh."""

from __future__ import annotations

import dagster as dg

from meshhouse.repository import Repository
from orchestration.automation import automation
from orchestration.domain import Reporter, Silent, domain_assets


def definitions(
    repository: Repository,
    domains: list[str] | None = None,
    reporter: Reporter | None = None,
) -> dg.Definitions:
    """Definitions of the named domains (by default of all).

    Steps run one after another in one process: dbt and Soda are loaded once, and each
    step uses both cores by itself.
    """
    return dg.Definitions(
        assets=[
            asset
            for domain in repository.domains
            if domains is None or domain.name in domains
            for asset in domain_assets(repository, domain, reporter or Silent())
        ],
        executor=dg.in_process_executor,
        **(automation(repository) if domains is None else {}),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster dev -m orchestration.definitions` loads."""
    return definitions(Repository.find())
