"""The steps of a run in which something is built: build, audit, judge, publish.

Belongs here: each step, and what is recorded of it. Not here: when a run builds (run.py), whether a
product is built (plan.py), or the messages about failures (outcome.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from meshhouse import dbt
from meshhouse.audit import audit
from meshhouse.dbt.watch import Watch
from meshhouse.engines import Candidate, Engine
from meshhouse.engines.protocol import Reader
from meshhouse.errors import MeshError
from meshhouse.governance.change import Verdict
from meshhouse.governance.contract import Contract
from meshhouse.governance.judgement import LOST_ROWS
from meshhouse.governance.report import Judged, refusal
from meshhouse.governance.statistics import measure
from meshhouse.ledger import user
from meshhouse.repository import Domain, Product, Repository
from meshhouse.runs.aliases import followers, moves, shown_versions
from meshhouse.runs.audit_view import audit_view
from meshhouse.runs.build_state import BuildState
from meshhouse.runs.code_notes import CodeNotes
from meshhouse.runs.contracts import DeclaredContracts
from meshhouse.runs.domain_plan import DomainPlan
from meshhouse.runs.gate import Gate
from meshhouse.runs.objectives import objective_entries
from meshhouse.runs.outcome import (
    UNPUBLISHED,
    DomainRun,
    dbt_failures,
    rejection,
    require_data_tests,
)
from meshhouse.runs.parse import refuse_findings
from meshhouse.runs.publication import publish


class Steps:
    """The steps of a run in which something is built. Each writes into `run` what it did."""

    def __init__(
        self,
        repository: Repository,
        engine: Engine,
        domain: Domain,
        plan: DomainPlan,
        run: DomainRun,
        watch: Watch,
        confirmed: str,
    ) -> None:
        self._repository = repository
        self._engine = engine
        self._domain = domain
        self._plan = plan
        self._run = run
        self._watch = watch
        self._confirmed = confirmed

    def take(self, force: bool, full_refresh: bool) -> None:
        """Builds, audits and publishes.

        Raises:
            MeshError: a step failed, and nothing is published.
        """
        plan, engine = self._plan, self._engine
        code = plan.code_parts()  # before a file is edited, as the contracts below
        refuse_findings(self._repository, self._domain, plan.manifest)
        contracts = DeclaredContracts(self._repository, self._domain, plan.manifest)
        promised = {each.relation: contracts.of(each) for each in plan.to_build}
        # Tests compare what this run builds, so an unchanged product that they read is built too.
        models = plan.manifest.built_with(map(plan.manifest.model_id, plan.to_build))
        snapshots = plan.manifest.snapshots(models)
        engine.restore_snapshots(self._domain, snapshots)
        self._build(models, force, full_refresh)
        candidates: list[Candidate] = []
        try:
            # One by one, so that those that were staged can be withdrawn when one fails.
            with engine.staging(self._domain):
                candidates.extend(
                    engine.stage(plan.manifest.described(each)) for each in plan.to_build
                )
            measured = self._audit(candidates, promised)
            refused = self._refused(promised, measured) if measured else []
            losses = self._unjudged_losses()
            self._accept_lost_rows(losses)
            if not all(result.passed for _, result in self._run.audited):
                self._reject(rejection(self._run.audited), candidates)
            elif refused:
                self._reject(f"{UNPUBLISHED} {refusal(refused)}", candidates)
            else:
                self._publish(snapshots, promised, measured, losses)
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
        self._watch.builds(models, self._run.logs)
        # Unit tests judge code, not data: code that is as it was built has passed them.
        result = dbt.build(
            self._repository,
            self._domain.name,
            *plan.manifest.selection(models),
            plan.pins,
            full_refresh=full_refresh or outdated,
            unit_tests=full_refresh or outdated or force,
            watch=self._watch,
            logs=self._run.logs,
        )
        self._run.nodes = result.nodes
        self._run.models = {plan.manifest.model_id(each): each.name for each in plan.to_build}
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

    def _audit(
        self, candidates: Sequence[Candidate], contracts: Mapping[str, Contract]
    ) -> dict[str, dict[str, Any]]:
        """Audits every candidate beside all the others, as consumers would see them.

        Returns:
            Relation -> statistics of the candidate; nothing if a candidate fails for more than
            lost rows, which an owner may confirm.
        """
        self._tell("auditing")
        view = audit_view(self._repository, self._engine, self._domain, self._plan.pins, candidates)
        with view as (reader, readable):
            for candidate in candidates:
                result = audit(candidate.product, reader, readable)
                self._run.audited.append((candidate, result))
            results = [result for _, result in self._run.audited]
            if not all(result.passed or result.has_only_lost_rows for result in results):
                return {}
            return {
                relation: measure(reader, _quoted(reader, relation), contracts[relation])
                for relation in contracts
            }

    def _refused(
        self, contracts: Mapping[str, Contract], statistics: Mapping[str, dict[str, Any]]
    ) -> list[Judged]:
        """Judges every candidate; returns the judgements that stop the publication."""
        shown = shown_versions(self._engine, self._domain)
        gate = Gate(
            self._repository, self._engine.ledger, self._domain, self._confirmed, shown=shown
        )
        gate.read_ahead(self._plan.to_build)
        for product in self._plan.to_build:
            relation = product.relation
            judged = gate.judge(product, contracts[relation], statistics[relation])
            if judged is not None:
                self._run.judged.append(judged)
        # An environment has no consumers: there a change can be tried before it is confirmed. Lost
        # rows still fail the audit there: they mostly come of a bug or of data that is not loaded.
        if self._repository.environment:
            return []
        return [each for each in self._run.judged if each.outcome.refused]

    def _accept_lost_rows(self, losses: Collection[str]) -> None:
        """Lets candidates pass whose only failure is a loss of rows that an owner confirmed."""
        confirmed = {
            judged.relation
            for judged in self._run.judged
            for allowed in judged.outcome.waived
            if allowed.change.row == LOST_ROWS
        }.union(losses)
        self._run.audited[:] = [
            (each, result.with_lost_rows() if each.product.relation in confirmed else result)
            for each, result in self._run.audited
        ]

    def _unjudged_losses(self) -> dict[str, dict[str, Any]]:
        """Product -> a loss of rows that the run confirms and that no judgement found.

        What is published may have no contract or no statistics. Without this, the command that the
        rejection names would not help, and the product could never be published.
        """
        if not self._confirmed:
            return {}
        judged = {
            each.relation
            for each in self._run.judged
            if any(change.row == LOST_ROWS for change in each.changes)
        }
        entry = {
            "change": LOST_ROWS,
            "what": "It has fewer rows than what is published, by more than it allows.",
            "verdict": str(Verdict.BREAKING),
            "hits": [],
            "allowed_by": {
                "place": "the run's --confirm", "why": self._confirmed, "owner": user()
            },
        }  # fmt: skip
        return {
            each.product.relation: entry
            for each, result in self._run.audited
            if result.has_only_lost_rows and each.product.relation not in judged
        }

    def _reject(self, message: str, candidates: Sequence[Candidate]) -> None:
        self._run.outcome, self._run.message = "rejected", message
        self._engine.withdraw(candidates)

    def _publish(
        self,
        snapshots: Sequence[str],
        contracts: Mapping[str, Contract],
        statistics: Mapping[str, dict[str, Any]],
        losses: Mapping[str, dict[str, Any]],
    ) -> None:
        self._tell("publishing")
        run = self._run
        staged = [(candidate.product, candidate.staged) for candidate, _ in run.audited]
        moved, entries = moves(self._engine, self._domain, [each.relation for each, _ in staged])
        others = [
            *self._engine.stage_snapshots(self._domain, snapshots),
            *followers(self._engine, staged, [each.relation for each in moved]),
            *moved,
        ]
        changes = {each.relation: each.as_entries() for each in run.judged}
        for relation, loss in losses.items():
            changes[relation] = [loss, *changes.get(relation, ())]
        run.outcome, run.finished_at = "published", datetime.now(UTC)
        objectives = objective_entries(self._engine.ledger, self._domain, run, statistics)
        run.published = publish(
            self._engine.ledger, run.run_id, run.audited, self._plan.bases, run.entry(), others,
            contracts, statistics, changes, objectives, entries,
        )  # fmt: skip
        for each in entries:
            shown = f"{each['alias']} shows version {each['version']} now"
            self._watch.say(f"{self._domain.name}: {shown}")

    def _note(self, code: Mapping[str, Mapping[str, str]]) -> None:
        """Remembers what the code is made of, so that a later run can name what changed in it."""
        with suppress(OSError):  # a publication counts without the notes
            CodeNotes(self._repository, self._domain.name).remember(code)

    def _tell(self, doing: str) -> None:
        self._watch.say(f"{self._domain.name}: {doing} {_listing(self._plan.to_build)}")


def _quoted(reader: Reader, relation: str) -> str:
    """A relation as SQL of the engine."""
    return ".".join(reader.quote(part) for part in relation.split(".", 1))


def _listing(products: Sequence[Product]) -> str:
    return ", ".join(product.relation for product in products)
