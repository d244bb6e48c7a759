"""Stops a run of a domain in which `mesh check` finds mistakes.

Belongs here: the error with its reason. Not here: the rules, and which of them stop a run
(rules.py, features.py), or when a run calls this (runs/run.py).
"""

from __future__ import annotations

from meshhouse.errors import MeshError
from meshhouse.lint.features import manifest_findings
from meshhouse.lint.rules import refused
from meshhouse.repository import Domain, Repository
from meshhouse.repository.manifest import Manifest

_SHOWN = 5


def refuse_findings(
    repository: Repository, domain: Domain, manifest: Manifest | None, said: str = ""
) -> None:
    """Raises if a domain must not be published because of findings.

    One finding stops the whole domain, because its products are published together.

    Args:
        repository: where the domain is declared.
        domain: the domain to be published.
        manifest: dbt's manifest of the domain; None if the project does not parse.
        said: dbt's error if the project does not parse. If it already contains one of the
            findings, nothing is raised.

    Raises:
        MeshError: there are findings; the message lists those of `mesh check`.
    """
    found = refused(repository, domain)
    if manifest is not None and not found:
        found = manifest_findings(domain, manifest)
    if found and not any(each.problem in said for each in found):
        shown = " ".join(str(each) for each in found[:_SHOWN])
        more = len(found) - _SHOWN
        raise MeshError(
            f"Nothing of {domain.name} is published while `mesh check` finds a mistake in it; "
            f"consumers keep what they had. {shown}"
            + (f" And {more} more: run `mesh check`." if more > 0 else "")
        )
