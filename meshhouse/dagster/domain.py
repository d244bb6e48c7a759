"""The assets of one domain, from its dbt project.

Belongs here: how one run of a domain becomes events of Dagster. Not here: the run itself
(meshhouse/runs/), what Dagster shows of models and products (specs.py), checks (checks.py,
compatibility.py), metadata of what it made (results.py), or landing (landing.py).

Two steps a domain: one lands its topics, one builds, audits and publishes. The second is
one step because consumers see all products of a run at once or none of them.
"""

from collections.abc import Iterator
from functools import partial
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
from meshhouse.dagster.evaluate import evaluated
from meshhouse.dagster.events import NodeEvents, compiled_sql
from meshhouse.dagster.keys import product_key
from meshhouse.dagster.landing import landing_step
from meshhouse.dagster.live import Live
from meshhouse.dagster.promises import Promises, promise_specs
from meshhouse.dagster.reporter import Reporter
from meshhouse.dagster.results import kept_logs, product_results, recorded, unchanged_models
from meshhouse.dagster.settings import Settings, pool_name
from meshhouse.dagster.specs import model_specs, product_spec
from meshhouse.dagster.tables import shorten
from meshhouse.dagster.tags import NAMED, OF_DOMAIN, TARGET, environment_tag
from meshhouse.dagster.translator import MeshTranslator
from meshhouse.engines import Engine
from meshhouse.engines import engine as engine_of
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.manifest import Manifest
from meshhouse.runs.outcome import DomainRun
from meshhouse.runs.parse import fresh_manifest
from meshhouse.runs.run import build_models, run_domain


class BuildConfig(dg.Config):
    """What may be asked of a build in Dagster's launchpad."""

    force: bool = Field(
        default=False,
        description="Build and publish the products even if they are unchanged or rolled back.",
    )
    full_refresh: bool = Field(
        default=False,
        description="As `force`, and build incremental models from nothing.",
    )
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
    engine = engine_of(repository)
    translator = MeshTranslator(domain, manifest, engine.answers_queries)
    models = model_specs(repository, engine, domain, manifest, translator, settings)
    products = {product_key(each): each for each in domain.products}
    checks = dbt_check_specs(manifest, translator, models)
    shown = [
        product_spec(repository, engine, domain, manifest, each, settings)
        for each in domain.products
    ]

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
        pool=pool_name(settings.build_pool, domain.name, engine_of(repository).name),
    )
    def build_and_publish(context: dg.AssetExecutionContext, config: BuildConfig) -> Iterator[Any]:
        engine = engine_of(repository)
        domain_tag = {f"{OF_DOMAIN}{domain.name}": "true"}
        tags = {TARGET: engine.name, **domain_tag, **environment_tag(repository)}
        context.instance.add_run_tags(context.run.run_id, tags)
        selected = context.selected_asset_keys
        chosen = [product for key, product in products.items() if key in selected]
        names = [manifest.nodes[each]["name"] for each in models if models[each].key in selected]
        asked = context.selected_asset_check_keys
        # Checks of products look at what a run publishes; without such a run, at what there is.
        alone = asked if not selected else {each for each in asked if each.asset_key in products}
        check_alone = partial(evaluated, context, repository, engine, domain, manifest, checks)
        if not selected:
            yield from check_alone(alone, reporter)
            return
        events = NodeEvents(context, models, checks, partial(compiled_sql, repository, manifest))
        with Live(context, events.record, reporter) as live:
            run = _run(context, repository, engine, domain, chosen, names, reporter, live, config)
        reporter.finished(run)
        for line in run.warnings:
            context.log.warning(line)
        consumers = Consumers(engine.ledger, domain)
        promises = Promises(repository, engine.ledger, domain)
        yield from events.outputs()
        others = {name: each for name, each in checks.items() if name not in events.checked}
        yield from check_results(context, run, others, manifest, domain, consumers)
        yield from compatibility_results(asked, domain, run, consumers)
        yield from promises.results(asked if chosen else ())
        if run.ok:
            left = [spec for name, spec in models.items() if name not in events.made]
            yield from unchanged_models(context, left)
        kept = {**samples(run), **kept_logs(run), **recorded(run, bool(chosen))}
        if run.outcome == "rejected":
            raise dg.Failure(
                refusal_of(run, consumers) or run.message,
                metadata={**kept, **refusal_metadata(run, consumers)},
                allow_retries=False,
            )
        if not run.ok:
            raise dg.Failure(run.message, metadata=kept)
        yield from product_results(selected, engine, run, products, consumers, promises)
        if alone and not chosen:
            yield from check_alone(alone, reporter)

    return build_and_publish


def _run(
    context: dg.AssetExecutionContext,
    repository: Repository,
    engine: Engine,
    domain: Domain,
    products: list[Product],
    models: list[str],
    reporter: Reporter,
    live: Live,
    config: BuildConfig,
) -> DomainRun:
    """Runs the selected products; builds the selected models where no product is selected."""
    if not products:
        return build_models(repository, engine, domain, models, live)
    # A product that only comes with a named one must not be forced with it.
    tag = context.run.tags.get(NAMED, "").split()
    named = [product for product in products if product.relation in tag]
    run = run_domain(
        repository,
        engine,
        domain,
        [product.name for product in named or products],
        reporter.force or config.force,
        watch=live,
        full_refresh=reporter.full_refresh or config.full_refresh,
        on_plan=live.plan,
        confirmed=config.confirm.strip() or reporter.confirmed,
    )
    if run.published:
        shorten(context, engine, [name for each in domain.products for name in each.relations])
    return run
