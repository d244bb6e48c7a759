"""What a run of one domain did, in words for people.

Belongs here: the outcome of a run, of each of its products, and the messages about failed builds
and rejected candidates. Not here: the steps of a run (run.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshhouse import dbt
from meshhouse.audit import ROWS_AGAINST_PREVIOUS, AuditResult, CheckResult, Origin, check_key
from meshhouse.engines import Candidate
from meshhouse.errors import MeshError
from meshhouse.repository import Domain, Product, display_path
from meshhouse.repository.keys import MAY_BE_EMPTY, SCORE
from meshhouse.repository.manifest import Manifest
from meshhouse.runs.domain_plan import DomainPlan
from meshhouse.runs.plan import Decision

if TYPE_CHECKING:
    from meshhouse.governance.report import Judged

UNPUBLISHED = "Not published; consumers keep what they had."
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
    """`published`, `unchanged`, `rejected`, `failed`, or `built` if nothing is published."""
    message: str = ""
    covered: list[str] = field(default_factory=list)
    """Names of the products that the run was about."""
    published: list[dict[str, Any]] = field(default_factory=list)
    unchanged: list[Product] = field(default_factory=list)
    withdrawn: list[Product] = field(default_factory=list)
    withheld: dict[str, str] = field(default_factory=dict)
    """Product -> why the run left it out: it is `disabled` or `not public`."""
    warnings: list[str] = field(default_factory=list)
    """What people must know beside the outcome, such as reads of deprecated products."""
    standing_checks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Product -> the checks that what consumers see of it has passed; of unchanged ones."""
    standing_changes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Product -> what its current publication changed for consumers; of unchanged ones."""
    nodes: tuple[dbt.NodeResult, ...] = ()
    models: dict[str, str] = field(default_factory=dict)
    """Unique id of a model that the run built -> name of the product that it is."""
    audited: list[tuple[Candidate, AuditResult]] = field(default_factory=list)
    logs: Path | None = None
    """The folder with dbt's log and artifacts of the run; None if dbt did nothing."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Product -> why the run built it, or left it as it is."""
    judged: list[Judged] = field(default_factory=list)
    """What each candidate that passed its audit would change for consumers."""

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
            refused = {each.relation for each in self.judged if each.outcome.refused}
            for candidate, result in self.audited:
                if result.passed and candidate.product.relation not in refused:
                    became[candidate.product.name] = "not published"
        became.update((product.name, "unchanged") for product in self.unchanged)
        became.update((product.name, "held back") for product in self.withdrawn)
        became.update(self.withheld)
        return became

    def note(self, plan: DomainPlan) -> None:
        """Takes over from a plan what the run leaves as it is."""
        self.outcome = "failed" if plan.to_build else "unchanged"  # until it is published
        self.covered = plan.covered
        self.unchanged = plan.by_decision(Decision.UNCHANGED)
        self.withdrawn = plan.by_decision(Decision.HELD_BACK)
        self.withheld = plan.withheld
        self.reasons = {name: str(verdict) for name, verdict in plan.verdicts.items()}

    def fail(self, error: MeshError) -> None:
        """The run ended with an error; consumers keep what they had."""
        self.outcome, self.message = "failed", str(error)

    @property
    def milliseconds(self) -> dict[str, int]:
        """Product -> how long its model and its audit took; only of products that were built."""
        spent = {
            self.models[node.unique_id]: node.seconds
            for node in self.nodes
            if node.unique_id in self.models
        }
        for candidate, result in self.audited:
            name = candidate.product.name
            audit = (result.finished_at - result.started_at).total_seconds()
            spent[name] = spent.get(name, 0.0) + audit
        return {name: round(seconds * 1000) for name, seconds in spent.items()}

    def entry(self) -> dict[str, Any]:
        """The run as the ledger keeps it."""
        return {
            "run_id": self.run_id,
            "domain": self.domain,
            "outcome": self.outcome,
            "message": self.message,
            "products": self.products,
            "milliseconds": self.milliseconds or None,
            "started_at": self.started_at,
            "finished_at": self.finished_at or datetime.now(UTC),
        }


def require_data_tests(
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


def dbt_failures(domain: Domain, failed: Sequence[dbt.NodeResult]) -> str:
    """Which models and tests of a build failed, and why."""
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
        f' (if fewer rows are right, run `mesh run {product.domain} --confirm "why"`; '
        f"`mesh rollback {product.relation}` shows the publication before this one instead)"
    )


def _no_rows(product: Product, failed: Sequence[CheckResult]) -> str:
    """How to go on where a candidate has no rows, and nobody wrote a check of their number."""
    derived = {check_key("row_count", None, each) for each in (None, Origin.PLATFORM.value)}
    if not any(check.key in derived and check.value == 0 for check in failed):
        return ""
    return (
        f" (if it may be empty, set `{MAY_BE_EMPTY.name}: true` in its config.meta, "
        f"{display_path(product.path)}:{product.line})"
    )


def rejection(audited: Sequence[tuple[Candidate, AuditResult]]) -> str:
    """Which candidates failed which checks, and how to go on."""
    parts = []
    for candidate, result in audited:
        failed = [check for check in result.checks if not check.ok]
        if not failed and result.is_below_threshold:
            warned = "; ".join(
                check.describe() for check in result.checks if check.outcome == "warned"
            )
            product = candidate.product
            parts.append(
                f"{product.relation} has the score {result.score:g}, less than its threshold "
                f"{product.threshold:g} ({SCORE.name} in {display_path(product.path)}): {warned}"
            )
        if not failed:
            continue
        checks = "; ".join(check.describe() for check in failed)
        parts.append(
            f"{candidate.product.relation} failed {len(failed)} of {len(result.checks)} checks: "
            f"{checks}{_fewer_rows(candidate.product, failed)}"
            f"{_no_rows(candidate.product, failed)}"
        )
    return f"{UNPUBLISHED} " + ". ".join(parts)
