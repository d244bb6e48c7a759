"""One run of one domain: build with dbt, audit the candidates, publish them together.

Belongs here: the order of the steps and what one failing step means for the rest. Does
not: any step itself, or who starts runs (orchestration/, cli/).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from meshhouse import dbt
from meshhouse.audit import (
    PREVIOUS_SUFFIX,
    ROWS_AGAINST_PREVIOUS,
    AuditResult,
    CheckResult,
    Readable,
    audit,
    check_key,
)
from meshhouse.engines import Candidate, Engine
from meshhouse.engines.protocol import RUN_VARIABLE
from meshhouse.errors import MeshError, NotShown
from meshhouse.locks import lock
from meshhouse.repository import Domain, Product, Repository, display_path
from meshhouse.repository.manifest import Manifest
from meshhouse.repository.references import resolve
from meshhouse.runs.build_state import BuildState
from meshhouse.runs.history import past_publications
from meshhouse.runs.plan import DomainPlan, fresh_manifest, pins_of, refuse_findings
from meshhouse.runs.publication import Decision, audit_entry, publish

_MOST_NAMED = 5

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
    withheld: dict[str, str] = field(default_factory=dict)
    """Product -> why the run left it out: it is `disabled` or `not public`."""
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
        nothing to do, `not published` if only the checks of others failed, and `disabled` or
        `not public` if dbt builds no such product.
        """
        became = dict.fromkeys(self.covered, self.outcome)
        if self.outcome == "rejected":
            for candidate, result in self.audited:
                if result.passed:
                    became[candidate.product.name] = "not published"
        became.update((product.name, "unchanged") for product in self.unchanged)
        became.update((product.name, "held back") for product in self.withdrawn)
        became.update(self.withheld)
        return became

    def note(self, plan: DomainPlan) -> None:
        """Takes over from a plan what the run leaves as it is."""
        self.outcome = "unchanged"
        self.covered = plan.covered
        self.unchanged = plan.by_decision[Decision.UNCHANGED]
        self.withdrawn = plan.by_decision[Decision.WITHDRAWN]
        self.withheld = plan.withheld

    def entry(self) -> dict[str, Any]:
        """The run as the ledger keeps it."""
        return {
            "run_id": self.run_id,
            "domain": self.domain,
            "outcome": self.outcome,
            "message": self.message,
            "products": self.products,
            "started_at": self.started_at,
            "finished_at": self.finished_at or datetime.now(UTC),
        }


def run_domain(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    products: Collection[str] | None = None,
    force: bool = False,
    say: Say = lambda line: None,
    on_line: dbt.OnLine | None = None,
    full_refresh: bool = False,
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

    Returns:
        What happened; a failure of the domain is an outcome, not an exception.
    """
    run = DomainRun(domain.name, str(uuid.uuid4()))
    run.covered = (
        sorted(products) if products is not None else [each.name for each in domain.products]
    )
    ledger = engine.ledger

    def waiting(holder: str) -> None:
        say(f"{domain.name}: waiting for another run of it (process {holder})")

    with lock(repository.workspace / "locks" / f"{domain.name}.run", waiting):
        try:
            with dbt.environment({RUN_VARIABLE: run.run_id}):
                _run(
                    repository, engine, domain, products, force or full_refresh, full_refresh,
                    run, say, on_line,
                )  # fmt: skip
            unrecorded = run.audited
        except NotShown as error:  # recorded as published, which the next run makes true
            run.outcome, run.message, unrecorded = "failed", str(error), []
        except MeshError as error:
            run.outcome, run.message, unrecorded = "failed", str(error), run.audited
        run.finished_at = run.finished_at or datetime.now(UTC)
        if run.outcome != "published":  # a publication is recorded with what it shows
            entries = [audit_entry(run.run_id, *audited) for audited in unrecorded]
            ledger.commit([], {"runs": [run.entry()], "audits": entries})
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
            manifest = fresh_manifest(repository, domain)
            versions = {each.name: manifest.code_version(each) for each in domain.products}
            BuildState(engine.build_folder(domain.name)).forget_other_code(versions)
            say(f"{domain.name}: building {', '.join(models)}")
            ledger = engine.ledger
            pins = pins_of(engine, ledger, domain, past_publications(ledger, domain.name))
            built = manifest.models_with(models)
            selectors = manifest.selection_of(built)
            result = dbt.build(repository, domain.name, selectors, pins=pins, on_line=on_line)
            run.nodes = result.nodes
            if result.failed:
                run.message = _dbt_failures(domain, result.failed)
            else:
                _require_data_tests(manifest, built, result)
                run.outcome = "built"
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
        plan = DomainPlan(repository, engine, domain, products, force=False)
    except MeshError:
        return None  # the run itself says what is wrong
    if plan.to_build:
        return None
    run.note(plan)
    run.finished_at = datetime.now(UTC)
    return run


def _run(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    names: Collection[str] | None,
    force: bool,
    full_refresh: bool,
    run: DomainRun,
    say: Say,
    on_line: dbt.OnLine | None,
) -> None:
    plan = DomainPlan(repository, engine, domain, names, force)
    run.note(plan)
    run.standing_checks = plan.standing_checks()
    if not plan.to_build:
        return
    run.outcome = "failed"  # until it is published
    wanted = plan.to_build
    refuse_findings(repository, domain, plan.manifest)
    # Tests compare what this run builds, so an unchanged product that they read is built too.
    models = plan.manifest.built_with(plan.manifest.model_id(product) for product in wanted)
    snapshots = plan.manifest.snapshots(models)
    engine.restore_snapshots(domain, snapshots)
    if not _build(repository, engine, domain, plan, models, force, full_refresh, run, say, on_line):
        return
    candidates: list[Candidate] = []
    try:
        # One by one, so that those that were staged can be withdrawn when one fails.
        candidates.extend(engine.stage(plan.manifest.described(each)) for each in wanted)
        say(f"{domain.name}: auditing {_listing(wanted)}")
        _audit(repository, engine, domain, candidates, plan.pins, run)
        rejected = [audited for audited in run.audited if not audited[1].passed]
        if rejected:
            run.outcome, run.message = "rejected", _rejection(run.audited)
            engine.withdraw(candidates)
            return
        say(f"{domain.name}: publishing {_listing(wanted)}")
        histories = engine.stage_snapshots(domain, snapshots)
        run.outcome, run.finished_at = "published", datetime.now(UTC)
        run.published = publish(
            engine.ledger, run.run_id, run.audited, plan.bases, run.entry(), histories
        )
    except BaseException:
        run.finished_at = None
        engine.withdraw(candidates)
        raise


def _build(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    plan: DomainPlan,
    models: set[str],
    force: bool,
    full_refresh: bool,
    run: DomainRun,
    say: Say,
    on_line: dbt.OnLine | None,
) -> bool:
    """Builds models with dbt; False if that failed, which the run then says."""
    built = BuildState(engine.build_folder(domain.name))
    grounds = plan.grounds(models)
    outdated = built.forget_outdated(grounds)
    say(f"{domain.name}: building {_listing(plan.to_build)}")
    # Unit tests judge code, not data: code that is as it was built has passed them.
    result = dbt.build(
        repository,
        domain.name,
        *plan.manifest.selection(models),
        plan.pins,
        full_refresh=full_refresh or outdated,
        unit_tests=full_refresh or outdated or force,
        on_line=on_line,
    )
    run.nodes = result.nodes
    if result.failed:
        run.message = _dbt_failures(domain, result.failed)
        return False
    _require_data_tests(plan.manifest, models, result)
    # The table in the build schema may be of an earlier run, and would be published as new.
    succeeded = {node.unique_id for node in result.nodes if node.status == "success"}
    for product in plan.to_build:
        if plan.manifest.model_id(product) not in succeeded:
            raise MeshError(
                f"dbt built no table for {product.relation} in this run, so nothing is "
                "published. A product needs `materialized: table` or `incremental`."
            )
    built.remember(grounds)
    return True


def _require_data_tests(
    manifest: Manifest, models: Collection[str], result: dbt.BuildResult
) -> None:
    """Stops a build in which nothing failed, but a data test of what it built did not run."""
    ran = {node.unique_id for node in result.nodes if node.status in ("pass", "warn")}
    missing = sorted(manifest.data_tests_of(models) - ran)
    if missing:
        names = ", ".join(manifest.nodes[each]["name"] for each in missing[:_MOST_NAMED])
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        raise MeshError(
            f"dbt ran no data test {names}{more}, so nothing is published. Look for a setting "
            "that leaves tests out, such as a variable DBT_..., or disable the test."
        )


def _audit(
    repository: Repository,
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
    staged = {each.product.relation: each.staged.state for each in candidates}
    empty = {
        f"{domain.name}{PREVIOUS_SUFFIX}.{each.product.name}": each.product.relation
        for each in candidates
        if each.product.relation not in own
    }
    products = [product for each in repository.domains for product in each.products]
    readable = Readable(products, pins.keys() - {each.relation for each in products})
    with engine.reader(domain, {**pins, **own, **previous, **staged}, empty) as reader:
        for candidate in candidates:
            run.audited.append((candidate, audit(candidate.product, reader, readable)))


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


def _fewer_rows(product: Product, failed: Sequence[CheckResult]) -> str:
    """How to go on where a candidate has too few rows, which after a revert is right."""
    lost = check_key("metric", None, ROWS_AGAINST_PREVIOUS)
    if not any(check.key == lost for check in failed):
        return ""
    return (
        f" (if fewer rows are right, write `promises: {{keeps_rows_percent: 0}}` under `meta` of "
        f"{product.model} in {display_path(product.path)}, run again, and take it out again; "
        f"`mesh rollback {product.relation}` shows the publication before this one instead)"
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
            f"{checks}{_fewer_rows(candidate.product, failed)}"
        )
    return "Not published; consumers keep what they had. " + ". ".join(parts)
