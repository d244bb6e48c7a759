"""The assets and checks of one domain, from its dbt project.

Belongs here: what Dagster shows of a domain and how one of its runs becomes events. Does
not: the run itself (meshhouse/runs.py, meshhouse/landing/).

Two steps a domain: one lands its topics, one builds, audits and publishes. The second is
one step because consumers see all products of a run at once or none of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any, Protocol

import dagster as dg
from pydantic import Field

from meshhouse.audit import declared_checks
from meshhouse.dagster.fence import fenced
from meshhouse.dagster.translator import CheckSpec, MeshTranslator, owners_of, safe_name
from meshhouse.dbt import NodeResult
from meshhouse.engines import Engine, lake_of
from meshhouse.engines import engine as engine_of
from meshhouse.errors import MeshError
from meshhouse.lake import Lake
from meshhouse.landing import Landing, RawStore, land_table, land_table_again, lands_itself
from meshhouse.repository import Column, Domain, Product, RawTable, Repository
from meshhouse.repository.environment import PRODUCTION
from meshhouse.repository.manifest import Manifest, checked_relations
from meshhouse.runs.domain_plan import DomainPlan
from meshhouse.runs.outcome import DomainRun
from meshhouse.runs.parse import fresh_manifest
from meshhouse.runs.run import build_models, run_domain

FOLLOWS = dg.AutomationCondition.eager()
"""Whatever is behind a raw table is built, audited and published once for each landing."""

NAMED = "meshhouse/products"
"""Tag of a run of single products: their relations, with spaces between."""
TARGET = "meshhouse/target"
"""Tag of every run that builds: where."""
ENVIRONMENT = "meshhouse/environment"
"""Tag of every run in an environment: which one."""


def environment_tag(repository: Repository) -> dict[str, str]:
    """The tag of a run in the environment in use; none in production."""
    return {ENVIRONMENT: repository.environment} if repository.environment else {}


class Reporter(Protocol):
    """Who is told what a run does, besides Dagster's own log."""

    force: bool
    full_refresh: bool

    def landing(self, raw: RawTable) -> Any:
        """Called when a raw table is about to be landed; returns a progress callback."""
        ...

    def landed(self, landing: Landing) -> None:
        """Called when a raw table was landed."""
        ...

    def say(self, line: str) -> None:
        """Called with what a domain is doing."""
        ...

    def finished(self, run: DomainRun) -> None:
        """Called when a domain's run ended, well or not."""
        ...

    def failed(self, domain: str, message: str) -> None:
        """Called when landing or preparing a domain failed."""
        ...


class Silent:
    """A reporter for runs that only Dagster watches."""

    force = False
    full_refresh = False

    def landing(self, raw: RawTable) -> Any:  # noqa: D102
        return lambda events: None

    def landed(self, landing: Landing) -> None: ...  # noqa: D102
    def say(self, line: str) -> None: ...  # noqa: D102
    def finished(self, run: DomainRun) -> None: ...  # noqa: D102
    def failed(self, domain: str, message: str) -> None: ...  # noqa: D102


class LandingConfig(dg.Config):
    """What may be asked of a landing in Dagster's launchpad."""

    again_from: str = Field(
        default="",
        description="Land what was landed since then once more, in its place: a moment "
        "(2017-03-01T00:00:00Z) or an offset. Empty: only new events.",
    )


def domain_assets(
    repository: Repository, domain: Domain, reporter: Reporter
) -> list[dg.AssetsDefinition]:
    """Everything that Dagster can materialise of a domain.

    Raises:
        MeshError: the domain's dbt project does not parse.
    """
    manifest = fresh_manifest(repository, domain)
    products = _products_step(repository, domain, manifest, reporter)
    return [*landing_assets(repository, domain, reporter), products]


def landing_assets(
    repository: Repository, domain: Domain, reporter: Reporter
) -> list[dg.AssetsDefinition]:
    """The step that lands a domain's topics, where it has any. Needs no dbt."""
    return [_landing_step(repository, domain, reporter)] if domain.raw_tables else []


def _landing_step(
    repository: Repository, domain: Domain, reporter: Reporter
) -> dg.AssetsDefinition:
    tables = {dg.AssetKey([raw.schema, raw.name]): raw for raw in domain.raw_tables}
    checks = {key: _rejected_spec(key, raw) for key, raw in tables.items()}

    @dg.multi_asset(
        name=f"{domain.name}_landing",
        check_specs=list(checks.values()),
        specs=[
            dg.AssetSpec(
                key,
                description=raw.description,
                group_name=domain.name,
                owners=owners_of(domain),
                kinds={engine_of(repository).table_format},
                metadata={
                    "topic": raw.topic,
                    "dagster/table_name": raw.relation,
                    "dagster/column_schema": _column_schema(raw.columns),
                },
            )
            for key, raw in tables.items()
        ],
        can_subset=True,
    )
    def landing(context: dg.AssetExecutionContext, config: LandingConfig) -> Iterator[Any]:
        engine = engine_of(repository)
        if tag := environment_tag(repository):
            context.instance.add_run_tags(context.run.run_id, tag)
        for key in sorted(context.selected_asset_keys):
            raw = tables[key]
            if not config.again_from and not lands_itself(engine.store, raw):
                context.log.info(f"{raw.relation}: production's is read")
                yield dg.MaterializeResult(asset_key=key, metadata={"environment": PRODUCTION})
                if checks[key].key in context.selected_asset_check_keys:
                    yield _rejected_check(engine.store.in_environment(""), checks[key], raw)
                continue
            try:
                if config.again_from:
                    again = land_table_again(repository, lake_of(engine), raw, config.again_from)
                    context.log.info(
                        f"{raw.relation}: {again.replaced} events landed again, as {again.rows} "
                        f"rows and {again.rejected} rejected events"
                    )
                done = land_table(repository, engine.store, raw, reporter.landing(raw))
            except MeshError as error:
                reporter.failed(domain.name, str(error))
                raise dg.Failure(str(error), allow_retries=False) from error
            reporter.landed(done)
            context.log.info(f"{raw.relation}: {done.rows} rows, {done.rejected} rejected")
            if done.new_fields:
                context.log.warning(
                    f"{raw.relation}: events have fields that no column is declared for: "
                    f"{', '.join(done.new_fields)}. They are kept in `_rescued`."
                )
            yield dg.MaterializeResult(
                asset_key=key,
                metadata={
                    "rows_landed": done.rows,
                    "events_rejected": done.rejected,
                    "dagster/row_count": done.total_rows,
                    "snapshot_id": str(done.snapshot_id),
                    "next_offsets": {str(number): end for number, end in done.offsets.items()},
                    "end_offsets": {str(number): end for number, end in done.ends.items()},
                    "lag": done.lag,
                    "events_per_second": round((done.rows + done.rejected) / done.seconds, 1),
                    "seconds": done.seconds,
                },
                data_version=dg.DataVersion(str(done.snapshot_id)),
            )
            if checks[key].key in context.selected_asset_check_keys:
                yield _rejected_check(engine.store, checks[key], raw)

    return landing


def _rejected_spec(key: dg.AssetKey, raw: RawTable) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        "rejected_events",
        asset=key,
        description=f"At most {raw.max_rejected_percent:g} percent of the topic's events are "
        "rejected; `mesh rejected show` lists them.",
    )


def _rejected_check(
    store: Lake | RawStore, spec: dg.AssetCheckSpec, raw: RawTable
) -> dg.AssetCheckResult:
    rejected, events = store.rejected_share(raw)
    percent = 100 * rejected / events if events else 0.0
    return dg.AssetCheckResult(
        passed=percent <= raw.max_rejected_percent,
        asset_key=spec.asset_key,
        check_name=spec.name,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "rejected": rejected,
            "events": events,
            "percent": percent,
            "allowed_percent": raw.max_rejected_percent,
        },
    )


def _products_step(
    repository: Repository, domain: Domain, manifest: Manifest, reporter: Reporter
) -> dg.AssetsDefinition:
    translator = MeshTranslator(domain)
    models = _model_specs(domain, manifest, translator)
    products = {dg.AssetKey([domain.name, each.name]): each for each in domain.products}
    checks = _check_specs(manifest, translator, models)

    @dg.multi_asset(
        name=domain.name,
        specs=[
            *models.values(),
            *(_product_spec(repository, domain, each) for each in domain.products),
        ],
        check_specs=[*checks.values(), *_soda_specs(domain)],
        can_subset=True,
    )
    def build_and_publish(context: dg.AssetExecutionContext) -> Iterator[Any]:
        engine = engine_of(repository)
        context.instance.add_run_tags(
            context.run.run_id,
            {
                TARGET: engine.name,
                f"meshhouse/domain.{domain.name}": "true",
                **environment_tag(repository),
            },
        )
        selected = context.selected_asset_keys
        chosen = [product for key, product in products.items() if key in selected]
        # A product that only comes with a named one must not be forced with it.
        tag = context.run.tags.get(NAMED, "").split()
        named = [product for product in chosen if product.relation in tag]
        wanted = [product.name for product in named or chosen]

        def on_line(level: str, text: str) -> None:
            if level in ("warn", "error"):
                getattr(context.log, "warning" if level == "warn" else "error")(text)

        def say(line: str) -> None:
            context.log.info(line)
            reporter.say(line)

        def on_plan(plan: DomainPlan) -> None:
            for line in plan.lines():
                context.log.info(line)

        if wanted:
            run = run_domain(
                repository, engine, domain, wanted, reporter.force,
                say=say, on_line=on_line, full_refresh=reporter.full_refresh, on_plan=on_plan,
            )  # fmt: skip
        else:
            names = [
                manifest.nodes[each]["name"] for each in models if models[each].key in selected
            ]
            run = build_models(repository, engine, domain, names, say, on_line)
        reporter.finished(run)
        yield from _check_results(context, run, checks, domain)
        if not run.ok:
            raise dg.Failure(run.message, metadata=_samples(run), allow_retries=False)
        yield from _materializations(context, engine, domain, run, models, products)

    return build_and_publish


def _model_specs(
    domain: Domain, manifest: Manifest, translator: MeshTranslator
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
        ).replace_attributes(kinds={"dbt"}, automation_condition=FOLLOWS)
        for identifier in TopologicalSorter(parents).static_order()
        if identifier in parents
    }


def _check_specs(
    manifest: Manifest, translator: MeshTranslator, models: dict[str, dg.AssetSpec]
) -> dict[str, dg.AssetCheckSpec]:
    """Dbt's unique id -> check, for data tests and unit tests."""
    specs: dict[str, dg.AssetCheckSpec] = {}
    for identifier, node in manifest.nodes.items():
        if node["resource_type"] != "test":
            continue
        for parent in dict.fromkeys([node.get("attached_node"), *node["depends_on"]["nodes"]]):
            if parent in models:
                spec = translator.get_asset_check_spec(
                    models[parent], manifest.content, identifier, None
                )
                if spec is not None:
                    specs[identifier] = CheckSpec(
                        safe_name(spec.name),
                        asset=spec.asset_key,
                        description=spec.description,
                        additional_deps=spec.additional_deps,
                        metadata=spec.metadata,
                        blocking=spec.blocking,
                    )
                    break
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


def _product_spec(repository: Repository, domain: Domain, product: Product) -> dg.AssetSpec:
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
        automation_condition=FOLLOWS,
        metadata={
            "dagster/table_name": product.relation,
            "dagster/column_schema": _column_schema(product.columns),
            "version": product.version,
            "grain": ", ".join(product.grain),
        },
    )


def _soda_specs(domain: Domain) -> list[dg.AssetCheckSpec]:
    return [
        CheckSpec(
            key, asset=dg.AssetKey([domain.name, product.name]), description=about, blocking=True
        )
        for product in domain.products
        if product.checks_path.exists()
        for key, about in declared_checks(product).items()
    ]


def _check_results(
    context: dg.AssetExecutionContext,
    run: DomainRun,
    specs: dict[str, dg.AssetCheckSpec],
    domain: Domain,
) -> Iterator[dg.AssetCheckResult]:
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


def _materializations(
    context: dg.AssetExecutionContext,
    engine: Engine,
    domain: Domain,
    run: DomainRun,
    models: dict[str, dg.AssetSpec],
    products: dict[dg.AssetKey, Product],
) -> Iterator[dg.MaterializeResult]:
    """One for every selected asset: Dagster would skip what follows one that is missing.

    What a run found unchanged keeps its data version, so nothing downstream is stale.
    """
    selected = context.selected_asset_keys
    ran = {node.unique_id: node for node in run.nodes}
    counts = engine.row_counts(domain) if ran else {}
    for identifier, spec in models.items():
        if spec.key not in selected:
            continue
        node = ran.get(identifier)
        metadata: dict[str, Any] = {"unchanged": node is None}
        if node is not None:
            metadata["seconds"] = node.seconds
            if spec.key.path[-1] in counts:
                metadata["dagster/row_count"] = counts[spec.key.path[-1]]
        yield dg.MaterializeResult(asset_key=spec.key, metadata=metadata)
    published = {entry["product"]: entry for entry in run.published}
    for key, product in products.items():
        if key not in selected:
            continue
        entry = published.get(product.name)
        if entry is None:
            metadata = {"unchanged": True, "outcome": run.products.get(product.name, "unchanged")}
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)
            continue
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                "dagster/row_count": entry["rows"],
                "bytes": entry["bytes"],
                "snapshot_id": str(entry["snapshot_id"]),
                "input_snapshots": {
                    relation: str(snapshot)
                    for relation, snapshot in entry["input_snapshots"].items()
                },
                "score": float(entry["score"]),
                "target": engine.name,
                "unchanged": False,
            },
            data_version=dg.DataVersion(str(entry["snapshot_id"])),
        )


def _samples(run: DomainRun) -> dict[str, Any]:
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


def _column_schema(columns: tuple[Column, ...]) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                each.name,
                each.data_type,
                description=each.description,
                constraints=dg.TableColumnConstraints(nullable=not each.required),
            )
            for each in columns
        ]
    )
