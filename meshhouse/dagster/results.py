"""What a run of a domain made, as Dagster's materialisations.

Belongs here: the metadata of models and products. Not here: checks (checks.py, compatibility.py),
or the run itself (meshhouse/runs/).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import dagster as dg

from meshhouse.dagster.compatibility import summary
from meshhouse.dagster.consumers import Consumers
from meshhouse.dagster.promises import Promises
from meshhouse.engines import Engine
from meshhouse.governance.change import Verdict
from meshhouse.ledger import Head
from meshhouse.repository import Product
from meshhouse.runs.outcome import DomainRun


def unchanged_models(
    context: dg.AssetExecutionContext, specs: Iterable[dg.AssetSpec]
) -> Iterator[dg.MaterializeResult]:
    """One for each selected model that a run left as it is, with what is known of it.

    Without a result, Dagster skips downstream assets.
    """
    specs = [each for each in specs if each.key in context.selected_asset_keys]
    if not specs:
        return
    known = {}
    for record in context.instance.get_asset_records([each.key for each in specs]):
        newest = record.asset_entry.last_materialization
        if newest is not None and newest.asset_materialization is not None:
            known[record.asset_entry.asset_key] = newest.asset_materialization.metadata
    for spec in specs:
        metadata = {**known.get(spec.key, {}), "unchanged": True}
        yield dg.MaterializeResult(asset_key=spec.key, metadata=metadata)


RECORDED = "run in the ledger"
"""Metadata of a failure that the ledger knows; its owner hears of it from there."""


def recorded(run: DomainRun, is_run: bool) -> dict[str, Any]:
    """The run's identity in the ledger; nothing if it only built models."""
    return {RECORDED: run.run_id} if is_run else {}


def kept_logs(run: DomainRun) -> dict[str, Any]:
    """Where dbt's log, `run_results.json` and `manifest.json` of a run are."""
    return {"dbt's log and artifacts": dg.MetadataValue.path(run.logs)} if run.logs else {}


def product_results(
    selected: Collection[dg.AssetKey],
    engine: Engine,
    run: DomainRun,
    products: Mapping[dg.AssetKey, Product],
    consumers: Consumers,
    promises: Promises,
) -> Iterator[dg.MaterializeResult]:
    """One for each selected product of a run that went well.

    What a run found unchanged keeps its data version, so nothing downstream is stale.
    """
    published = {entry["product"]: entry for entry in run.published}
    for key, product in products.items():
        if key not in selected:
            continue
        entry = published.get(product.name)
        governed = {**consumers.metadata(product), **promises.metadata(product)}
        governed |= {**compatibility(product, run), **kept_logs(run)}
        if entry is None:
            yield _left(key, product, run, consumers.head(product), governed, engine.name)
        else:
            yield _published(key, entry, governed, engine.name)


def compatibility(product: Product, run: DomainRun) -> dict[str, Any]:
    """What the current publication of a product changed for consumers, after a run."""
    for each in run.judged:
        if each.relation == product.relation:
            changes = summary(each.as_entries())
            verdict, bump = str(each.verdict), str(each.bump)
            return {"verdict": verdict, "bump": bump, "changes for consumers": changes}
    if product.name in {entry["product"] for entry in run.published}:
        return {"bump": "first publication"}
    if product.name not in run.standing_changes:
        return {}
    standing = run.standing_changes[product.name]
    verdicts = [Verdict[each["verdict"].upper()] for each in standing]
    worst = max(verdicts, default=Verdict.HARMLESS)
    return {"verdict": str(worst), "changes for consumers": summary(standing)}


def _left(
    key: dg.AssetKey,
    product: Product,
    run: DomainRun,
    head: Head | None,
    governed: Mapping[str, Any],
    target: str,
) -> dg.MaterializeResult:
    """A product that the run left as it is, with the figures of what consumers see."""
    metadata: dict[str, Any] = {
        "unchanged": True,
        "outcome": run.products.get(product.name, "unchanged"),
        **({"because": because} if (because := run.reasons.get(product.name)) else {}),
        "target": target,
        **governed,
    }
    if head is None:
        return dg.MaterializeResult(asset_key=key, metadata=metadata)
    snapshot = str(head.snapshot_id)
    metadata |= {"dagster/row_count": head.rows, "bytes": head.bytes, "snapshot_id": snapshot}
    metadata |= {"score": float(head.score)} if head.score is not None else {}
    if head.published_at is not None:
        metadata["published at"] = dg.MetadataValue.timestamp(head.published_at)
    return dg.MaterializeResult(
        asset_key=key, metadata=metadata, data_version=dg.DataVersion(snapshot)
    )


def _published(
    key: dg.AssetKey, entry: Mapping[str, Any], governed: Mapping[str, Any], target: str
) -> dg.MaterializeResult:
    inputs = entry["input_snapshots"].items()
    return dg.MaterializeResult(
        asset_key=key,
        metadata={
            "dagster/row_count": entry["rows"],
            "bytes": entry["bytes"],
            "snapshot_id": str(entry["snapshot_id"]),
            "input_snapshots": {relation: str(snapshot) for relation, snapshot in inputs},
            "score": float(entry["score"]),
            "target": target,
            "unchanged": False,
            **governed,
        },
        data_version=dg.DataVersion(str(entry["snapshot_id"])),
    )
