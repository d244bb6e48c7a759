"""Facts on which the rules decide.

Belongs here: frozen dataclasses. Not here: where facts come from (gather.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta


@dataclass(frozen=True)
class Use:
    """One domain's use of another domain's product."""

    domain: str
    groups: tuple[str, ...]
    """dbt groups of the reading models, whose owners receive e-mail; empty for all owners."""
    models: tuple[tuple[str, tuple[str, ...]], ...]
    """Model of the domain -> columns that it reads; `*` for every column, `?` if unknown."""


@dataclass(frozen=True)
class ProductFact:
    """What is known of one product now."""

    relation: str
    domain: str
    group: str = ""
    owner: str = ""
    """Name and contact, for consumers."""
    refreshed_at: datetime | None = None
    """None if it is not published, or if no run builds it any more."""
    promise: timedelta | None = None
    """How old `refreshed_at` may become."""
    budgets: tuple[tuple[str, float], ...] = ()
    """Objective -> percentage of its error budget that is left."""
    deprecated_on: date | None = None
    uses: tuple[Use, ...] = ()
    """Of other domains; empty if nobody asked, because nothing is wrong with the product."""


@dataclass(frozen=True)
class TopicFact:
    """Rejected events of one topic."""

    raw_table: str
    domain: str
    topic: str
    rejected: int
    events: int
    allowed_percent: float


@dataclass(frozen=True)
class FailureFact:
    """Products that no run has published since the same failed run."""

    domain: str
    run_id: str
    """The first run that failed."""
    since: datetime
    products: tuple[str, ...]
    """Names; empty if the run failed as a whole."""
    outcome: str
    """Of the last run: `failed` or `rejected`."""
    message: str
    groups: tuple[str, ...] = ()
    """dbt groups of the products; empty for all owners of the domain."""


@dataclass(frozen=True)
class JobFailure:
    """A run of the orchestrator that failed and that the ledger does not know, as if it was killed.

    Of several failures of one job in a row, it is the first one.
    """

    job: str
    run_id: str
    since: datetime
    reasons: tuple[str, ...] = ()
    link: str = ""
    domain: str = ""
    """The only domain that the run was about; empty if it was about none, or several."""
    groups: tuple[str, ...] = ()
    """dbt groups of the products that the run was about; empty for all owners of the domain."""


@dataclass(frozen=True)
class Situation:
    """Everything that one look found."""

    products: tuple[ProductFact, ...] = ()
    topics: tuple[TopicFact, ...] = ()
    failures: tuple[FailureFact, ...] = ()
    jobs: tuple[JobFailure, ...] | None = None
    """None if the orchestrator was not asked; then nothing about its runs is over."""
    unreadable: frozenset[str] = field(default_factory=frozenset)
    """Broken domains. What is open there stays open: it cannot be judged."""
