"""The step that lands the topics of one domain, its assets and its checks.

Belongs here: what Dagster shows of raw tables and of a landing. Not here: landing itself
(meshhouse/landing/), or when it starts (sensor.py).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from meshhouse.dagster.reporter import Reporter
from meshhouse.dagster.settings import Settings
from meshhouse.dagster.tables import shorten
from meshhouse.dagster.tags import environment_tag
from meshhouse.dagster.translator import column_schema, owners_of
from meshhouse.engines import Engine, lake_of
from meshhouse.engines import engine as engine_of
from meshhouse.errors import MeshError, UsageError
from meshhouse.landing import Landing, RawStore, land_table, lands_itself, reprocess_table
from meshhouse.repository import Domain, RawTable, Repository
from meshhouse.repository.environment import PRODUCTION


class LandingConfig(dg.Config):
    """What may be asked of a landing in Dagster's launchpad."""

    again_from: str = Field(
        default="",
        description="Land what was landed since then once more, in its place: a moment "
        "(2017-03-01T00:00:00Z) or an offset. Empty: only new events.",
    )


def landing_step(
    repository: Repository, domain: Domain, settings: Settings, reporter: Reporter
) -> dg.AssetsDefinition:
    """The step of a domain that has topics. Needs no dbt."""
    tables = {raw_key(raw): raw for raw in domain.raw_tables}
    checks = {key: _rejected_spec(key, raw) for key, raw in tables.items()}

    @dg.multi_asset(
        name=f"{domain.name}_landing",
        check_specs=list(checks.values()),
        specs=[_spec(repository, domain, raw) for raw in domain.raw_tables],
        can_subset=True,
        retry_policy=settings.landing_retries,
        pool=settings.landing_pool,
    )
    def landing(context: dg.AssetExecutionContext, config: LandingConfig) -> Iterator[Any]:
        engine = engine_of(repository)
        if tag := environment_tag(repository):
            context.instance.add_run_tags(context.run.run_id, tag)
        for key in sorted(context.selected_asset_keys):
            raw, store = tables[key], engine.store
            if config.again_from or lands_itself(store, raw):
                yield _materialized(key, _land(context, repository, engine, raw, config, reporter))
            else:
                context.log.info(f"{raw.relation}: production's is read")
                yield dg.MaterializeResult(asset_key=key, metadata={"environment": PRODUCTION})
                store = store.in_environment("")
            if checks[key].key in context.selected_asset_check_keys:
                yield _rejected_check(store, checks[key], raw)

    return landing


def raw_key(raw: RawTable) -> dg.AssetKey:
    """Dagster's key of a raw table."""
    return dg.AssetKey([raw.schema, raw.name])


def _spec(repository: Repository, domain: Domain, raw: RawTable) -> dg.AssetSpec:
    return dg.AssetSpec(
        raw_key(raw),
        description=raw.description,
        group_name=domain.name,
        owners=owners_of(domain),
        kinds={engine_of(repository).table_format},
        metadata={
            "topic": raw.topic,
            "dagster/table_name": raw.relation,
            "dagster/column_schema": column_schema(raw.columns),
        },
    )


def _land(
    context: dg.AssetExecutionContext,
    repository: Repository,
    engine: Engine,
    raw: RawTable,
    config: LandingConfig,
    reporter: Reporter,
) -> Landing:
    """Lands a raw table; what goes wrong fails the step."""
    try:
        if config.again_from:
            again = reprocess_table(repository, lake_of(engine), raw, config.again_from)
            context.log.info(
                f"{raw.relation}: {again.replaced} events reprocessed, as {again.rows} "
                f"rows and {again.rejected} rejected events"
            )
        done = land_table(repository, engine.store, raw, reporter.landing(raw))
    except MeshError as error:
        reporter.failed(raw.domain, str(error))
        # What a person has to correct fails again.
        retries = not isinstance(error, UsageError)
        raise dg.Failure(str(error), allow_retries=retries) from error
    shorten(context, engine, [raw.relation, f"{raw.schema}.{raw.rejected}"])
    reporter.landed(done)
    context.log.info(f"{raw.relation}: {done.rows} rows, {done.rejected} rejected")
    if done.new_fields:
        context.log.warning(
            f"{raw.relation}: events have fields that no column is declared for: "
            f"{', '.join(done.new_fields)}. They are kept in `_rescued`."
        )
    return done


def _materialized(key: dg.AssetKey, done: Landing) -> dg.MaterializeResult:
    return dg.MaterializeResult(
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


def _rejected_spec(key: dg.AssetKey, raw: RawTable) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        "rejected_events",
        asset=key,
        description=f"At most {raw.max_rejected_percent:g} percent of the topic's events are "
        "rejected; `mesh rejected show` lists them.",
    )


def _rejected_check(store: RawStore, spec: dg.AssetCheckSpec, raw: RawTable) -> dg.AssetCheckResult:
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
