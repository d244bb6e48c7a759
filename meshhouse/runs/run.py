"""One run of one domain: build with dbt, audit the candidates, publish them together.

Belongs here: when a run builds, its advisory lock, and how its end is recorded. Not here: any
step (steps.py), what a run is about to do (plan.py), or who starts runs (dagster/, cli/).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from meshhouse import dbt
from meshhouse.dbt.watch import UNWATCHED, Watch
from meshhouse.engines import Engine
from meshhouse.engines.protocol import RUN_VARIABLE
from meshhouse.errors import MeshError, NotShown
from meshhouse.governance.deprecation import warnings
from meshhouse.governance.report import refusal
from meshhouse.locks import lock
from meshhouse.repository import Domain, Repository
from meshhouse.repository.references import resolve
from meshhouse.runs.aliases import moves, shown_versions
from meshhouse.runs.build_state import BuildState
from meshhouse.runs.domain_plan import DomainPlan, pins_of
from meshhouse.runs.history import past_publications
from meshhouse.runs.logs import new_logs
from meshhouse.runs.names import settle
from meshhouse.runs.objectives import objective_entries
from meshhouse.runs.outcome import (
    UNPUBLISHED,
    DomainRun,
    Say,
    dbt_failures,
    require_data_tests,
)
from meshhouse.runs.parse import fresh_manifest, refuse_findings
from meshhouse.runs.publication import audit_entry
from meshhouse.runs.retirement import complete, overdue, retire

OnPlan = Callable[[DomainPlan], None]
"""Receives what a run is about to do, before it does anything."""


def run_domain(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    products: Collection[str] | None = None,
    force: bool = False,
    watch: Watch = UNWATCHED,
    full_refresh: bool = False,
    on_plan: OnPlan = lambda plan: None,
    confirmed: str = "",
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
        watch: learns what is happening.
        full_refresh: as `force`, and build incremental models from nothing.
        on_plan: receives the plan.
        confirmed: why every silent change of this run is meant; see `Gate`.

    Returns:
        What happened; a failure of the domain is an outcome, not an exception.
    """
    run = DomainRun(domain.name, str(uuid.uuid4()))
    run.covered = (
        sorted(products) if products is not None else [each.name for each in domain.products]
    )

    say = watch.say
    with run_lock(repository, domain, watch):
        unrecorded = run.audited
        try:
            with dbt.environment({RUN_VARIABLE: run.run_id}):
                engine.finish_publications(domain)
                _settle(repository, engine, domain, run, say)
                if run.outcome != "rejected":
                    run.warnings = warnings(repository, domain, engine.ledger)
                    plan = DomainPlan(repository, engine, domain, products, force or full_refresh)
                    run.note(plan)
                    run.standing_checks = plan.standing_checks()
                    run.standing_changes = plan.standing_changes()
                    on_plan(plan)
                if run.outcome != "rejected" and plan.to_build:
                    # Loads a parser of SQL, which takes 0.3 s: only for runs that build.
                    from meshhouse.runs.steps import Steps

                    run.logs = new_logs(repository, domain.name, run.run_id)
                    steps = Steps(repository, engine, domain, plan, run, watch, confirmed)
                    steps.take(force or full_refresh, full_refresh)
                elif run.outcome != "rejected":
                    _move_names(repository, engine, domain, plan, say)
        except NotShown as error:  # recorded as published, which the next run makes true
            run.fail(error)
            unrecorded = []
        except MeshError as error:
            run.fail(error)
        except Exception as error:  # a mistake of the mesh or of a library
            if not run.published:  # the outcome is set before the commit, which contains it
                record_failure(engine, domain, f"{type(error).__name__}: {error}", run=run)
            raise
        run.finished_at = run.finished_at or datetime.now(UTC)
        if run.outcome != "published":  # a publication is recorded with what it shows
            objectives = objective_entries(engine.ledger, domain, run)
            entries = [audit_entry(run.run_id, *audited) for audited in unrecorded]
            engine.ledger.commit(
                [], {"runs": [run.entry()], "audits": entries, "objectives": objectives}
            )
    return run


@contextmanager
def run_lock(repository: Repository, domain: Domain, watch: Watch) -> Iterator[None]:
    """Holds a domain's lock of runs; says so while another run of it is at work."""

    def waiting(holder: str) -> None:
        watch.say(f"{domain.name}: waiting for another run of it (process {holder})")

    with lock(repository.workspace / "locks" / f"{domain.name}.run", waiting):
        yield


def record_failure(
    engine: Engine,
    domain: Domain,
    message: str,
    products: Collection[str] | None = None,
    run: DomainRun | None = None,
) -> None:
    """Records that a run of a domain failed, so that its status does not stay `published`.

    Args:
        engine: the target in use.
        domain: which one.
        message: what went wrong.
        products: names of the products that the run was about; None for all.
        run: what the run did so far; None if it ended before its first step.
    """
    if run is None:
        run = DomainRun(domain.name, str(uuid.uuid4()))
        every = [each.name for each in domain.products]
        run.covered = every if products is None else sorted(products)
    run.outcome, run.message, run.finished_at = "failed", message, datetime.now(UTC)
    engine.ledger.commit([], {"runs": [run.entry()]})


def _judge_moves(repository: Repository, engine: Engine, domain: Domain, run: DomainRun) -> None:
    """Rejects a run that would move a name to another version under readers who do not pin one."""
    shown = shown_versions(engine, domain)
    moving = [
        each
        for each in domain.products
        if each.is_latest and shown.get(each.plain_relation, each.version) != each.version
    ]
    if not moving or repository.environment:  # an environment has no consumers
        return
    # Loads a parser of SQL, which takes 0.3 s: only for runs that move a name.
    from meshhouse.runs.gate import Gate

    gate = Gate(repository, engine.ledger, domain, shown=shown)
    judged = [found for each in moving if (found := gate.judge_move(each))]
    if refused := [each for each in judged if each.outcome.refused]:
        run.judged = judged
        run.outcome, run.message = "rejected", f"{UNPUBLISHED} {refusal(refused)}"


def _move_names(
    repository: Repository, engine: Engine, domain: Domain, plan: DomainPlan, say: Say
) -> None:
    """Moves names to versions that were published before, in a run that builds nothing."""
    changes, entries = moves(engine, domain)
    if changes:
        refuse_findings(repository, domain, plan.manifest)
        engine.ledger.commit(changes, {"publications": entries})
    for each in entries:
        say(f"{domain.name}: {each['alias']} shows version {each['version']} now")


def _settle(
    repository: Repository, engine: Engine, domain: Domain, run: DomainRun, say: Say
) -> None:
    """What follows from declarations before anything is built: names, and ends of versions."""
    for line in settle(repository, engine, domain):
        say(f"{domain.name}: {line}")
    _judge_moves(repository, engine, domain, run)
    if run.outcome == "rejected":
        return
    try:
        complete(repository, engine, domain.name)
    except MeshError as error:  # consumers still find a retired product; the others go on
        say(f"{domain.name}: a retirement is not complete: {error}")
    today = datetime.now(UTC).date()
    for relation in overdue(repository, engine, domain, today):
        retire(repository, engine, relation, today)
        say(f"{domain.name}: retired {relation}: it is past its date, and no domain reads it")


def build_models(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    models: Sequence[str],
    watch: Watch = UNWATCHED,
) -> DomainRun:
    """Builds and tests some models of a domain without publishing anything.

    Args:
        repository: where the domain is declared.
        engine: the target in use.
        domain: whose models they are.
        models: their dbt names; what they are made of must have been built before.
        watch: learns what is happening.

    Returns:
        What happened; a failure is an outcome, not an exception.
    """
    run = DomainRun(domain.name, str(uuid.uuid4()))
    with run_lock(repository, domain, watch):
        try:
            engine.finish_publications(domain)
            settle(repository, engine, domain)
            resolve(repository, domain, engine.visible())
            manifest = fresh_manifest(repository, domain)
            versions = {each.name: manifest.code_version(each) for each in domain.products}
            BuildState(engine.build_folder(domain.name)).forget_other_code(versions)
            watch.say(f"{domain.name}: building {', '.join(models)}")
            pins = pins_of(engine, domain, past_publications(engine.ledger, domain.name))
            built = manifest.models_with(models)
            selectors = manifest.selection_of(built)
            run.logs = new_logs(repository, domain.name, run.run_id)
            watch.builds(built, run.logs)
            result = dbt.build(
                repository, domain.name, selectors, pins=pins, watch=watch, logs=run.logs
            )
            run.nodes = result.nodes
            if result.failed:
                raise MeshError(dbt_failures(domain, result.failed))
            require_data_tests(manifest, built, result)
            run.outcome = "built"
        except MeshError as error:
            run.fail(error)
    run.finished_at = datetime.now(UTC)
    return run
