"""Asset checks of one domain: dbt's tests and Soda's checks.

Belongs here: what is checked, and how an outcome is shown. Not here: who runs the checks
(meshhouse/runs/, meshhouse/audit/), or the check of rejected events (landing.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from meshhouse.audit import declared_checks
from meshhouse.dagster.consumers import Consumers
from meshhouse.dagster.keys import product_key
from meshhouse.dagster.translator import CheckSpec, MeshTranslator, safe_name
from meshhouse.dbt.watch import NodeResult
from meshhouse.engines import Candidate
from meshhouse.markdown import fenced
from meshhouse.repository import Domain, printable
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
        CheckSpec(key, asset=product_key(product), description=about, blocking=True)
        for product in domain.products
        for key, about in declared_checks(product).items()
    ]


def check_results(
    context: dg.AssetExecutionContext,
    run: DomainRun,
    specs: Mapping[str, dg.AssetCheckSpec],
    manifest: Manifest,
    domain: Domain,
    consumers: Consumers,
) -> Iterator[Any]:
    """The outcome of every selected check in a run, or what it was before for one left out.

    Args:
        context: of the step.
        run: what it did.
        specs: dbt's unique id -> check, of the tests that are not recorded yet.
        manifest: the domain's.
        domain: whose checks they are.
        consumers: what consumers see after the run.
    """
    selected = context.selected_asset_check_keys
    ran = {node.unique_id: node for node in run.nodes}
    for identifier, spec in specs.items():
        node = ran.get(identifier)
        if spec.key not in selected:
            continue
        if node is not None and node.status != "skipped":
            yield dbt_check(spec, node)
        elif node is None and (ran or run.ok):
            yield _as_before(context.instance, spec, manifest.nodes.get(identifier, {}))
    for name, results in run.standing_checks.items():
        asset = dg.AssetKey([domain.name, name])
        for check in results:
            if dg.AssetCheckKey(asset, check["key"]) in selected:
                yield soda_check(asset, check, {"unchanged": True, **_standing(run, name)})
    for candidate, result in run.audited:
        asset = product_key(candidate.product)
        found = [
            soda_check(asset, check, {} if run.ok else about_candidate(candidate, consumers))
            for check in result.with_samples()
            if dg.AssetCheckKey(asset, check["key"]) in selected
        ]
        yield from found if run.ok else of_no_materialization(context, found)


def _as_before(
    instance: dg.DagsterInstance, spec: dg.AssetCheckSpec, node: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """What a test that a run left out has found before.

    A test that fails stops a publication, so one of an unchanged product passed, or it warned. Only
    Dagster's record knows which. It is asked for tests that can warn, at two queries each.
    """
    warned = None
    config = node.get("config", {})
    if config.get("severity") == "warn" or config.get("warn_if") != config.get("error_if"):
        records = instance.event_log_storage.get_asset_check_summary_records([spec.key])
        last = records[spec.key].last_completed_check_execution_record
        if last is not None and last.evaluation is not None and not last.evaluation.passed:
            warned = last.evaluation
    return dg.AssetCheckResult(
        passed=warned is None,
        asset_key=spec.asset_key,
        check_name=spec.name,
        severity=warned.severity if warned else dg.AssetCheckSeverity.ERROR,
        metadata={**(warned.metadata if warned else {}), "unchanged": True},
    )


def of_no_materialization(
    context: dg.AssetExecutionContext, results: Iterable[dg.AssetCheckResult]
) -> Iterator[Any]:
    """Results of checks on what is not published.

    Dagster takes a yielded result for one of the newest materialization, which is what consumers
    see. A candidate that was rejected would make that look bad.
    """
    layer = context.op_execution_context.get_step_execution_context().job_def.asset_layer
    for each in results:
        assert each.asset_key is not None
        assert each.check_name is not None
        yield dg.AssetCheckEvaluation(
            asset_key=each.asset_key,
            check_name=each.check_name,
            passed=each.passed,
            metadata=each.metadata,
            severity=each.severity,
            description=each.description,
            blocking=False,  # the step fails itself, with a sentence
        )
        key = dg.AssetCheckKey(each.asset_key, each.check_name)
        yield dg.Output(None, output_name=layer.get_op_output_name(key))


def about_candidate(candidate: Candidate, consumers: Consumers) -> dict[str, Any]:
    """Metadata that keeps a candidate apart from what consumers see."""
    rows = f"{candidate.rows:,} {'row' if candidate.rows == 1 else 'rows'}"
    return {
        "checked": f"the candidate of {rows}, which is not published",
        "consumers see": consumers.see(candidate.product.relation),
    }


def dbt_check(spec: dg.AssetCheckSpec, node: NodeResult) -> dg.AssetCheckResult:
    """The outcome of a test of dbt."""
    return dg.AssetCheckResult(
        passed=node.status == "pass",
        asset_key=spec.asset_key,
        check_name=spec.name,
        severity=dg.AssetCheckSeverity.WARN
        if node.status == "warn"
        else dg.AssetCheckSeverity.ERROR,
        metadata={"failures": node.failures or 0, "seconds": node.seconds, "message": node.message},
    )


def soda_check(
    asset: dg.AssetKey, check: Mapping[str, Any], facts: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """The outcome of a check of Soda.

    Args:
        asset: the product.
        check: as the ledger has it; a failed one may have `samples`.
        facts: what else is known.
    """
    samples = check.get("samples")
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
            **facts,
            **({"failing rows": rows_table(samples)} if samples else {}),
        },
    )


def rows_table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Rows, whose personal data the audit has masked, as Dagster shows a table."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: _cell(row.get(name)) for name in columns}) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name) for name in columns]),
    )


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | int | float | bool):
        return printable(value) if isinstance(value, str) else value
    return printable(str(value))


def _standing(run: DomainRun, product: str) -> dict[str, str]:
    reason = run.reasons.get(product)
    return {"because": reason} if reason else {}


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
