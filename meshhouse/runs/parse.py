"""A domain that can be run: its manifest is fresh, and `mesh check` finds no mistake in it.

Belongs here: when dbt parses a project, and which findings stop a build. Not here: how dbt is
called (meshhouse/dbt/), or the rules of `mesh check` (meshhouse/lint/).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from meshhouse import dbt, garbage
from meshhouse.dbt.packages import install_packages
from meshhouse.errors import MeshError
from meshhouse.locks import lock
from meshhouse.processes import in_processes, jobs_by_default
from meshhouse.repository import Domain, Repository
from meshhouse.repository.manifest import Manifest
from meshhouse.repository.manifest_file import is_fresh, manifest_path, mark_fresh, target_folder
from meshhouse.repository.project import project_fingerprint

_MIB_OF_A_PARSE = 250
"""Memory of a process that parses; 200 MiB for a domain of ten products."""


def parse_domains(repository: Repository, domains: Iterable[Domain], jobs: int = 0) -> None:
    """Parses the domains that need it, several at once, so that `fresh_manifest` finds them ready.

    A domain that does not parse is left to `fresh_manifest`, which says why.

    Args:
        repository: the mesh.
        domains: the domains in question.
        jobs: most processes at once; 0 for as many as cores and memory allow.
    """
    stale = [each.name for each in domains if not is_fresh(repository, each)]
    jobs = min(jobs or jobs_by_default(_MIB_OF_A_PARSE), len(stale))
    # Loading dbt in other processes costs as much as parsing three domains here.
    if jobs < 2 or len(stale) < 4 or repository.shared_problems:
        return
    in_processes([__name__, str(repository.root)], stale, jobs)


def _parse_what_is_named() -> None:
    """The work of a process: domains come on standard input, one a line."""
    garbage.look_seldom()
    dbt.keep_parsed_macros()
    root = Path(sys.argv[1])
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may look like an answer
    for line in sys.stdin:
        repository = Repository(root)
        with suppress(MeshError):
            fresh_manifest(repository, repository.domain(line.rstrip("\n")))
        print(flush=True, file=answers)


def fresh_manifest(repository: Repository, domain: Domain) -> Manifest:
    """The domain's manifest; dbt parses the project only if something of it changed.

    Raises:
        MeshError: the project does not parse.
    """
    if not is_fresh(repository, domain):
        for problem in repository.shared_problems:
            raise problem  # every domain is built with these files
        folder = target_folder(repository, domain.name)
        if folder.exists() and not os.access(folder, os.W_OK):
            raise MeshError(
                f"{domain.name}: its manifest is older than its files or was made with other "
                f"variables, and {folder} is read-only. Run `mesh prepare` where the checkout is "
                "built, with the variables that are set here."
            )
        with lock(repository.workspace / "locks" / f"{domain.name}.parse"):
            if not is_fresh(repository, domain):
                manifest_path(repository, domain.name).unlink(missing_ok=True)
                install_packages(repository, domain.name)
                fingerprint = project_fingerprint(repository, domain)
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


if __name__ == "__main__":
    _parse_what_is_named()
