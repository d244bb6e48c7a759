"""The rules of the federation, and how the declarations keep them.

Belongs here: findings of policies as facts. Not here: the rules (governance/policies/), or other
findings of `mesh check` (lint/).
"""

from __future__ import annotations

from meshhouse.catalog.documents import FindingFacts, PolicyFacts, RuleFacts
from meshhouse.catalog.gather.known import Sources
from meshhouse.governance.policies.catalogue import RULES
from meshhouse.lint import Finding
from meshhouse.lint.policies import DomainPolicies
from meshhouse.repository import printable
from meshhouse.repository.policies import OFF, read_policies


def policies_of(sources: Sources) -> PolicyFacts:
    """Every rule that `policies.yml` names, and what the domains break of them."""
    repository = sources.repository
    declared = read_policies(repository.root)
    rules = [
        RuleFacts(each.name, each.severity, RULES[each.name].demands)
        for each in declared.rules.values()
        if each.name in RULES and each.severity != OFF
    ]
    rules += [
        RuleFacts(each.file, each.severity, "A rule of this federation, written in Python.")
        for each in declared.own
        if each.severity != OFF
    ]
    published = {
        each.relation: each.contract for each in sources.products if each.contract is not None
    }
    judged = DomainPolicies(repository, published)
    found = {*judged.in_file()}
    for domain in repository.readings:
        found.update(judged.errors(domain))
        found.update(judged.others(domain))
    return PolicyFacts(tuple(rules), tuple(_finding(each, sources) for each in sorted(found)))


def _finding(finding: Finding, sources: Sources) -> FindingFacts:
    return FindingFacts(
        file=sources.without_places(printable(str(finding.path))),
        line=finding.line,
        rule=finding.rule,
        severity="warn" if finding.is_warning else "error",
        problem=sources.without_places(finding.problem),
        remedy=finding.remedy,
    )
