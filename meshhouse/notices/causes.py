"""Causes: what is wrong now, found in facts.

Belongs here: one pure function for each rule, and what begins and what is over. Not here: reading
facts (gather.py), or changes that are made on purpose (changes.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from meshhouse.catalog import paths
from meshhouse.notices.audience import said
from meshhouse.notices.facts import ProductFact, Situation
from meshhouse.notices.message import CLOSED, OPEN, Message, shortened

LATE, FAILED, JOB_FAILED, REJECTED = "late", "failed", "job_failed", "rejected"
BURNING, RETIRING, BREACH, RECOVERY = "burning", "retiring", "breach", "recovery"
SEVERAL = "several"
"""Kind of a message that stands for many."""
BURNING_BELOW, BURNING_ENDS = 25.0, 35.0
"""Percent of an error budget: below the first, it is burning; at the second, that is over. The
distance keeps a budget that moves around one of them from sending a message at each look."""
RETIRING_DAYS = 14
"""Days before its last day when a version that is read counts as retiring soon."""
REJECTED_ENDS = 0.7
"""Part of the share of rejected events that is allowed: `rejected` is over at or below it."""
_MOST_REASON = 600
"""Characters of a failed run's message; `mesh status` and the log have all of it."""


@dataclass(frozen=True)
class Cause:
    """Something that is wrong. It has one opening message and, when it is over, a closing one."""

    rule: str
    subject: str
    """The product or topic; the domain of a failed run."""
    since: datetime | None
    """When it began; None if facts do not say, then the first look that finds it counts."""
    domain: str
    title: str
    lines: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    link: str = ""
    groups: tuple[str, ...] = ()
    """dbt groups whose owners receive e-mail; empty for all owners of the domain."""
    to_consumer: bool = False
    opening_number: int = 1
    """2 if a cause with the same begin was open before and is over, as after a clock was set."""

    @property
    def key(self) -> str:
        """Identifies the opening: rule, subject, since when, and its number after the first."""
        again = f"#{self.opening_number}" if self.opening_number > 1 else ""
        return f"{self.begin}{again}"

    @property
    def begin(self) -> str:
        """Rule, subject and since when; a cause that comes back may have the same."""
        assert self.since is not None
        return f"{self.rule}:{self.subject}:{self.since.isoformat()}"

    def opening(self) -> Message:
        """The message when it begins."""
        return self._message(OPEN, self.rule, self.title, self.lines)

    def closing(self, now: datetime) -> Message:
        """The message when it is over."""
        assert self.since is not None
        kind = RECOVERY if self.rule == BREACH else self.rule
        began = f"It began at {self.since:%Y-%m-%d %H:%M} UTC. " if self.since <= now else ""
        lasted = f"{began}Over at {now:%Y-%m-%d %H:%M} UTC."
        return self._message(CLOSED, kind, self._over, (lasted,))

    @property
    def _over(self) -> str:
        """The title of the closing message. Titles that hold a number or a run would be wrong."""
        if self.rule == BURNING:
            product, objective = self.facts["product"], self.facts["objective"]
            return f"{product}: the error budget of {objective} is no longer burning"
        if self.rule == JOB_FAILED:
            return f"{self.subject} works again (run {self.facts['run_id'][:8]} had failed)"
        return f"Over: {self.title}"

    def _message(self, state: str, kind: str, title: str, lines: tuple[str, ...]) -> Message:
        assert self.since is not None
        facts = {"rule": self.rule, "subject": self.subject, "since": self.since.isoformat()}
        return Message(
            self.key, state, kind, self.domain, title, lines, {**facts, **self.facts}, self.link,
            self.groups, self.to_consumer,
        )  # fmt: skip


def causes(found: Situation, now: datetime, near: Collection[str] = frozenset()) -> list[Cause]:
    """Everything that is wrong now.

    Args:
        found: the facts.
        now: the time.
        near: subjects of `burning` and `rejected` at the last look; they end later than they begin.
    """
    products = [
        cause
        for product in found.products
        for cause in (
            *late(product, now), *burning_budgets(product, near), *retiring(product, now)
        )
    ]  # fmt: skip
    return [*products, *failed(found), *rejected(found, near), *failed_jobs(found)]


def late(product: ProductFact, now: datetime) -> Iterator[Cause]:
    """A product is older than it promises: for its owner, and for each domain that reads it."""
    if product.promise is None or product.refreshed_at is None:
        return
    since = product.refreshed_at + product.promise
    if now <= since:
        return
    hours = product.promise.total_seconds() / 3600
    title = f"{product.relation} is late"
    promised = (
        f"Last refreshed {product.refreshed_at:%Y-%m-%d %H:%M} UTC, promised every {hours:g} hours."
    )
    facts = {
        "product": product.relation,
        "refreshed_at": product.refreshed_at.isoformat(),
        "promised_hours": hours,
    }
    remedy = f"Find out why with `mesh status`, then `mesh run {product.domain}`."
    yield _of(product, LATE, since, title, (promised, remedy), facts)
    yield from _for_consumers(
        _of(product, BREACH, since, title, (promised,), facts), product,
    )  # fmt: skip


def burning_budgets(product: ProductFact, burning: Collection[str]) -> Iterator[Cause]:
    """Little is left of an error budget."""
    for objective, left in product.budgets:
        subject = f"{product.relation}/{objective}"
        if left < (BURNING_ENDS if subject in burning else BURNING_BELOW):
            title = f"{product.relation}: {left:g} % of the error budget of {objective} is left"
            lines = ("Error budgets count over 30 days; see `mesh show` for the promise.",)
            facts = {"product": product.relation, "objective": objective, "left_percent": left}
            yield replace(_of(product, BURNING, None, title, lines, facts), subject=subject)


def retiring(product: ProductFact, now: datetime) -> Iterator[Cause]:
    """A version that other domains read ends soon: for its owner, and for each of them."""
    ends = product.deprecated_on
    if ends is None or not product.uses or product.refreshed_at is None:
        return
    left = (ends - now.date()).days
    if left > RETIRING_DAYS:
        return
    since = datetime.combine(ends, datetime.min.time(), now.tzinfo)
    title = f"{product.relation} is promised until {ends} and still read"
    facts = {"product": product.relation, "ends": ends.isoformat()}
    readers = tuple(f"Read by {each.domain}: {said(each)}." for each in product.uses)
    everyone = {"readers": [each.domain for each in product.uses]}
    yield _of(product, RETIRING, since, title, readers, {**facts, **everyone})
    yield from _for_consumers(
        _of(product, RETIRING, since, f"{product.relation} is promised until {ends}",
            ("After that day it may be retired at any time.",), facts),
        product,
    )  # fmt: skip


def failed(found: Situation) -> Iterator[Cause]:
    """Runs that failed or whose products were rejected, until a run publishes these products."""
    for each in found.failures:
        names = [f"{each.domain}.{name}" for name in each.products]
        what = ", ".join(names) if names else f"the run of {each.domain}"
        title = f"{what} {'were' if len(names) > 1 else 'was'} rejected"
        if each.outcome != REJECTED:
            title = f"{what} failed"
        reason = shortened(each.message, _MOST_REASON) or "See the log of the run."
        yield Cause(
            FAILED, each.domain, each.since, each.domain, title,
            (reason, "Consumers keep what they had."),
            {"products": names, "run_id": each.run_id, "outcome": each.outcome, "reason": reason},
            paths.public_url(paths.domain(each.domain)) or "", each.groups,
        )  # fmt: skip


def rejected(found: Situation, near: Collection[str] = frozenset()) -> Iterator[Cause]:
    """Too large a share of a topic's events was rejected."""
    for each in found.topics:
        percent = 100 * each.rejected / each.events if each.events else 0.0
        ends = REJECTED_ENDS if each.raw_table in near else 1.0
        if percent > each.allowed_percent * ends:
            yield Cause(
                REJECTED, each.raw_table, None, each.domain,
                f"{percent:.3g} % of the events of topic {each.topic} were rejected",
                (f"{each.rejected:,} of {each.events:,}; allowed are {each.allowed_percent:g} %.",
                 f"See `mesh rejected show {each.raw_table}`."),
                {"raw_table": each.raw_table, "topic": each.topic, "rejected": each.rejected,
                 "events": each.events, "allowed_percent": each.allowed_percent},
            )  # fmt: skip


def failed_jobs(found: Situation) -> Iterator[Cause]:
    """Runs of the orchestrator that failed without a word in the ledger."""
    for each in found.jobs or ():
        reasons = tuple(shortened(reason, _MOST_REASON) for reason in each.reasons)
        title = f"Run {each.run_id[:8]} of {each.job} failed"
        facts = {"job": each.job, "run_id": each.run_id, "reasons": list(reasons)}
        yield Cause(
            JOB_FAILED, each.job, each.since, each.domain, title, reasons, facts, each.link,
            each.groups,
        )  # fmt: skip


def compared(
    found: Sequence[Cause], known: Sequence[Cause], situation: Situation, now: datetime
) -> tuple[list[Cause], list[Cause]]:
    """What begins, and what is over.

    Args:
        found: what is wrong now.
        known: what was wrong at the last look, each with its begin.
        situation: says what could be judged.
        now: the time.
    """
    new, old = _by_subject(found), _by_subject(known)
    begun = [
        replace(each, since=each.since or now)
        for each in found
        if not any(_is_same(each, one) for one in old.get((each.rule, each.subject), ()))
    ]
    over = [
        one
        for one in known
        if _is_judged(one, situation)
        and not any(_is_same(each, one) for each in new.get((one.rule, one.subject), ()))
    ]
    # Two facts may name one cause, such as a domain that is declared twice.
    return list({each.key: each for each in begun}.values()), over


def _by_subject(found: Sequence[Cause]) -> dict[tuple[str, str], list[Cause]]:
    """Rule and subject -> causes; a search of all would take minutes for 5,000 late products."""
    grouped: dict[tuple[str, str], list[Cause]] = {}
    for each in found:
        grouped.setdefault((each.rule, each.subject), []).append(each)
    return grouped


def _is_same(new: Cause, old: Cause) -> bool:
    return new.since in (None, old.since)


def _is_judged(cause: Cause, situation: Situation) -> bool:
    provider = cause.subject.partition(".")[0]
    if {cause.domain, provider} & situation.unreadable:
        return False
    return cause.rule != JOB_FAILED or situation.jobs is not None


def _of(
    product: ProductFact,
    rule: str,
    since: datetime | None,
    title: str,
    lines: tuple[str, ...],
    facts: dict[str, Any],
) -> Cause:
    link = paths.public_url(paths.product(product.relation)) or ""
    return Cause(
        rule,
        product.relation,
        since,
        product.domain,
        title,
        lines,
        facts,
        link,
        (product.group,) if product.group else (),
    )


def _for_consumers(cause: Cause, product: ProductFact) -> Iterator[Cause]:
    for use in product.uses:
        lines = [*cause.lines, f"Your models: {said(use)}."]
        lines += [f"Owner: {product.owner}."] if product.owner else []
        yield replace(
            cause,
            subject=f"{cause.subject}/{use.domain}",
            domain=use.domain,
            groups=use.groups,
            lines=tuple(lines),
            facts={**cause.facts, "consumer": use.domain, "models": dict(use.models)},
            to_consumer=True,
        )
