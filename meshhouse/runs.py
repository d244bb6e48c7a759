"""One run of one domain: build with dbt, audit the candidates, publish them together.

Belongs here: the order of the steps and what one failing step means for the rest. Does
not: any step itself, or who starts runs (orchestration/, cli/).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshhouse import dbt
from meshhouse.audit import PREVIOUS_SUFFIX, AuditResult, audit
from meshhouse.engines import RUN_VARIABLE, Candidate, Engine
from meshhouse.errors import MeshError, NotShown
from meshhouse.history import History, past_checks, past_publications, production_fails
from meshhouse.locks import lock
from meshhouse.publication import (
    Basis,
    Decision,
    audit_entry,
    publish,
    standing_publications,
)
from meshhouse.references import resolve
from meshhouse.registry import Registry
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.manifest import (
    Manifest,
    checked_relations,
    is_fresh,
    manifest_path,
    mark_fresh,
    project_fingerprint,
)

Say = Callable[[str], None]
"""Receives one line for people about what is happening now."""


@dataclass
class DomainRun:
    """What a run of one domain did."""

    domain: str
    run_id: str
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    outcome: str = "failed"
    """`published`, `unchanged`, `rejected`, `failed`, or `built` if nothing was to be published."""
    message: str = ""
    covered: list[str] = field(default_factory=list)
    """Names of the products that the run was about."""
    published: list[dict[str, Any]] = field(default_factory=list)
    unchanged: list[Product] = field(default_factory=list)
    withdrawn: list[Product] = field(default_factory=list)
    standing_checks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Product -> the checks that what consumers see of it has passed; of unchanged ones."""
    nodes: tuple[dbt.NodeResult, ...] = ()
    audited: list[tuple[Candidate, AuditResult]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether consumers see what they should."""
        return self.outcome in ("published", "unchanged", "built")

    @property
    def seconds(self) -> float:
        """How long it took."""
        return ((self.finished_at or datetime.now(UTC)) - self.started_at).total_seconds()

    @property
    def products(self) -> dict[str, str]:
        """Product -> what became of it.

        The run's outcome, but `unchanged` or `held back` (rolled back before) if there was
        nothing to do, and `not published` if only the checks of others failed.
        """
        became = dict.fromkeys(self.covered, self.outcome)
        if self.outcome == "rejected":
            for candidate, result in self.audited:
                if result.passed:
                    became[candidate.product.name] = "not published"
        became.update((product.name, "unchanged") for product in self.unchanged)
        became.update((product.name, "held back") for product in self.withdrawn)
        return became

    def entry(self) -> dict[str, Any]:
        """The run as the registry keeps it."""
        return {
            "run_id": self.run_id,
            "domain": self.domain,
            "outcome": self.outcome,
            "message": self.message,
            "products": self.products,
            "started_at": self.started_at,
            "finished_at": self.finished_at or datetime.now(UTC),
        }


def fresh_manifest(repository: Repository, domain: Domain) -> Manifest:
    """The domain's manifest; dbt parses the project only if a file changed.

    Raises:
        MeshError: the project does not parse.
    """
    if not is_fresh(repository, domain):
        with lock(repository.workspace / "locks" / f"{domain.name}.parse"):
            if not is_fresh(repository, domain):
                fingerprint = project_fingerprint(repository, domain)
                manifest_path(repository, domain.name).unlink(missing_ok=True)
                try:
                    dbt.parse(repository, domain.name)
                except dbt.DbtFailed:
                    _refuse_findings(repository, domain)  # dbt names neither line nor remedy
                    raise
                mark_fresh(repository, domain, fingerprint)
    return Manifest(repository, domain)


def run_domain(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    products: Collection[str] | None = None,
    force: bool = False,
    say: Say = lambda line: None,
    on_line: dbt.OnLine | None = None,
) -> DomainRun:
    """Builds, audits and publishes a domain; waits while another run of it is at work.

    Consumers keep what they have unless every candidate of the run passes.

    Args:
        repository: where the domain is declared.
        engine: the target in use.
        domain: what to run.
        products: names of the products to run, with those of the domain that they read or
            are checked with and that changed; None for all.
        force: build and publish the products even if unchanged or rolled back; not those
            that only come with them.
        say: receives what is happening.
        on_line: receives what dbt logs.

    Returns:
        What happened; a failure of the domain is an outcome, not an exception.
    """
    run = DomainRun(domain.name, str(uuid.uuid4()))
    run.covered = sorted(products) if products is not None else _names(domain)
    registry = engine.registry

    def waiting(holder: str) -> None:
        say(f"{domain.name}: waiting for another run of it (process {holder})")

    with lock(repository.workspace / "locks" / f"{domain.name}.run", waiting):
        try:
            with dbt.environment({RUN_VARIABLE: run.run_id}):
                _run(repository, engine, registry, domain, products, force, run, say, on_line)
            unrecorded = run.audited
        except NotShown as error:  # recorded as published, which the next run makes true
            run.outcome, run.message, unrecorded = "failed", str(error), []
        except MeshError as error:
            run.outcome, run.message, unrecorded = "failed", str(error), run.audited
        run.finished_at = run.finished_at or datetime.now(UTC)
        if run.outcome != "published":  # a publication is recorded with what it shows
            entries = [audit_entry(run.run_id, *audited) for audited in unrecorded]
            registry.commit([], {"runs": [run.entry()], "audits": entries})
    return run


def build_models(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    models: Sequence[str],
    say: Say = lambda line: None,
    on_line: dbt.OnLine | None = None,
) -> DomainRun:
    """Builds and tests some models of a domain without publishing anything.

    Args:
        repository: where the domain is declared.
        engine: the target in use.
        domain: whose models they are.
        models: their dbt names; what they are made of must have been built before.
        say: receives what is happening.
        on_line: receives what dbt logs.

    Returns:
        What happened; a failure is an outcome, not an exception.
    """
    run = DomainRun(domain.name, str(uuid.uuid4()))
    with lock(repository.workspace / "locks" / f"{domain.name}.run"):
        try:
            resolve(repository, domain, engine.visible())
            manifest, registry = fresh_manifest(repository, domain), engine.registry
            versions = {each.name: manifest.code_version(each) for each in domain.products}
            _BuildState(engine.build_folder(domain.name)).forget_outdated(versions)
            say(f"{domain.name}: building {', '.join(models)}")
            pins = _pins(engine, registry, domain, past_publications(registry, domain.name))
            selectors = manifest.selection_of(models)
            run.nodes = dbt.build(
                repository, domain.name, selectors, pins=pins, on_line=on_line
            ).nodes
            failed = [node for node in run.nodes if node.has_failed]
            run.outcome = "failed" if failed else "built"
            run.message = _dbt_failures(domain, failed) if failed else ""
        except MeshError as error:
            run.message = str(error)
    run.finished_at = datetime.now(UTC)
    return run


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
        plan = _Plan(repository, engine, engine.registry, domain, products, force=False)
    except MeshError:
        return None  # the run itself says what is wrong
    if plan.to_build:
        return None
    plan.note(run)
    run.finished_at = datetime.now(UTC)
    return run


def with_companions(
    repository: Repository, manifest: Manifest, domain: Domain, names: Collection[str]
) -> list[Product]:
    """Products, and those of the same domain that their SQL, tests or checks read, and so on.

    A candidate is checked against what stands beside it: one that was built from newer
    events than its neighbours would be rejected for that alone.

    Args:
        repository: where the domain is declared.
        manifest: the domain's.
        domain: whose products they are.
        names: of the products to start from.
    """
    # As if the domain were its own upstream: the check files name its products like others'.
    own = replace(domain, raw_tables=(), upstream=(domain.name,))
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        found |= waiting
        read: set[str] = set()
        for product in domain.products:
            if product.name in waiting:
                read.update(checked_relations(repository, own, product))
                built = manifest.built_with([manifest.model_id(product)])
                read.update(
                    each.relation for each in domain.products if manifest.model_id(each) in built
                )
        waiting = {relation.partition(".")[2] for relation in read} - found
    return [product for product in domain.products if product.name in found]


def forget_builds(folder: Path) -> None:
    """Lets the next run of a domain build everything from nothing.

    Args:
        folder: the engine's, of the domain's builds.
    """
    _BuildState(folder).forget()


def _pins(engine: Engine, registry: Registry, domain: Domain, history: History) -> dict[str, str]:
    """What a build of the domain reads: in an environment, what production has read."""
    # A fix is tried on the very data that it is for.
    late = production_fails(registry, domain.name)
    return engine.pin(domain, {} if late else history.read_by_production())


def _names(domain: Domain) -> list[str]:
    return [product.name for product in domain.products]


class _Plan:
    """What a run of a domain is about to do, from code, pinned inputs and the ledger."""

    def __init__(
        self,
        repository: Repository,
        engine: Engine,
        registry: Registry,
        domain: Domain,
        names: Collection[str] | None,
        force: bool,
    ) -> None:
        resolve(repository, domain, engine.visible())
        self.manifest = fresh_manifest(repository, domain)
        self._history = past_publications(registry, domain.name)
        self.pins = _pins(engine, registry, domain, self._history)
        self.bases: dict[str, Basis] = {}
        self.by_decision: dict[Decision, list[Product]] = {each: [] for each in Decision}
        self._registry = registry
        self._domain = domain
        asked = _names(domain) if names is None else names
        own, changed = engine.pointers(), []
        products = with_companions(repository, self.manifest, domain, asked)
        for product in products:
            basis = Basis(
                self.manifest.code_version(product),
                _input_snapshots(engine, self.manifest, product, self.pins),
            )
            self.bases[product.relation] = basis
            if self._history.has_changed(product, basis, own, force and product.name in asked):
                changed.append(product.name)
        # What is built must stand beside what it reads, which production may be late with.
        rebuilt = with_companions(repository, self.manifest, domain, changed)
        for product in products:
            basis = self.bases[product.relation]
            decision = self._history.decide(product, basis, force and product.name in asked)
            if decision is Decision.BUILD and product not in rebuilt:
                decision = Decision.UNCHANGED
            self.by_decision[decision].append(product)

    @property
    def to_build(self) -> list[Product]:
        return self.by_decision[Decision.BUILD]

    def note(self, run: DomainRun) -> None:
        """Says in a run what it leaves as it is."""
        run.outcome = "unchanged"
        run.covered = [each.name for products in self.by_decision.values() for each in products]
        run.unchanged = self.by_decision[Decision.UNCHANGED]
        run.withdrawn = self.by_decision[Decision.WITHDRAWN]

    def standing_checks(self) -> dict[str, list[dict[str, Any]]]:
        """Product -> the checks that what consumers see of it has passed; of unchanged ones."""
        unchanged = self.by_decision[Decision.UNCHANGED]
        if not unchanged:
            return {}
        checks = past_checks(self._registry, self._domain.name)
        return {
            product.name: checks[standing_publications(self._history.of(product))[-1]["audit_id"]]
            for product in unchanged
        }


def _run(
    repository: Repository,
    engine: Engine,
    registry: Registry,
    domain: Domain,
    names: Collection[str] | None,
    force: bool,
    run: DomainRun,
    say: Say,
    on_line: dbt.OnLine | None,
) -> None:
    plan = _Plan(repository, engine, registry, domain, names, force)
    plan.note(run)
    run.standing_checks = plan.standing_checks()
    wanted, manifest, pins, bases = plan.to_build, plan.manifest, plan.pins, plan.bases
    if not wanted:
        return
    run.outcome = "failed"  # until it is published
    _refuse_findings(repository, domain, manifest)
    built = _BuildState(engine.build_folder(domain.name))
    # Tests compare what this run builds, so an unchanged product that they read is built too.
    models = manifest.built_with(manifest.model_id(product) for product in wanted)
    versions = {
        product.name: bases[product.relation].code_version
        for product in domain.products
        if manifest.model_id(product) in models
    }
    full_refresh = built.forget_outdated(versions)
    snapshots = manifest.snapshots(models)
    engine.restore_snapshots(domain, snapshots)
    say(f"{domain.name}: building {_listing(wanted)}")
    # Unit tests judge code, not data: code that stands as it was built has passed them.
    unit_tests = full_refresh or force
    result = dbt.build(
        repository,
        domain.name,
        *manifest.selection(models),
        pins,
        full_refresh,
        unit_tests,
        on_line,
    )
    run.nodes = result.nodes
    if result.failed:
        run.outcome, run.message = "failed", _dbt_failures(domain, result.failed)
        return
    built.remember(versions)
    candidates: list[Candidate] = []
    try:
        # One by one, so that those that were staged can be withdrawn when one fails.
        candidates.extend(engine.stage(product) for product in wanted)
        say(f"{domain.name}: auditing {_listing(wanted)}")
        _audit(engine, domain, candidates, pins, run)
        rejected = [audited for audited in run.audited if not audited[1].passed]
        if rejected:
            run.outcome, run.message = "rejected", _rejection(run.audited)
            engine.withdraw(candidates)
            return
        say(f"{domain.name}: publishing {_listing(wanted)}")
        histories = engine.stage_snapshots(domain, snapshots)
        run.outcome, run.finished_at = "published", datetime.now(UTC)
        run.published = publish(registry, run.run_id, run.audited, bases, run.entry(), histories)
    except BaseException:
        run.finished_at = None
        engine.withdraw(candidates)
        raise


_FINDINGS_SHOWN = 5


def _refuse_findings(
    repository: Repository, domain: Domain, manifest: Manifest | None = None
) -> None:
    """Stops a run that would publish from a domain in which `mesh check` finds a mistake.

    The whole domain stops: its products are published together. Only a run that is about to
    build asks, because a run with nothing to do must not pay for loading the SQL parser.

    Raises:
        MeshError: `mesh check` finds something in the domain.
    """
    from meshhouse.checks import check_domain, manifest_findings

    # What dbt has read counts only where the files alone show nothing.
    found = check_domain(repository, domain)
    if manifest is not None and not found:
        found = manifest_findings(domain, manifest)
    findings = [str(each) for each in found]
    if findings:
        shown = " ".join(findings[:_FINDINGS_SHOWN])
        more = len(findings) - _FINDINGS_SHOWN
        raise MeshError(
            f"Nothing of {domain.name} is published while `mesh check` finds a mistake in it; "
            f"consumers keep what they had. {shown}"
            + (f" And {more} more: run `mesh check`." if more > 0 else "")
        )


def _input_snapshots(
    engine: Engine, manifest: Manifest, product: Product, pins: Mapping[str, str]
) -> dict[str, int | None]:
    relations = manifest.relations_read(product)
    for relation in relations:
        if relation not in pins:
            provider = relation.partition(".")[0]
            raise MeshError(
                f"{product.relation} reads {relation}, which was never published. "
                f"Run `mesh run {provider}` first."
            )
    return {relation: engine.state_id(pins[relation]) for relation in relations}


def _audit(
    engine: Engine,
    domain: Domain,
    candidates: Sequence[Candidate],
    pins: Mapping[str, str],
    run: DomainRun,
) -> None:
    """Audits every candidate where all of them are seen together, as they would be published."""
    pointers = engine.visible()
    own = {each.relation: pointers[each.relation] for each in domain.products
           if each.relation in pointers}  # fmt: skip
    previous = {
        f"{domain.name}{PREVIOUS_SUFFIX}.{relation.partition('.')[2]}": location
        for relation, location in own.items()
    }
    staged = {each.product.relation: each.staged.metadata_location for each in candidates}
    empty = {
        f"{domain.name}{PREVIOUS_SUFFIX}.{each.product.name}": each.product.relation
        for each in candidates
        if each.product.relation not in own
    }
    with engine.reader(domain, {**pins, **own, **previous, **staged}, empty) as reader:
        for candidate in candidates:
            run.audited.append((candidate, audit(candidate.product, reader)))


class _BuildState:
    """Which code built the tables that stand in the domain's build schema.

    An incremental model adds to what stands there, which is wrong once its code has
    changed: then it is built from nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "built.json"

    def forget_outdated(self, versions: Mapping[str, str]) -> bool:
        """Whether any product was built by other code (or never); forgets those."""
        built = self._read()
        outdated = [name for name, version in versions.items() if built.get(name) != version]
        if outdated:
            self._write({name: built[name] for name in built if name not in outdated})
        return bool(outdated)

    def forget(self) -> None:
        """Forgets all: code that nobody knows is about to build."""
        self._path.unlink(missing_ok=True)

    def remember(self, versions: Mapping[str, str]) -> None:
        """Notes that these products now stand as built by this code."""
        self._write({**self._read(), **versions})

    def _read(self) -> dict[str, str]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def _write(self, built: Mapping[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(dict(built), indent=1, sort_keys=True))
        partial.replace(self._path)


def _listing(products: Sequence[Product]) -> str:
    return ", ".join(product.relation for product in products)


def _dbt_failures(domain: Domain, failed: Sequence[dbt.NodeResult]) -> str:
    kinds = {"test": "data test", "unit_test": "unit test"}
    lines = [
        f"{kinds.get(node.resource_type, node.resource_type)} {node.name}: {node.message}"
        for node in failed
    ]
    return f"dbt build of {domain.name} failed; consumers keep what was published. " + "; ".join(
        lines
    )


def _rejection(audited: Sequence[tuple[Candidate, AuditResult]]) -> str:
    parts = []
    for candidate, result in audited:
        failed = [check for check in result.checks if not check.ok]
        if not failed:
            continue
        checks = "; ".join(check.describe() for check in failed)
        parts.append(
            f"{candidate.product.relation} failed {len(failed)} of {len(result.checks)} checks: "
            f"{checks}"
        )
    return "Not published; consumers keep what they had. " + ". ".join(parts)
