"""Findings of `mesh check` about what is published: changes that a run would refuse.

Belongs here: which domains `mesh check` compares with what consumers see, and their findings. Not
here: the comparison (diff.py), or rules that need no ledger (lint/).

A domain is rendered only if the code of a product differs from the published code.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from meshhouse.engines import engine
from meshhouse.governance.report import refusals
from meshhouse.ledger import Ledger
from meshhouse.lint import Finding
from meshhouse.repository import ROOT_DOMAIN, Repository


def published_findings(
    repository: Repository, others: Collection[Finding]
) -> tuple[list[Finding], list[str]]:
    """Compares every domain that has published something and has no other findings.

    Args:
        repository: what is declared.
        others: findings of the other rules.

    Returns:
        The findings; and what could not be compared, which is not the fault of a declaration.
    """
    try:
        chosen = engine(repository)
        published = _publishing(chosen.ledger)
    # A ledger can be damaged or unreachable in as many ways as there are libraries below it, and
    # none of them is a reason not to check the declarations.
    except Exception as error:  # noqa: BLE001
        said = " ".join(str(error).split()) or type(error).__name__
        return [], [f"Nothing was compared with what is published: {said}"]
    if not published:
        return [], []
    faulty = {_domain_of(repository, each.path) for each in others if not each.is_warning}
    faulty |= {domain.name for domain in repository.broken}
    targets = sorted(published - faulty)
    if not targets:
        return [], []
    # Imported here because it imports dbt, which takes seconds: not where nothing is published.
    from meshhouse.runs.diff import declared_difference

    found = declared_difference(repository, chosen, targets)
    findings = [
        Finding(repository.root / judged.file, judged.line, problem, remedy)
        for judged in found.judged
        for problem, remedy in refusals(judged)
    ]
    notices = [
        f"{name} was not compared with what is published: {because}"
        for name, because in found.broken.items()
    ]
    return findings, notices


def _publishing(ledger: Ledger) -> set[str]:
    """The domains of which consumers see something."""
    heads = (ledger.production or ledger).heads(documents=False)
    return {head.domain for head in heads.values() if head.is_published}


def _domain_of(repository: Repository, path: Path) -> str:
    """The domain whose folder holds a file."""
    for name in repository.domain_names:
        if name != ROOT_DOMAIN and path.is_relative_to(repository.folder(name)):
            return name
    return ROOT_DOMAIN
