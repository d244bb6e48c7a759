"""The sensor that starts landing where events wait.

Belongs here: one look at all topics, and which runs it asks for. Not here: whether events wait
(meshhouse/landing/waiting.py), or how often it looks (orchestration/sensors.py).
"""

import json
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from meshhouse.dagster.abandoned import end_abandoned
from meshhouse.dagster.keys import raw_key
from meshhouse.dagster.tags import LANDS
from meshhouse.engines import Engine
from meshhouse.engines import engine as engine_of
from meshhouse.errors import MeshError
from meshhouse.landing.store import lands_itself, offsets_of
from meshhouse.landing.waiting import count
from meshhouse.repository import Domain, RawTable, Repository
from meshhouse.runs.selection import events_waiting

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def landing_sensor(
    repository: Repository, name: str, every_seconds: int, domains: Sequence[str] | None = None
) -> dg.SensorDefinition:
    """Starts landing where a topic holds events that its raw table does not.

    It also tells Dagster of what was landed without it, so that whatever follows is built, and
    which runs were killed. A code server that restarts would otherwise leave them running.

    Args:
        repository: the mesh.
        name: of the sensor.
        every_seconds: how often it looks, at most.
        domains: names of those whose topics it looks at; None for all.
    """
    read = repository.readings if domains is None else map(repository.reading, domains)
    usable = [domain for domain in read if domain.raw_tables and not domain.problems]
    raws = [raw for domain in usable for raw in domain.raw_tables]

    @dg.sensor(
        name=name,
        asset_selection=dg.AssetSelection.assets(*(raw_key(raw) for raw in raws)),
        minimum_interval_seconds=every_seconds,
        description="Starts landing where a topic holds events that its raw table does not.",
    )
    def events_wait(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        end_abandoned(repository, context.instance)
        engine = engine_of(repository)
        states = engine.states()
        seen: dict[str, str] = json.loads(context.cursor or "{}")
        requests, skipped = [], []
        for domain in usable:
            if _is_landing(context, domain):
                continue
            try:
                waiting, lost = _waiting(repository, engine, domain, states)
            except MeshError as error:
                skipped.append(str(error))
                continue
            skipped += lost
            if waiting:
                requests.append(_request(context, domain, waiting))
        moved = dict(_landed_by_others(context, engine, raws, states, seen))
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else " ".join(skipped) or "No events wait.",
            asset_events=[event for event, _ in moved.values()],
            cursor=json.dumps({**seen, **{name: state for name, (_, state) in moved.items()}}),
        )

    return events_wait


def _waiting(
    repository: Repository, engine: Engine, domain: Domain, states: Mapping[str, str]
) -> tuple[dict[str, dict[int, tuple[int, int]]], list[str]]:
    """Raw table -> waiting events, of the tables that a run lands; and topics that lost events.

    A run cannot land a topic that only lost events, so the sensor would ask for it at each look.
    """
    found = {
        raw.relation: events_waiting(repository, engine, raw, states)
        for raw in domain.raw_tables
        if lands_itself(engine.store, raw)
    }
    waiting = {
        relation: ranges
        for relation, ranges in found.items()
        if count(ranges) or (ranges and relation not in states)
    }
    lost = [
        f"The topic of {relation} ends before the landed offsets; see `mesh land {relation}`."
        for relation, ranges in found.items()
        if ranges and relation not in waiting
    ]
    return waiting, lost


def _request(
    context: dg.SensorEvaluationContext,
    domain: Domain,
    waiting: Mapping[str, dict[int, tuple[int, int]]],
) -> dg.RunRequest:
    chosen = [raw for raw in domain.raw_tables if raw.relation in waiting]
    events = sum(map(count, waiting.values()))
    return dg.RunRequest(
        # The same events ask for one run, however often the sensor looks, and for another one if
        # that run failed.
        run_key=json.dumps([waiting, _last_run(context, domain)], sort_keys=True),
        asset_selection=[raw_key(raw) for raw in chosen],
        tags={LANDS: domain.name, "meshhouse/waiting_events": str(events)},
    )


def _is_landing(context: dg.SensorEvaluationContext, domain: Domain) -> bool:
    filters = dg.RunsFilter(statuses=_UNFINISHED, tags={LANDS: domain.name})
    return bool(context.instance.get_run_records(filters, limit=1))


def _last_run(context: dg.SensorEvaluationContext, domain: Domain) -> str:
    filters = dg.RunsFilter(tags={LANDS: domain.name})
    records = context.instance.get_run_records(filters, limit=1)
    return records[0].dagster_run.run_id if records else ""


def _landed_by_others(
    context: dg.SensorEvaluationContext,
    engine: Engine,
    raws: list[RawTable],
    states: Mapping[str, str],
    seen: Mapping[str, str],
) -> Iterator[tuple[str, tuple[dg.AssetMaterialization, str]]]:
    """What `mesh land --follow` landed since the last look, reported once."""
    for raw in raws:
        state = states.get(raw.relation)
        if state is None:
            continue
        landed = offsets_of(engine.properties(raw.relation, state))
        offsets = {str(key): end for key, end in landed.items()}
        reported = json.dumps(offsets, sort_keys=True)
        if seen.get(raw.relation) == reported:
            continue
        known = context.instance.get_latest_materialization_event(raw_key(raw))
        told = known.asset_materialization.metadata.get("next_offsets") if known else None
        if told is not None and told.value == offsets:
            continue  # Dagster landed it itself
        event = dg.AssetMaterialization(
            raw_key(raw), metadata={"next_offsets": offsets, "landed_by": "mesh land"}
        )
        yield raw.relation, (event, reported)
