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
from meshhouse.repository.manifest import Manifest
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
    stops_users: bool = False
    """Whether the domains that use this one would not run either."""


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
            if uses := [each for each in domain.upstream if each in stopped]:
                forecast = Forecast(domain.name, problem=f"would not run: it uses {uses[0]}")
                forecast.stops_users = True
            else:
                names = selection.names(domain)
                forecast = _of_domain(
                    repository, engine, domain, names, force, to_come, Path(files)
                )
            found.append(forecast)
            if forecast.stops_users:
                stopped.add(domain.name)
            if forecast.plan is not None:
                to_come |= {product.relation for product in forecast.plan.to_build}
    return found


def _of_domain(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    names: Collection[str] | None,
    force: bool,
    to_come: set[str],
    files: Path,
) -> Forecast:
    """What a run of one domain would do; adds the raw tables that it would land to `to_come`."""
    forecast = Forecast(domain.name)
    is_left_out = True
    try:
        # A run leaves out a domain that does not parse; its users read what it has published.
        manifest = fresh_manifest(repository, domain)
        is_left_out = False
        for raw in _raw_tables(repository, domain, manifest, names):
            if lands_itself(engine.store, raw):
                forecast.waiting.update(_events(repository, engine, raw))
        to_come |= {raw.relation for raw in forecast.waiting}
        plan = DomainPlan(repository, engine, domain, names, force, to_come, files)
        if plan.to_build:
            refuse_findings(repository, domain, plan.manifest)
    except MeshError as error:
        forecast.problem = str(error).removeprefix(f"{domain.name}: ")
        forecast.stops_users = not is_left_out
    else:
        forecast.plan = plan
    return forecast


def _raw_tables(
    repository: Repository, domain: Domain, manifest: Manifest, names: Collection[str] | None
) -> list[RawTable]:
    """The raw tables of a domain that a run lands: with single products, those that they read."""
    if names is None:
        return list(domain.raw_tables)
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
