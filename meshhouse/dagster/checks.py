"""Asset checks of one domain: dbt's tests and Soda's checks.

Belongs here: what is checked, and how an outcome is shown. Not here: who runs the checks
(meshhouse/runs/, meshhouse/audit/), or the check of rejected events (landing.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from meshhouse.audit import declared_checks
from meshhouse.dagster.translator import CheckSpec, MeshTranslator, safe_name
from meshhouse.dbt import NodeResult
from meshhouse.markdown import fenced
from meshhouse.repository import Domain
from meshhouse.repository.manifest import Manifest
from meshhouse.runs.outcome import DomainRun


def dbt_check_specs(
    manifest: Manifest, translator: MeshTranslator, models: dict[str, dg.AssetSpec]
) -> dict[str, dg.AssetCheckSpec]:
    """Dbt's unique id -> check, for data tests and unit tests."""
    specs: dict[str, dg.AssetCheckSpec] = {}
    for identifier, node in manifest.nodes.items():
        if node["resource_type"] != "test":
            continue
        parent = _tested(node)
        if parent in models:
            specs[identifier] = translator.check_spec(identifier, models[parent].key)
    names = {spec.key for spec in specs.values()}
    for identifier, node in manifest.content["unit_tests"].items():
        for parent in node["depends_on"]["nodes"]:
            if parent in models:
                name = safe_name(f"unit_test_{node['name']}")
                while dg.AssetCheckKey(models[parent].key, name) in names:  # a data test has it
                    name = f"unit_{name}"
                specs[identifier] = CheckSpec(
                    name,
                    asset=models[parent].key,
                    description=node.get("description") or "dbt unit test",
                    blocking=True,
                )
                break
    return specs


def _tested(node: Mapping[str, Any]) -> str | None:
    """Unique id of the model on which a data test is shown: the one it is about, or reads alone."""
    parents = set(node["depends_on"]["nodes"])
    return next(iter(parents)) if len(parents) == 1 else node.get("attached_node")


def soda_check_specs(domain: Domain) -> list[dg.AssetCheckSpec]:
    """The checks of each product's checks file, and those that the platform adds."""
    return [
        CheckSpec(
            key, asset=dg.AssetKey([domain.name, product.name]), description=about, blocking=True
        )
        for product in domain.products
        if product.checks_path.exists()
        for key, about in declared_checks(product).items()
    ]


def check_results(
    context: dg.AssetExecutionContext,
    run: DomainRun,
    specs: dict[str, dg.AssetCheckSpec],
    domain: Domain,
) -> Iterator[dg.AssetCheckResult]:
    """The outcome of every selected check in a run, or of the check that it passed before."""
    selected = context.selected_asset_check_keys
    ran = {node.unique_id: node for node in run.nodes}
    for identifier, spec in specs.items():
        node = ran.get(identifier)
        if spec.key not in selected:
            continue
        if node is not None and node.status != "skipped":
            yield _dbt_check(spec, node)
        elif node is None and (ran or run.ok):  # left out: it stands as it passed before
            yield dg.AssetCheckResult(
                passed=True,
                asset_key=spec.asset_key,
                check_name=spec.name,
                metadata={"unchanged": True},
            )
    checks = {each.product.name: result.as_json() for each, result in run.audited}
    for name, results in {**run.standing_checks, **checks}.items():
        asset = dg.AssetKey([domain.name, name])
        for check in results:
            if dg.AssetCheckKey(asset, check["key"]) in selected:
                yield _soda_check(asset, check)


def _dbt_check(spec: dg.AssetCheckSpec, node: NodeResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=node.status == "pass",
        asset_key=spec.asset_key,
        check_name=spec.name,
        severity=dg.AssetCheckSeverity.WARN
        if node.status == "warn"
        else dg.AssetCheckSeverity.ERROR,
        metadata={"failures": node.failures or 0, "seconds": node.seconds, "message": node.message},
    )


def _soda_check(asset: dg.AssetKey, check: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=check["outcome"] == "passed",
        asset_key=asset,
        check_name=check["key"],
        severity=dg.AssetCheckSeverity.WARN
        if check["outcome"] == "warned"
        else dg.AssetCheckSeverity.ERROR,
        metadata={
            "found": "nothing" if check["value"] is None else check["value"],
            "allowed": check["threshold"],
            "outcome": check["outcome"],
        },
    )


def samples(run: DomainRun) -> dict[str, Any]:
    """Sample rows of failed checks, one line each."""
    return {
        f"{candidate.product.name} {check.key}": dg.MetadataValue.md(as_code(check.samples))
        for candidate, result in run.audited
        for check in result.checks
        if check.samples
    }


def as_code(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a block of Markdown code, one line each."""
    return fenced(str(dict(row)) for row in rows)  # a value's repr has no control characters
