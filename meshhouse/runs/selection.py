"""What a run has to do, known before anything is started.

Belongs here: which domains a run is about, and which of them have nothing to do: no
event waits and every product stands as its code and inputs would make it. Does not:
doing it (runs.py, orchestration/).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from meshhouse.engines import Engine
from meshhouse.errors import MeshError
from meshhouse.events import open_source
from meshhouse.landing import lands_itself
from meshhouse.landing.store import OFFSETS
from meshhouse.repository import Domain, RawTable, Repository
from meshhouse.runs.run import DomainRun, unchanged_run


def planned_domains(
    repository: Repository, targets: Sequence[str], downstream: bool
) -> list[Domain]:
    """The domains that a run of these targets is about, upstream domains first.

    Broken ones are among them, with their problems.

    Args:
        repository: the mesh.
        targets: domains (`sales`) or products (`sales.orders`); empty for everything.
        downstream: also every domain that uses them.

    Raises:
        UsageError: a target does not exist.
    """
    if not targets:
        return list(repository.readings)
    wanted = set()
    for target in targets:
        if "." in target:
            wanted.add(repository.product(target).domain)
        else:
            wanted.add(repository.reading(target).name)
    chosen = []
    for domain in repository.readings:
        if domain.name in wanted or (downstream and wanted & set(domain.upstream)):
            wanted.add(domain.name)
            chosen.append(domain)
    return chosen


def settled(
    repository: Repository,
    engine: Engine,
    domains: Sequence[Domain],
    parts: Mapping[str, Collection[str]] | None = None,
) -> list[DomainRun]:
    """The domains that have nothing to do, each as a run that changed nothing.

    They are recorded, since consumers count on knowing when a product was last confirmed.

    Args:
        repository: the mesh.
        engine: the target in use.
        domains: the domains in question, upstream domains first.
        parts: domain -> names of its products in question, where it is not about all.
    """
    runs: list[DomainRun] = []
    busy: set[str] = set()
    for domain in domains:
        run = None
        if not busy & set(domain.upstream) and not _events_wait(repository, engine, domain):
            run = unchanged_run(repository, engine, domain, (parts or {}).get(domain.name))
        if run is None:
            busy.add(domain.name)
        else:
            runs.append(run)
    if runs:
        engine.ledger.commit([], {"runs": [run.entry() for run in runs]})
    return runs


def _events_wait(repository: Repository, engine: Engine, domain: Domain) -> bool:
    pointers = engine.pointers()
    return any(
        _waits(repository, engine, raw, pointers)
        for raw in domain.raw_tables
        if lands_itself(engine.store, raw)
    )


def _waits(repository: Repository, engine: Engine, raw: RawTable, pointers: dict[str, str]) -> bool:
    if raw.relation not in pointers:
        return True
    properties = engine.properties(raw.relation, pointers[raw.relation])
    landed = {int(key): end for key, end in json.loads(properties.get(OFFSETS, "{}")).items()}
    try:
        topic = open_source(repository.root, repository.home).describe(raw.topic)
    except MeshError:
        return True  # landing says what is wrong
    return any(each.end != landed.get(number, 0) for number, each in topic.partitions.items())
