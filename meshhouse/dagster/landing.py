"""The step that lands the topics of one domain, its assets and its checks.

Belongs here: what Dagster shows of raw tables and of a landing. Not here: landing itself
(meshhouse/landing/), or when it starts (sensor.py).
"""

import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from meshhouse.dagster.columns import column_schema
from meshhouse.dagster.freshness import SOURCE_CHECK, source_check, source_policy, source_spec
from meshhouse.dagster.keys import raw_key
from meshhouse.dagster.links import raw_links
from meshhouse.dagster.live import QUIET_SECONDS
from meshhouse.dagster.reporter import Reporter
from meshhouse.dagster.settings import Settings, pool_name
from meshhouse.dagster.tables import shorten
from meshhouse.dagster.tags import LAYER, environment_tag
from meshhouse.dagster.translator import owners_of
from meshhouse.engines import Engine, lake_of
from meshhouse.engines import engine as engine_of
from meshhouse.errors import MeshError, UsageError
from meshhouse.repository import Domain, RawTable, Repository
from meshhouse.repository.environment import PRODUCTION

if TYPE_CHECKING:
    from meshhouse.landing import Landing, RawStore


REJECTED_CHECK = "rejected_events"


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
    checks = [spec for key, raw in tables.items() for spec in _check_specs(key, raw)]

    @dg.multi_asset(
        name=f"{domain.name}_landing",
        check_specs=checks,
        specs=[_spec(repository, domain, raw) for raw in domain.raw_tables],
        can_subset=True,
        retry_policy=settings.landing_retries,
        pool=pool_name(settings.landing_pool, domain.name, engine_of(repository).name),
    )
    def landing(context: dg.AssetExecutionContext, config: LandingConfig) -> Iterator[Any]:
        # Loads pyiceberg, which takes 0.5 s: only for steps that land.
        from meshhouse.landing import lands_itself

        engine = engine_of(repository)
        if tag := environment_tag(repository):
            context.instance.add_run_tags(context.run.run_id, tag)
        selected, asked = context.selected_asset_keys, context.selected_asset_check_keys
        # Without its raw table, a check is evaluated on what landed before.
        for key in sorted(selected | {check.asset_key for check in asked}):
            raw, store = tables[key], engine.store
            is_own = bool(config.again_from) or lands_itself(store, raw)
            if key in selected and is_own:
                yield _materialized(key, _land(context, repository, engine, raw, config, reporter))
            elif key in selected:
                context.log.info(f"{raw.relation}: production's is read")
                yield dg.MaterializeResult(asset_key=key, metadata={"environment": PRODUCTION})
            store = store if is_own else store.in_environment("")
            yield from _check_results(store, key, raw, asked)

    return landing


def _spec(repository: Repository, domain: Domain, raw: RawTable) -> dg.AssetSpec:
    return dg.AssetSpec(
        raw_key(raw),
        description=raw.description,
        group_name=domain.name,
        owners=owners_of(domain),
        kinds={engine_of(repository).table_format},
        tags={LAYER: "raw"},
        freshness_policy=source_policy(repository, raw),
        metadata={
            "topic": raw.topic,
            "dagster/table_name": raw.relation,
            "dagster/column_schema": column_schema(raw.columns),
            **raw_links(raw),
        },
    )


def _land(
    context: dg.AssetExecutionContext,
    repository: Repository,
    engine: Engine,
    raw: RawTable,
    config: LandingConfig,
    reporter: Reporter,
) -> "Landing":
    """Lands a raw table; what goes wrong fails the step."""
    from meshhouse.extraction import no_reading_in_part  # as above
    from meshhouse.landing import land_table, reprocess_table

    try:
        if config.again_from:
            again = reprocess_table(repository, lake_of(engine), raw, config.again_from)
            context.log.info(
                f"{raw.relation}: {again.replaced} events reprocessed, as {again.rows} "
                f"rows and {again.rejected} rejected events"
            )
        _extract(context, repository, raw)
        advance = _progress(context, raw, reporter.landing(raw))
        with no_reading_in_part(repository, raw.topic):
            done = land_table(repository, engine.store, raw, advance)
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


def _extract(context: dg.AssetExecutionContext, repository: Repository, raw: RawTable) -> None:
    """Sends new files or rows to the topic of a raw table that declares them."""
    if raw.extraction is None:
        return
    from meshhouse.extraction import extract  # only few domains extract

    done = extract(repository, raw, say=lambda line: context.log.info(f"{raw.relation}: {line}"))
    for name in done.unsettled:
        context.log.info(f"{raw.relation}: {name} is being written; the next run takes it")
    for note in done.notes:
        context.log.info(f"{raw.relation}: {note}")
    if refusal := done.refusal():
        raise MeshError(refusal)


def _progress(
    context: dg.AssetExecutionContext, raw: RawTable, advance: Callable[[int], Any]
) -> Callable[[int], None]:
    """Passes on how many events were read, and logs it every few seconds."""
    read, said_at = 0, time.monotonic()

    def progress(events: int) -> None:
        nonlocal read, said_at
        advance(events)
        read += events
        if time.monotonic() - said_at >= QUIET_SECONDS:
            said_at = time.monotonic()
            context.log.info(f"{raw.relation}: {read:,} events landed so far")

    return progress


def _materialized(key: dg.AssetKey, done: "Landing") -> dg.MaterializeResult:
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


def _check_specs(key: dg.AssetKey, raw: RawTable) -> list[dg.AssetCheckSpec]:
    rejected = dg.AssetCheckSpec(
        REJECTED_CHECK,
        asset=key,
        description=f"At most {raw.max_rejected_percent:g} percent of the topic's events are "
        "rejected; `mesh rejected show` lists them.",
    )
    fresh = source_spec(key, raw)
    return [rejected, fresh] if fresh else [rejected]


def _check_results(
    store: "RawStore", key: dg.AssetKey, raw: RawTable, asked: Collection[dg.AssetCheckKey]
) -> Iterator[dg.AssetCheckResult]:
    if dg.AssetCheckKey(key, REJECTED_CHECK) in asked:
        yield _rejected_check(store, key, raw)
    if dg.AssetCheckKey(key, SOURCE_CHECK) in asked:
        landed_at = store.writer(raw).read().landed_at
        yield source_check(key, raw, landed_at, datetime.now(UTC))


def _rejected_check(store: "RawStore", key: dg.AssetKey, raw: RawTable) -> dg.AssetCheckResult:
    rejected, events = store.rejected_share(raw)
    percent = 100 * rejected / events if events else 0.0
    return dg.AssetCheckResult(
        passed=percent <= raw.max_rejected_percent,
        asset_key=key,
        check_name=REJECTED_CHECK,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "rejected": rejected,
            "events": events,
            "percent": percent,
            "allowed_percent": raw.max_rejected_percent,
        },
    )
