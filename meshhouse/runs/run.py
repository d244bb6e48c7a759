"""One run of one domain: build with dbt, audit the candidates, publish them together.

Belongs here: the order of the steps and what one failing step means for the rest. Not here: any
step itself, what a run is about to do (plan.py), or who starts runs (dagster/, cli/).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from meshhouse import dbt
from meshhouse.audit import PREVIOUS_SUFFIX, Readable, audit
from meshhouse.engines import Candidate, Engine
from meshhouse.engines.protocol import RUN_VARIABLE
from meshhouse.errors import MeshError, NotShown
from meshhouse.locks import lock
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.references import resolve
from meshhouse.runs.build_state import BuildState
from meshhouse.runs.code_notes import CodeNotes
from meshhouse.runs.domain_plan import DomainPlan, pins_of
from meshhouse.runs.history import past_publications
from meshhouse.runs.objectives import objective_entries
from meshhouse.runs.outcome import DomainRun, dbt_failures, rejection, require_data_tests
from meshhouse.runs.parse import fresh_manifest, refuse_findings
from meshhouse.runs.publication import audit_entry, publish

Say = Callable[[str], None]
"""Receives one line for people about what is happening now."""
OnPlan = Callable[[DomainPlan], None]
"""Receives what a run is about to do, before it does anything."""


def run_domain(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    products: Collection[str] | None = None,
    force: bool = False,
    say: Say = lambda line: None,
    on_line: dbt.OnLine | None = None,
    full_refresh: bool = False,
    on_plan: OnPlan = lambda plan: None,
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
        full_refresh: as `force`, and build incremental models from nothing.
        on_plan: receives the plan.

    Returns:
        What happened; a failure of the domain is an outcome, not an exception.
    """
    run = DomainRun(domain.name, str(uuid.uuid4()))
    run.covered = (
        sorted(products) if products is not None else [each.name for each in domain.products]
    )

    def waiting(holder: str) -> None:
        say(f"{domain.name}: waiting for another run of it (process {holder})")

    with lock(repository.workspace / "locks" / f"{domain.name}.run", waiting):
        unrecorded = run.audited
        try:
            with dbt.environment({RUN_VARIABLE: run.run_id}):
                engine.finish_publications(domain)
                plan = DomainPlan(repository, engine, domain, products, force or full_refresh)
                run.note(plan)
                run.standing_checks = plan.standing_checks()
                on_plan(plan)
                if plan.to_build:
                    steps = _Steps(repository, engine, domain, plan, run, say, on_line)
                    steps.take(force or full_refresh, full_refresh)
        except NotShown as error:  # recorded as published, which the next run makes true
            run.fail(error)
            unrecorded = []
        except MeshError as error:
            run.fail(error)
        except Exception as error:  # a mistake of the mesh or of a library
            if run.outcome != "published":
                record_failure(engine, domain, f"{type(error).__name__}: {error}", run)
            raise
        run.finished_at = run.finished_at or datetime.now(UTC)
        objectives = objective_entries(engine.ledger, domain, run)
        if run.outcome != "published":  # a publication is recorded with what it shows
            entries = [audit_entry(run.run_id, *audited) for audited in unrecorded]
            engine.ledger.commit(
                [], {"runs": [run.entry()], "audits": entries, "objectives": objectives}
            )
        elif objectives:
            engine.ledger.commit([], {"objectives": objectives})
    return run


def record_failure(
    engine: Engine, domain: Domain, message: str, run: DomainRun | None = None
) -> None:
    """Records that a run of a domain failed, so that its status does not stay `published`.

    Args:
        engine: the target in use.
        domain: which one.
        message: what went wrong.
        run: what the run did so far; None if it ended before its first step.
    """
    if run is None:
        run = DomainRun(domain.name, str(uuid.uuid4()))
        run.covered = [each.name for each in domain.products]
    run.outcome, run.message, run.finished_at = "failed", message, datetime.now(UTC)
    engine.ledger.commit([], {"runs": [run.entry()]})


class _Steps:
    """The steps of a run in which something is built. Each writes into `run` what it did."""

    def __init__(
        self,
        repository: Repository,
        engine: Engine,
        domain: Domain,
        plan: DomainPlan,
        run: DomainRun,
        say: Say,
        on_line: dbt.OnLine | None,
    ) -> None:
        self._repository = repository
        self._engine = engine
        self._domain = domain
        self._plan = plan
        self._run = run
        self._say = say
        self._on_line = on_line

    def take(self, force: bool, full_refresh: bool) -> None:
        """Builds, audits and publishes.

        Raises:
            MeshError: a step failed, and nothing is published.
        """
        plan, engine = self._plan, self._engine
        code = plan.code_parts()  # before a file is edited
        refuse_findings(self._repository, self._domain, plan.manifest)
        # Tests compare what this run builds, so an unchanged product that they read is built too.
        models = plan.manifest.built_with(map(plan.manifest.model_id, plan.to_build))
        snapshots = plan.manifest.snapshots(models)
        engine.restore_snapshots(self._domain, snapshots)
        self._build(models, force, full_refresh)
        candidates: list[Candidate] = []
        try:
            # One by one, so that those that were staged can be withdrawn when one fails.
            candidates.extend(engine.stage(plan.manifest.described(each)) for each in plan.to_build)
            self._audit(candidates)
            if all(result.passed for _, result in self._run.audited):
                self._publish(snapshots)
            else:
                self._run.outcome = "rejected"
                self._run.message = rejection(self._run.audited)
                engine.withdraw(candidates)
        except BaseException:
            self._run.finished_at = None
            engine.withdraw(candidates)
            raise
        if self._run.published:
            self._note(code)

    def _build(self, models: set[str], force: bool, full_refresh: bool) -> None:
        """Builds models with dbt; the run has failed if one of them or of their tests does."""
        plan = self._plan
        built = BuildState(self._engine.build_folder(self._domain.name))
        grounds = plan.grounds(models)
        outdated = built.forget_outdated(grounds)
        self._tell("building")
        # Unit tests judge code, not data: code that is as it was built has passed them.
        result = dbt.build(
            self._repository,
            self._domain.name,
            *plan.manifest.selection(models),
            plan.pins,
            full_refresh=full_refresh or outdated,
            unit_tests=full_refresh or outdated or force,
            on_line=self._on_line,
        )
        self._run.nodes = result.nodes
        if result.failed:
            raise MeshError(dbt_failures(self._domain, result.failed))
        require_data_tests(plan.manifest, models, result)
        # The table in the build schema may be of an earlier run, and would be published as new.
        succeeded = {node.unique_id for node in result.nodes if node.status == "success"}
        for product in plan.to_build:
            if plan.manifest.model_id(product) not in succeeded:
                raise MeshError(
                    f"dbt built no table for {product.relation} in this run, so nothing is "
                    "published. A product needs `materialized: table` or `incremental`."
                )
        built.remember(grounds)

    def _audit(self, candidates: Sequence[Candidate]) -> None:
        """Audits every candidate beside all the others, as consumers would see them."""
        self._tell("auditing")
        visible = self._engine.visible()
        own = {each.relation: visible[each.relation] for each in self._domain.products
               if each.relation in visible}  # fmt: skip
        staged = {each.product.relation: each.staged.state for each in candidates}
        before = {_before(each.product): each.product.relation for each in candidates}
        previous = {_before(each): own[each.relation] for each in self._domain.products
                    if each.relation in own}  # fmt: skip
        empty = {name: each for name, each in before.items() if each not in own}
        pins = self._plan.pins
        products = [product for each in self._repository.domains for product in each.products]
        readable = Readable(products, pins.keys() - {each.relation for each in products})
        states = {**pins, **own, **previous, **staged}
        with self._engine.reader(self._domain, states, empty) as reader:
            for candidate in candidates:
                result = audit(candidate.product, reader, readable)
                self._run.audited.append((candidate, result))

    def _publish(self, snapshots: Sequence[str]) -> None:
        self._tell("publishing")
        histories = self._engine.stage_snapshots(self._domain, snapshots)
        run = self._run
        run.outcome, run.finished_at = "published", datetime.now(UTC)
        run.published = publish(
            self._engine.ledger, run.run_id, run.audited, self._plan.bases, run.entry(), histories
        )

    def _note(self, code: Mapping[str, Mapping[str, str]]) -> None:
        """Remembers what the code is made of, so that a later run can name what changed in it."""
        with suppress(OSError):  # a publication counts without the notes
            CodeNotes(self._repository, self._domain.name).remember(code)

    def _tell(self, doing: str) -> None:
        self._say(f"{self._domain.name}: {doing} {_listing(self._plan.to_build)}")


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
            engine.finish_publications(domain)
            resolve(repository, domain, engine.visible())
            manifest = fresh_manifest(repository, domain)
            versions = {each.name: manifest.code_version(each) for each in domain.products}
            BuildState(engine.build_folder(domain.name)).forget_other_code(versions)
            say(f"{domain.name}: building {', '.join(models)}")
            pins = pins_of(engine, domain, past_publications(engine.ledger, domain.name))
            built = manifest.models_with(models)
            selectors = manifest.selection_of(built)
            result = dbt.build(repository, domain.name, selectors, pins=pins, on_line=on_line)
            run.nodes = result.nodes
            if result.failed:
                raise MeshError(dbt_failures(domain, result.failed))
            require_data_tests(manifest, built, result)
            run.outcome = "built"
        except MeshError as error:
            run.fail(error)
    run.finished_at = datetime.now(UTC)
    return run


def _before(product: Product) -> str:
    """How checks call what is published of a product now."""
    return f"{product.domain}{PREVIOUS_SUFFIX}.{product.name}"


def _listing(products: Sequence[Product]) -> str:
    return ", ".join(product.relation for product in products)
