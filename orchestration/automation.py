"""What starts by itself: landing when events wait, what follows from it, and upkeep.

Belongs here: the sensor on consumer lag, the conditions of declarative automation, the
schedule. Does not: the assets (domain.py). All of it is off until somebody switches it
on in Dagster's page.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from meshhouse.engines import Engine, lake_of
from meshhouse.engines import engine as engine_of
from meshhouse.errors import MeshError
from meshhouse.events import open_source
from meshhouse.landing import lands_itself
from meshhouse.landing.store import offsets_of
from meshhouse.maintenance import maintain
from meshhouse.repository import Domain, RawTable, Repository

LOOK_SECONDS = 30
UPKEEP_HOURS = "0 4 * * *"
DOMAIN_TAG = "meshhouse/landing"
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def automation(repository: Repository) -> dict[str, list[Any]]:
    """The sensors and schedules of the mesh, as `dg.Definitions` wants them."""
    # A target that keeps its own tables maintains them itself.
    has_lake = lake_of(engine_of(repository)) is not None
    return {
        "sensors": [
            _landing_sensor(repository),
            dg.AutomationConditionSensorDefinition(
                "whatever_follows",
                target=dg.AssetSelection.all(),
                description="Builds, audits and publishes what depends on what was landed.",
            ),
        ],
        "schedules": [_upkeep_schedule(repository)] if has_lake else [],
    }


def lags(
    repository: Repository, engine: Engine, raw: RawTable, pointers: Mapping[str, str]
) -> dict[int, tuple[int, int]]:
    """Partition -> next offset to land and end, where events wait.

    Raises:
        MeshError: the topic cannot be asked.
    """
    location = pointers.get(raw.relation)
    landed = offsets_of(engine.properties(raw.relation, location)) if location else {}
    topic = open_source(repository.root, repository.home).describe(raw.topic)
    return {
        number: (landed.get(number, each.begin), each.end)
        for number, each in topic.partitions.items()
        if landed.get(number, each.begin) < each.end or location is None
    }


def _landing_sensor(repository: Repository) -> dg.SensorDefinition:
    raws = repository.raw_tables()

    @dg.sensor(
        name="events_wait",
        asset_selection=dg.AssetSelection.assets(*(_key(raw) for raw in raws)),
        minimum_interval_seconds=LOOK_SECONDS,
        description="Starts landing where a topic holds events that its raw table does not.",
    )
    def events_wait(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        engine = engine_of(repository)
        pointers = engine.pointers()
        seen: dict[str, str] = json.loads(context.cursor or "{}")
        requests, skipped = [], []
        for domain in repository.domains:
            if not domain.raw_tables or _is_landing(context, domain):
                continue
            try:
                waiting = {
                    raw.relation: lag
                    for raw in domain.raw_tables
                    if lands_itself(engine.store, raw)
                    and (lag := lags(repository, engine, raw, pointers))
                }
            except MeshError as error:
                skipped.append(str(error))
                continue
            if waiting:
                requests.append(_request(context, domain, waiting))
        moved = dict(_landed_by_others(context, engine, raws, pointers, seen))
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else " ".join(skipped) or "No events wait.",
            asset_events=[event for event, _ in moved.values()],
            cursor=json.dumps({**seen, **{name: state for name, (_, state) in moved.items()}}),
        )

    return events_wait


def _request(
    context: dg.SensorEvaluationContext,
    domain: Domain,
    waiting: Mapping[str, dict[int, tuple[int, int]]],
) -> dg.RunRequest:
    chosen = [raw for raw in domain.raw_tables if raw.relation in waiting]
    events = sum(end - start for lag in waiting.values() for start, end in lag.values())
    return dg.RunRequest(
        # The same events ask for one run only, however often somebody looks; once more if
        # that run failed.
        run_key=json.dumps([waiting, _last_run(context, domain)], sort_keys=True),
        asset_selection=[_key(raw) for raw in chosen],
        tags={DOMAIN_TAG: domain.name, "meshhouse/waiting_events": str(events)},
    )


def _is_landing(context: dg.SensorEvaluationContext, domain: Domain) -> bool:
    filters = dg.RunsFilter(statuses=_UNFINISHED, tags={DOMAIN_TAG: domain.name})
    return bool(context.instance.get_run_records(filters, limit=1))


def _last_run(context: dg.SensorEvaluationContext, domain: Domain) -> str:
    filters = dg.RunsFilter(tags={DOMAIN_TAG: domain.name})
    records = context.instance.get_run_records(filters, limit=1)
    return records[0].dagster_run.run_id if records else ""


def _landed_by_others(
    context: dg.SensorEvaluationContext,
    engine: Engine,
    raws: list[RawTable],
    pointers: Mapping[str, str],
    seen: Mapping[str, str],
) -> Iterator[tuple[str, tuple[dg.AssetMaterialization, str]]]:
    """What `mesh land --follow` landed since the last look, told once a look."""
    for raw in raws:
        location = pointers.get(raw.relation)
        if location is None:
            continue
        landed = offsets_of(engine.properties(raw.relation, location))
        offsets = {str(key): end for key, end in landed.items()}
        state = json.dumps(offsets, sort_keys=True)
        if seen.get(raw.relation) == state:
            continue
        known = context.instance.get_latest_materialization_event(_key(raw))
        told = known.asset_materialization.metadata.get("next_offsets") if known else None
        if told is not None and told.value == offsets:
            continue  # Dagster landed it itself
        event = dg.AssetMaterialization(
            _key(raw), metadata={"next_offsets": offsets, "landed_by": "mesh land"}
        )
        yield raw.relation, (event, state)


def _upkeep_schedule(repository: Repository) -> dg.ScheduleDefinition:
    @dg.op(name="maintain_tables")
    def maintain_tables(context: dg.OpExecutionContext) -> None:
        lake = lake_of(engine_of(repository))
        for done in maintain(lake, say=context.log.info):
            context.log.info(
                f"{done.relation}: {done.files_before} files became {done.files_after}, "
                f"{done.snapshots_expired} snapshots expired, "
                f"{done.orphans_removed} orphans removed"
            )

    @dg.job(name="upkeep", description="Compacts tables, expires snapshots, removes orphans.")
    def upkeep() -> None:
        maintain_tables()

    return dg.ScheduleDefinition(name="upkeep_every_night", job=upkeep, cron_schedule=UPKEEP_HOURS)


def _key(raw: RawTable) -> dg.AssetKey:
    return dg.AssetKey([raw.schema, raw.name])
