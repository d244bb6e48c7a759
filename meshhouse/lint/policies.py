"""Findings of the federation's policies.

Belongs here: how breaches, failed rules and unused waivers become findings. Not here: the rules
(governance/policies/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from meshhouse.governance.contract import Contract
from meshhouse.governance.policies.evaluation import Evaluation, Federation
from meshhouse.lint.finding import Finding
from meshhouse.repository import Domain, Repository
from meshhouse.repository.policies import ERROR


class DomainPolicies:
    """The policies of a repository, and each domain's evaluation, computed once."""

    def __init__(
        self, repository: Repository, published: Mapping[str, Contract] | None = None
    ) -> None:
        """Reads `policies.yml`.

        Args:
            repository: whose policies.
            published: published relation -> its current contract, where a ledger was read.
        """
        self._federation = Federation(repository, datetime.now(UTC).date(), published)
        self._evaluated: dict[str, Evaluation] = {}

    def in_file(self) -> Iterator[Finding]:
        """What is wrong in `policies.yml`. It stops no run: the file belongs to no domain."""
        for each in self._federation.problems:
            yield Finding(each.path, each.line, each.problem, each.remedy)

    def errors(self, domain: Domain) -> Iterator[Finding]:
        """Broken rules that stop a run of the domain."""
        for finding in self._broken(domain):
            if not finding.is_warning:
                yield finding

    def others(self, domain: Domain) -> Iterator[Finding]:
        """Warnings, rules in Python that failed, and waivers of policies that cover nothing."""
        yield from (each for each in self._broken(domain) if each.is_warning)
        for each in self._evaluation(domain).problems:
            yield Finding(each.path, each.line, each.problem, each.remedy)

    def _broken(self, domain: Domain) -> Iterator[Finding]:
        for each in self._evaluation(domain).broken:
            breach = each.breach
            yield Finding(
                breach.path,
                breach.line,
                breach.problem,
                each.remedy,
                "" if each.is_core else each.rule,
                each.severity != ERROR,
            )

    def _evaluation(self, domain: Domain) -> Evaluation:
        if domain.name not in self._evaluated:
            self._evaluated[domain.name] = self._federation.evaluate(domain)
        return self._evaluated[domain.name]
