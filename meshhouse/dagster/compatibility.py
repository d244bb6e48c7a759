"""The asset check of each product that says what a run changes for its consumers.

Belongs here: how a judgement is shown as a check, and what a refused step says. Not here: judging
(meshhouse/governance/), or what consumers see now (consumers.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import dagster as dg

from meshhouse.dagster.consumers import Consumers
from meshhouse.dagster.keys import product_key
from meshhouse.dagster.translator import CheckSpec
from meshhouse.engines import Engine
from meshhouse.errors import MeshError
from meshhouse.governance.report import Judged, in_short
from meshhouse.markdown import code, plain, sentence, table
from meshhouse.repository import Domain, Product, Repository
from meshhouse.runs.outcome import DomainRun

CHECK = "compatibility"
"""The name of the check. Names of Soda's checks end with their type, so none is called so."""

_UNJUDGED = "Not judged, because the run failed before. Consumers keep what they had."
_FIRST = "Nothing to compare with: it was never published with a contract before."


def compatibility_specs(domain: Domain) -> list[dg.AssetCheckSpec]:
    """One check for each product of a domain."""
    return [
        CheckSpec(
            CHECK,
            asset=product_key(product),
            description="No consumer is surprised: what changes since the current publication is "
            "allowed within the version, waived or confirmed.",
            blocking=True,
        )
        for product in domain.products
    ]


def compatibility_results(
    selected: Collection[dg.AssetCheckKey], domain: Domain, run: DomainRun, consumers: Consumers
) -> Iterator[dg.AssetCheckResult]:
    """The outcome of every selected check.

    A product that the run did not judge, because it failed before, has a warning that says so.
    Without an outcome, Dagster would show the check as failed.

    Args:
        selected: the checks that Dagster asks for.
        domain: whose products they are.
        run: what the run did.
        consumers: what consumers see after the run.
    """
    judged = {each.relation: each for each in run.judged}
    published = {entry["product"] for entry in run.published}
    for product in domain.products:
        relation = product.relation
        if dg.AssetCheckKey(product_key(product), CHECK) not in selected:
            continue
        if relation in judged:
            yield _judged(product, judged[relation], run.ok, consumers)
        elif product.name in run.standing_changes:
            yield _unchanged(product, run.standing_changes[product.name])
        elif product.name in published:
            yield _result(product, True, _FIRST)
        elif not run.ok and product.name in run.covered:
            facts = {"consumers see": consumers.see(product.relation)}
            yield _result(product, False, _UNJUDGED, facts, dg.AssetCheckSeverity.WARN)


def declared_results(
    selected: Collection[dg.AssetCheckKey],
    repository: Repository,
    engine: Engine,
    domain: Domain,
    consumers: Consumers,
) -> Iterator[dg.AssetCheckResult]:
    """The outcome of every selected check, of what is declared now beside what is published.

    Nothing is built, so only a run compares figures.

    Args:
        selected: the checks that Dagster asks for.
        repository: where the domain is declared.
        engine: the target in use.
        domain: whose products they are.
        consumers: what consumers see.

    Raises:
        MeshError: the domain cannot be compared.
    """
    products = [
        each for each in domain.products if dg.AssetCheckKey(product_key(each), CHECK) in selected
    ]
    if not products:
        return
    # Loads a parser of SQL, which takes 0.3 s: only where it is asked for.
    from meshhouse.runs.diff import declared_difference

    found = declared_difference(repository, engine, [each.relation for each in products])
    for message in found.broken.values():
        raise MeshError(message)
    judged = {each.relation: each for each in found.judged}
    for product in products:
        if product.relation in judged:
            allowed = bool(repository.environment)
            yield _judged(product, judged[product.relation], allowed, consumers)
        elif product.relation in found.unchanged:
            facts = {"consumers see": consumers.see(product.relation)}
            yield _result(product, True, "What is declared changes nothing for consumers.", facts)
        elif product.relation in (*found.new, *found.without_contract):
            yield _result(product, True, _FIRST)
        # What dbt builds as no product is withheld, and is not judged.


def refusal_of(run: DomainRun, consumers: Consumers) -> str:
    """Why nothing was published: one sentence for each refused product, without the ways out.

    Empty if no change was refused, or if checks failed: then the run's message has the reason.
    """
    if not all(result.passed for _, result in run.audited):
        return ""
    return " ".join(
        f"{sentence(in_short(each))}; {consumers.keep(each.relation)}."
        for each in run.judged
        if each.outcome.refused
    )


def refusal_metadata(run: DomainRun, consumers: Consumers) -> dict[str, Any]:
    """Product -> what consumers keep, and the refused changes with their ways out."""
    found: dict[str, Any] = {}
    for candidate, _ in run.audited:
        relation = candidate.product.relation
        found[relation] = consumers.keep(relation)
    for each in run.judged:
        if each.outcome.refused:
            found[f"{each.relation} changes"] = dg.MetadataValue.md(_candidate_table(each))
    return found


def _judged(
    product: Product, judged: Judged, allowed: bool, consumers: Consumers
) -> dg.AssetCheckResult:
    """The judgement on a candidate; `allowed` is whether it was published in spite of it."""
    facts: dict[str, Any] = {
        "verdict": str(judged.verdict),
        "bump": str(judged.bump),
        "consumers see" if allowed else "consumers keep": consumers.see(product.relation),
    }
    if judged.as_entries():  # more than harmless ones
        facts["changes"] = dg.MetadataValue.md(_candidate_table(judged))
    if not judged.outcome.refused:
        return _result(product, True, summary(judged.as_entries()), facts)
    if allowed:  # an environment has no consumers: a change can be tried there
        return _result(product, False, f"Production would refuse: {in_short(judged)}.", facts,
                       dg.AssetCheckSeverity.WARN)  # fmt: skip
    return _result(product, False, f"{in_short(judged)}.", facts)


def _unchanged(product: Product, changes: list[dict[str, Any]]) -> dg.AssetCheckResult:
    facts: dict[str, Any] = {"unchanged": True}
    if changes:
        facts["changes"] = dg.MetadataValue.md(_published_table(changes))
    since = f"Its current publication: {summary(changes)}" if changes else ""
    return _result(product, True, f"The product is unchanged. {since}".strip(), facts)


def _result(
    product: Product,
    passed: bool,
    said: str,
    facts: Mapping[str, Any] | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=passed,
        asset_key=product_key(product),
        check_name=CHECK,
        severity=severity,
        description=sentence(said),
        metadata=facts or {},
    )


def summary(changes: list[dict[str, Any]]) -> str:
    """What changes for consumers, in one sentence; `changes` are those of the ledger."""
    kinds = Counter(
        each["verdict"] if each["allowed_by"] is None else "waived or confirmed" for each in changes
    )
    # An environment publishes also what production would refuse.
    parts = [
        f"{kinds[kind]} {kind} {'change' if kinds[kind] == 1 else 'changes'}"
        for kind in ("minor", "breaking", "forbidden", "waived or confirmed")
        if kinds[kind]
    ]
    return f"{' and '.join(parts)} for consumers." if parts else "Nothing changes for consumers."


def _candidate_table(judged: Judged) -> str:
    """Every change of a candidate, with the ways out of those that are refused."""
    facts = judged.as_json()
    return table(
        ["verdict", "change", "readers", "way out"],
        [
            [
                f"{each['verdict']}{' (silent)' if each['silent'] else ''}",
                plain(f"{each['what']} {each['effect']}"),
                _cell([f"{hit['column']} of {hit['owner']}" if hit["owner"] else hit["column"]
                       for hit in each["hits"]]),
                " or ".join(map(code, each["ways_out"])) or _by(each["allowed_by"]),
            ]
            for each in facts["changes"]
            if each["verdict"] != "harmless"
        ],
    )  # fmt: skip


def _published_table(changes: list[dict[str, Any]]) -> str:
    """The changes of a publication, as the ledger has them."""
    return table(
        ["verdict", "change", "readers", "allowed by"],
        [
            [each["verdict"], plain(each["what"]), _cell(each["hits"]), _by(each["allowed_by"])]
            for each in changes
        ],
    )


def _cell(names: list[str]) -> str:
    return ", ".join(map(plain, names)) or "-"


def _by(allowed: Mapping[str, Any] | None) -> str:
    return plain(f"{allowed['place']}: {allowed['why']}") if allowed else "-"
