"""Waivers for the rules of a mesh that an imported project does not keep yet.

Belongs here: one waiver for each rule and product, with an end. Not here: the rules
(governance/policies/), or the file (repository/new_waivers.py).

A mesh may demand what no dbt project has, such as a promise of freshness. With waivers an import
publishes at once, and the owner answers for each exception until its date.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from meshhouse.governance.policies.evaluation import Broken, Federation
from meshhouse.repository import Domain, Repository
from meshhouse.repository.new_waivers import add_waiver
from meshhouse.repository.policies import ERROR

_DAYS = 30


def waive_what_is_missing(
    repository: Repository, domain: Domain, owner: str, project: str, today: date
) -> list[str]:
    """Writes waivers.yml of a domain, and returns what to tell a person about it.

    Args:
        repository: with the policies of the mesh.
        domain: the new domain.
        owner: name and address of who answers for the exceptions.
        project: the name that the project had.
        today: the day in UTC.
    """
    broken = Federation(repository, today).evaluate(domain).broken
    waived = list(dict.fromkeys(_waivable(broken, domain)))
    until = today + timedelta(days=_DAYS)
    for rule, subject in sorted(waived, key=lambda each: (each[1], each[0])):
        add_waiver(
            domain.path,
            {
                "policy": rule,
                "product": subject,
                "why": f"Imported from the dbt project {project} on {today}.",
                "owner": owner,
                "until": until,
            },
        )
    if not waived:
        return []
    rules = ", ".join(sorted({rule for rule, _ in waived}))
    return [
        f"Rules of this mesh that the project does not keep yet have waivers until {until}: "
        f"{rules}. Do what they demand, and remove the waivers from waivers.yml."
    ]


def _waivable(broken: tuple[Broken, ...], domain: Domain) -> Iterator[tuple[str, str]]:
    """Rule and subject of each breach that a waiver may cover; a product covers its columns."""
    products = sorted((each.relation for each in domain.products), key=len, reverse=True)
    for each in broken:
        if each.severity == ERROR and not each.is_core:
            subject = each.breach.subject
            of_product = (one for one in products if f"{subject}.".startswith(f"{one}."))
            yield each.rule, next(of_product, subject)
