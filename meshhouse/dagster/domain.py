"""The assets of one domain, from its dbt project.

Belongs here: what Dagster shows of a domain's models and products, and how one of its runs becomes
events. Not here: the run itself (meshhouse/runs/), checks (checks.py, compatibility.py), metadata
of what it made (results.py), or landing (landing.py).

Two steps a domain: one lands its topics, one builds, audits and publishes. The second is
one step because consumers see all products of a run at once or none of them.
"""

from collections.abc import Iterator
from graphlib import TopologicalSorter
from typing import Any

import dagster as dg
from pydantic import Field

from meshhouse.dagster.checks import check_results, dbt_check_specs, samples, soda_check_specs
from meshhouse.dagster.compatibility import (
    compatibility_results,
    compatibility_specs,
    refusal_metadata,
    refusal_of,
)
from meshhouse.dagster.consumers import Consumers
from meshhouse.dagster.landing import landing_step
from meshhouse.dagster.promises import Promises, promise_specs
from meshhouse.dagster.reporter import Reporter
from meshhouse.dagster.results import model_results, product_results
from meshhouse.dagster.settings import Settings
from meshhouse.dagster.tables import shorten
from meshhouse.dagster.tags import NAMED, TARGET, environment_tag
from meshhouse.dagster.translator import MeshTranslator, column_schema, owners_of
from meshhouse.engines import Engine
from meshhouse.engines import engine as engine_of
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.manifest import Manifest, checked_relations
from meshhouse.runs.domain_plan import DomainPlan
from meshhouse.runs.outcome import DomainRun
from meshhouse.runs.parse import fresh_manifest
from meshhouse.runs.run import build_models, run_domain


class BuildConfig(dg.Config):
    """What may be asked of a build in Dagster's launchpad."""

    confirm: str = Field(
        default="",
        description="Why every silent change of this run is meant (the same schema, another "
        "meaning of values). It is recorded with the publication. Empty: such a change is refused.",
    )


def domain_assets(
    repository: Repository, domain: Domain, settings: Settings, reporter: Reporter
) -> list[dg.AssetsDefinition]:
    """Everything that Dagster can materialise of a domain.

    Raises:
        MeshError: the domain's dbt project does not parse.
    """
    manifest = fresh_manifest(repository, domain)
    products = _products_step(repository, domain, manifest, settings, reporter)
    return [*landing_assets(repository, domain, settings, reporter), products]


def landing_assets(
    repository: Repository, domain: Domain, settings: Settings, reporter: Reporter
) -> list[dg.AssetsDefinition]:
    """The step that lands a domain's topics, where it has any. Needs no dbt."""
    return [landing_step(repository, domain, settings, reporter)] if domain.raw_tables else []


def _products_step(
    repository: Repository,
    domain: Domain,
    manifest: Manifest,
    settings: Settings,
    reporter: Reporter,
) -> dg.AssetsDefinition:
    translator = MeshTranslator(domain)
    models = _model_specs(domain, manifest, translator, settings)
    products = {dg.AssetKey([domain.name, each.name]): each for each in domain.products}
    checks = dbt_check_specs(manifest, translator, models)
    shown = [_product_spec(repository, domain, each, settings) for each in domain.products]

    @dg.multi_asset(
        name=domain.name,
        specs=[*models.values(), *shown],
        check_specs=[
            *checks.values(),
            *soda_check_specs(domain),
            *compatibility_specs(domain),
            *promise_specs(domain),
        ],
        can_subset=True,
        retry_policy=settings.build_retries,
        pool=settings.build_pool,
    )
    def build_and_publish(context: dg.AssetExecutionContext, config: BuildConfig) -> Iterator[Any]:
        engine = engine_of(repository)
        domain_tag = {f"meshhouse/domain.{domain.name}": "true"}
        tags = {TARGET: engine.name, **domain_tag, **environment_tag(repository)}
        context.instance.add_run_tags(context.run.run_id, tags)
        selected = context.selected_asset_keys
        chosen = [product for key, product in products.items() if key in selected]
        names = [manifest.nodes[each]["name"] for each in models if models[each].key in selected]
        confirmed = config.confirm.strip() or reporter.confirmed
        run = _run(context, repository, engine, domain, chosen, names, reporter, confirmed)
        reporter.finished(run)
        for line in run.warnings:
            context.log.warning(line)
        yield from check_results(context, run, checks, domain)
        consumers = Consumers(engine.ledger, domain)
        promises = Promises(repository, engine.ledger, domain)
        asked = context.selected_asset_check_keys
        yield from compatibility_results(asked, domain, run, consumers)
        yield from promises.results(asked)
        if run.ok or run.outcome == "rejected":  # dbt built, and its tests passed
            yield from model_results(selected, engine, domain, run, models)
        if run.outcome == "rejected":
            raise dg.Failure(
                refusal_of(run, consumers) or run.message,
                metadata={**samples(run), **refusal_metadata(run, consumers)},
                allow_retries=False,
            )
        if not run.ok:
            raise dg.Failure(run.message, metadata=samples(run))
        yield from product_results(selected, engine, run, products, consumers, promises)

    return build_and_publish


def _run(
    context: dg.AssetExecutionContext,
    repository: Repository,
    engine: Engine,
    domain: Domain,
    products: list[Product],
    models: list[str],
    reporter: Reporter,
    confirmed: str,
) -> DomainRun:
    """Runs the selected products; builds the selected models where no product is selected."""

    def on_line(level: str, text: str) -> None:
        if level in ("warn", "error"):
            getattr(context.log, "warning" if level == "warn" else "error")(text)

    def say(line: str) -> None:
        context.log.info(line)
        reporter.say(line)

    def on_plan(plan: DomainPlan) -> None:
        for line in plan.lines():
            context.log.info(line)

    if not products:
        return build_models(repository, engine, domain, models, say, on_line)
    # A product that only comes with a named one must not be forced with it.
    tag = context.run.tags.get(NAMED, "").split()
    named = [product for product in products if product.relation in tag]
    run = run_domain(
        repository,
        engine,
        domain,
        [product.name for product in named or products],
        reporter.force,
        say=say,
        on_line=on_line,
        full_refresh=reporter.full_refresh,
        on_plan=on_plan,
        confirmed=confirmed,
    )
    if run.published:
        shorten(context, engine, [name for each in domain.products for name in each.relations])
    return run


def _model_specs(
    domain: Domain, manifest: Manifest, translator: MeshTranslator, settings: Settings
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
        identifier: translator.get_asset_spec(
            manifest.content, identifier, None
        ).replace_attributes(kinds={"dbt"}, automation_condition=settings.follows)
        for identifier in TopologicalSorter(parents).static_order()
        if identifier in parents
    }


def _product_spec(
    repository: Repository, domain: Domain, product: Product, settings: Settings
) -> dg.AssetSpec:
    checked = [
        dg.AssetKey(relation.split("."))
        for relation in checked_relations(repository, domain, product)
    ]
    return dg.AssetSpec(
        dg.AssetKey([domain.name, product.name]),
        deps=[dg.AssetKey([domain.build_schema, product.build_name]), *checked],
        description=product.description,
        group_name=domain.name,
        owners=owners_of(domain, product),
        kinds={engine_of(repository).table_format},
        tags={"meshhouse/product": ""},
        automation_condition=settings.follows,
        metadata={
            "dagster/table_name": product.relation,
            "dagster/column_schema": column_schema(product.columns),
            "version": product.version,
            "grain": ", ".join(product.grain),
            **({"deprecated until": product.deprecation_date} if product.deprecation_date else {}),
        },
    )
