"""What Dagster shows of the models and products of one domain.

Belongs here: key, kinds, tags, owners, columns and policies of each asset. Not here: the steps that
make them (domain.py), or raw tables (landing.py).
"""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import Any

import dagster as dg

from meshhouse.dagster.columns import column_schema
from meshhouse.dagster.freshness import product_freshness
from meshhouse.dagster.keys import build_key, product_key, relation_key
from meshhouse.dagster.links import product_links
from meshhouse.dagster.settings import Settings
from meshhouse.dagster.source import model_source, product_source
from meshhouse.dagster.tags import LAYER, PRODUCT
from meshhouse.dagster.translator import MeshTranslator, author_meta, dbt_tags, owners_of
from meshhouse.engines import Engine
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.manifest import Manifest, checked_relations


def model_specs(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    manifest: Manifest,
    translator: MeshTranslator,
    settings: Settings,
) -> dict[str, dg.AssetSpec]:
    """Dbt's unique id -> asset, for every model of the domain, upstream models first.

    The order is the one in which Dagster wants to hear of them.
    """
    parents = {
        identifier: set(node["depends_on"]["nodes"])
        for identifier, node in manifest.nodes.items()
        if node["resource_type"] == "model" and node["package_name"] == domain.name
    }
    return {
        identifier: translator.spec(
            identifier, {"dbt", engine.compute}, settings.follows
        ).merge_attributes(metadata=model_source(repository, domain, manifest, identifier))
        for identifier in TopologicalSorter(parents).static_order()
        if identifier in parents
    }


def product_spec(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    manifest: Manifest,
    product: Product,
    settings: Settings,
) -> dg.AssetSpec:
    """The asset of a product."""
    node = manifest.nodes.get(manifest.model_id(product), {})
    checked = [
        relation_key(domain, relation)
        for relation in checked_relations(repository, domain, product)
    ]
    metadata: dict[str, Any] = {
        "dagster/table_name": product.relation,
        "dagster/column_schema": column_schema(product.columns, product.grain),
        "version": product.version,
        "grain": ", ".join(product.grain),
        **product_links(product),
        **author_meta(node),
        **product_source(repository, product),
    }
    if product.deprecation_date:
        metadata["deprecated until"] = product.deprecation_date
    return dg.AssetSpec(
        product_key(product),
        deps=[build_key(domain, product.build_name), *checked],
        description=product.description,
        group_name=domain.name,
        owners=owners_of(domain, product),
        kinds={engine.table_format},
        tags={**dbt_tags(node), PRODUCT: "", LAYER: "product"},
        automation_condition=settings.follows,
        freshness_policy=product_freshness(repository, product),
        metadata=metadata,
    )
