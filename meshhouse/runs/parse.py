"""A domain that can be run: its manifest is fresh, and `mesh check` finds no mistake in it.

Belongs here: when dbt parses a project, and which findings stop a build. Not here: how dbt is
called (meshhouse/dbt/), or the rules of `mesh check` (meshhouse/lint/).
"""

from __future__ import annotations

from meshhouse import dbt
from meshhouse.locks import lock
from meshhouse.repository import Domain, Repository
from meshhouse.repository.manifest import Manifest, is_fresh, manifest_path, mark_fresh
from meshhouse.repository.project import project_fingerprint


def fresh_manifest(repository: Repository, domain: Domain) -> Manifest:
    """The domain's manifest; dbt parses the project only if something of it changed.

    Raises:
        MeshError: the project does not parse.
    """
    if not is_fresh(repository, domain):
        for problem in repository.shared_problems:
            raise problem  # every domain is built with these files
        with lock(repository.workspace / "locks" / f"{domain.name}.parse"):
            if not is_fresh(repository, domain):
                fingerprint = project_fingerprint(repository, domain)
                manifest_path(repository, domain.name).unlink(missing_ok=True)
                try:
                    dbt.parse(repository, domain.name)
                except dbt.DbtFailed as error:
                    # dbt itself names neither line nor remedy.
                    refuse_findings(repository, domain, said=str(error))
                    raise
                mark_fresh(repository, domain, fingerprint)
    return Manifest(repository, domain)


def refuse_findings(
    repository: Repository, domain: Domain, manifest: Manifest | None = None, said: str = ""
) -> None:
    """See `meshhouse.lint.refusal`, which loads a parser of SQL: only for who builds."""
    from meshhouse.lint import refusal

    refusal.refuse_findings(repository, domain, manifest, said)
