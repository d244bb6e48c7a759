"""What a run is about, known before anything is started.

Belongs here: from the names in a command to domains and products, where events wait, and
which domains have nothing to do. Not here: whether a product is built (plan.py), or the run of a
domain (run.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from meshhouse.engines import Engine
from meshhouse.errors import MeshError
from meshhouse.governance.deprecation import warnings
from meshhouse.landing import lands_itself
from meshhouse.landing.store import offsets_of
from meshhouse.landing.waiting import waiting
from meshhouse.repository import BrokenDomain, Domain, RawTable, Repository, broken_because
from meshhouse.runs.domain_plan import DomainPlan
from meshhouse.runs.names import pending
from meshhouse.runs.objectives import objective_entries
from meshhouse.runs.outcome import DomainRun
from meshhouse.runs.retirement import incomplete, overdue


@dataclass(frozen=True)
class Selection:
    """The domains and products that a run is about."""

    domains: tuple[Domain, ...]
    """Those that can be used, upstream domains first."""
    broken: tuple[Domain, ...] = ()
    """Those that the run is about and that cannot be used."""
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Domain -> names of its products in question, where the run is not about all of them."""

    def names(self, domain: Domain) -> tuple[str, ...] | None:
        """Names of a domain's products in question; None for all."""
        return self.parts.get(domain.name)

    def without(self, done: Collection[str]) -> Selection:
        """What is left when the domains of these names are done."""
        return replace(self, domains=tuple(each for each in self.domains if each.name not in done))

    @property
    def whole(self) -> list[str]:
        """Names of the domains that run with all their products."""
        return [each.name for each in self.domains if self.names(each) is None]

    @property
    def products(self) -> list[str]:
        """The products that run alone, as `domain.product`."""
        return [f"{each.name}.{name}" for each in self.domains for name in self.names(each) or ()]


def select(repository: Repository, targets: Sequence[str], downstream: bool) -> Selection:
    """What a run of these targets is about.

    Args:
        repository: the mesh.
        targets: domains (`sales`) or products (`sales.orders`); empty for everything.
        downstream: also every domain that uses them.

    Raises:
        UsageError: a target does not exist.
        BrokenDomain: nothing can be used, for one and the same reason.
    """
    chosen = _chosen(repository, targets, downstream)
    domains = tuple(domain for domain in chosen if not domain.problems)
    broken = tuple(domain for domain in chosen if domain.problems)
    if broken and not domains and len({broken_because(each) for each in broken}) == 1:
        raise BrokenDomain(broken[0])
    parts: dict[str, tuple[str, ...]] = {}
    for target in dict.fromkeys(targets):
        domain, dot, _ = target.partition(".")
        if dot and domain not in targets and not downstream:
            product = repository.product(target)  # the name may be an alias
            parts[domain] = (*parts.get(domain, ()), product.name)
    return Selection(domains, broken, parts)


def settled(repository: Repository, engine: Engine, selection: Selection) -> list[DomainRun]:
    """The domains that have nothing to do, each as a run that changed nothing.

    They are recorded, since consumers count on knowing when a product was last confirmed.

    Args:
        repository: the mesh.
        engine: the target in use.
        selection: what the run is about.
    """
    runs: list[DomainRun] = []
    busy: set[str] = set()
    for domain in selection.domains:
        run = None
        if not busy & set(domain.upstream) and not _must_land(repository, engine, domain):
            run = unchanged_run(repository, engine, domain, selection.names(domain))
        if run is None:
            busy.add(domain.name)
        else:
            runs.append(run)
    if runs:
        domains = {domain.name: domain for domain in selection.domains}
        objectives = [
            entry
            for run in runs
            for entry in objective_entries(engine.ledger, domains[run.domain], run)
        ]
        engine.ledger.commit([], {"runs": [run.entry() for run in runs], "objectives": objectives})
    return runs


def unchanged_run(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    products: Collection[str] | None = None,
) -> DomainRun | None:
    """The run of a domain in which every product stands; None if there is something to do.

    Args:
        repository: where the domain is declared.
        engine: the target in use.
        domain: which one.
        products: names of the products in question; None for all.
    """
    run = DomainRun(domain.name, str(uuid.uuid4()))
    try:
        engine.finish_publications(domain)
        if pending(repository, engine, domain) or incomplete(engine, domain.name):
            return None
        if overdue(repository, engine, domain, datetime.now(UTC).date()):
            return None
        plan = DomainPlan(repository, engine, domain, products, force=False)
    except MeshError:
        return None  # the run itself says what is wrong
    if plan.to_build:
        return None
    run.note(plan)
    run.warnings = warnings(repository, domain, engine.ledger)
    run.finished_at = datetime.now(UTC)
    return run


def events_waiting(
    repository: Repository, engine: Engine, raw: RawTable, states: Mapping[str, str]
) -> dict[int, tuple[int, int]]:
    """Partition -> next offset to land and end of the partition, where landing has work to do.

    Args:
        repository: where the topic is declared.
        engine: the target in use.
        raw: the raw table of the topic.
        states: see `Engine.states`.

    Raises:
        MeshError: the topic cannot be read.
    """
    state = states.get(raw.relation)
    landed = offsets_of(engine.properties(raw.relation, state)) if state is not None else None
    # Loads pyarrow, which takes 0.2 s: only for domains that have topics.
    from meshhouse.events import open_source

    topic = open_source(repository.root, repository.home).describe(raw.topic)
    return waiting(topic.partitions, landed)


def _must_land(repository: Repository, engine: Engine, domain: Domain) -> bool:
    states = engine.states()
    for raw in domain.raw_tables:
        if not lands_itself(engine.store, raw):
            continue
        try:
            if events_waiting(repository, engine, raw, states):
                return True
        except MeshError:
            return True  # landing says what is wrong
    return False


def _chosen(repository: Repository, targets: Sequence[str], downstream: bool) -> list[Domain]:
    """The domains that targets name, broken ones among them, upstream domains first."""
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
