"""What `mesh check` finds in a domain, as the reason why a run publishes nothing of it.

Belongs here: the line that says why. Not here: the rules, and which of them stop a run
(rules.py, features.py), or when a run asks (runs.py).
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
    """Stops whoever is about to publish from a domain that has findings.

    The whole domain stops: its products are published together.

    Args:
        repository: where the domain is declared.
        domain: which one.
        manifest: what dbt has read of it, if the project parses.
        said: why it does not parse; nothing is added where this names a finding already.

    Raises:
        MeshError: there are findings; the message is those of `mesh check`.
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
