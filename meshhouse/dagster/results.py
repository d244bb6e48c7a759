"""What a run of a domain made, as Dagster's materialisations.

Belongs here: the metadata of models and products. Not here: checks (checks.py, compatibility.py),
or the run itself (meshhouse/runs/).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import dagster as dg

from meshhouse.dagster.consumers import Consumers
from meshhouse.dagster.keys import built_table
from meshhouse.dagster.promises import Promises
from meshhouse.engines import Engine
from meshhouse.repository import Domain, Product
from meshhouse.runs.outcome import DomainRun


def model_results(
    selected: Collection[dg.AssetKey],
    engine: Engine,
    domain: Domain,
    run: DomainRun,
    models: Mapping[str, dg.AssetSpec],
) -> Iterator[dg.MaterializeResult]:
    """One for each selected model, of a run in which no model and no test of dbt failed.

    Without a result, Dagster skips downstream assets. If nothing was published, only models that
    the run built count as made.
    """
    ran = {node.unique_id: node for node in run.nodes}
    counts = engine.row_counts(domain) if ran else {}
    for identifier, spec in models.items():
        node = ran.get(identifier)
        if spec.key not in selected or (node is None and not run.ok):
            continue
        metadata: dict[str, Any] = {"unchanged": node is None}
        if node is not None:
            metadata["seconds"] = node.seconds
            if (table := built_table(spec.key)) in counts:
                metadata["dagster/row_count"] = counts[table]
        yield dg.MaterializeResult(asset_key=spec.key, metadata=metadata)


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
    bumps = {each.relation: str(each.bump) for each in run.judged}
    for key, product in products.items():
        if key not in selected:
            continue
        entry = published.get(product.name)
        governed = {**consumers.metadata(product), **promises.metadata(product)}
        if entry is None:
            outcome = run.products.get(product.name, "unchanged")
            metadata = {"unchanged": True, "outcome": outcome, **governed}
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)
        else:
            governed["bump"] = bumps.get(product.relation, "first publication")
            yield _published(key, entry, governed, engine.name)


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
