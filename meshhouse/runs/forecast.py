"""What a run would do, without doing any of it.

Belongs here: the plans of the domains in the order of a run, where each one counts on what the
domains before it would land and publish. Not here: the decision about a product (plan.py), or
printing (cli/run.py).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from meshhouse.engines import Engine
from meshhouse.errors import MeshError
from meshhouse.events import open_source
from meshhouse.landing import lands_itself
from meshhouse.landing.target import open_target
from meshhouse.landing.waiting import count, waiting
from meshhouse.repository import Domain, RawTable, Repository
from meshhouse.runs.domain_plan import DomainPlan, with_companions
from meshhouse.runs.parse import fresh_manifest, refuse_findings
from meshhouse.runs.selection import Selection


@dataclass
class Forecast:
    """What a run of one domain would do."""

    domain: str
    waiting: dict[RawTable, int] = field(default_factory=dict)
    """Raw table that would be landed -> events that wait for it."""
    plan: DomainPlan | None = None
    problem: str = ""
    """Why the run would fail before it builds anything."""


def forecasts(
    repository: Repository, engine: Engine, selection: Selection, force: bool
) -> list[Forecast]:
    """What a run would do in each domain; dbt may parse projects, and nothing else is written.

    An input that the run would land or publish counts as moved: nobody knows before whether its
    rows will differ, or whether the run will reject it. In Snowflake a run first finishes
    publications that were interrupted; a forecast changes nothing and reads what readers see.

    Args:
        repository: the mesh.
        engine: the target in use.
        selection: what the run would be about.
        force: build what the run is asked for, whatever the ledger says.
    """
    to_come: set[str] = set()
    stopped: set[str] = set()
    found = []
    with TemporaryDirectory(prefix="mesh-forecast-") as files:
        for domain in selection.domains:
            forecast = Forecast(domain.name)
            found.append(forecast)
            if uses := [each for each in domain.upstream if each in stopped]:
                forecast.problem = f"would not run: it uses {uses[0]}"
                stopped.add(domain.name)
                continue
            names = selection.names(domain)
            try:
                for raw in _raw_tables(repository, domain, names):
                    if lands_itself(engine.store, raw):
                        forecast.waiting.update(_events(repository, engine, raw))
            except MeshError as error:
                forecast.problem = _reason(domain, error)
                stopped.add(domain.name)
                continue
            to_come |= {raw.relation for raw in forecast.waiting}
            try:
                plan = DomainPlan(repository, engine, domain, names, force, to_come, Path(files))
            except MeshError as error:
                forecast.problem = _reason(domain, error)
                continue
            try:
                if plan.to_build:
                    refuse_findings(repository, domain, plan.manifest)
            except MeshError as error:
                forecast.problem = _reason(domain, error)
                stopped.add(domain.name)
                continue
            forecast.plan = plan
            to_come |= {product.relation for product in plan.to_build}
    return found


def _reason(domain: Domain, error: MeshError) -> str:
    return str(error).removeprefix(f"{domain.name}: ")


def _raw_tables(
    repository: Repository, domain: Domain, names: Collection[str] | None
) -> list[RawTable]:
    """The raw tables of a domain that a run lands: with single products, those that they read."""
    if names is None:
        return list(domain.raw_tables)
    manifest = fresh_manifest(repository, domain)
    products = with_companions(repository, manifest, domain, names)
    read = {relation for each in products for relation in manifest.relations_read(each)}
    return [raw for raw in domain.raw_tables if raw.relation in read]


def _events(repository: Repository, engine: Engine, raw: RawTable) -> dict[RawTable, int]:
    """How many events wait for a raw table; nothing where landing would have nothing to do.

    Raises:
        MeshError: landing would refuse the topic or the declaration of the table.
    """
    topic = open_source(repository.root, repository.home).describe(raw.topic)
    target = open_target(engine.store, raw, topic, ())
    target.starts(topic)
    ranges = waiting(topic.partitions, target.offsets if target.exists else None)
    return {raw: count(ranges)} if ranges else {}
