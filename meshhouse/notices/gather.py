"""Gathers the facts of one look from the repository and the ledger.

Belongs here: reading. Not here: what a fact means (causes.py, changes.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from meshhouse.engines import Engine
from meshhouse.governance.contract import Contract
from meshhouse.governance.objectives import WINDOW
from meshhouse.heads import Turn, publications_of, turns_of
from meshhouse.ledger import Head
from meshhouse.notices.audience import uses
from meshhouse.notices.causes import FAILED, RETIRING_DAYS, Cause
from meshhouse.notices.changes import Known, notices
from meshhouse.notices.facts import (
    FailureFact,
    JobFailure,
    ProductFact,
    Situation,
    TopicFact,
    Use,
)
from meshhouse.notices.failures import BAD, failures
from meshhouse.notices.message import Message
from meshhouse.repository import Domain, Repository
from meshhouse.runs.objectives import objective_statuses
from meshhouse.runs.status import ProductStatus, product_statuses

_LOOK_BACK = timedelta(days=2)
"""Clocks of machines that publish may differ, so older entries are read too; numbers decide."""


@dataclass
class Reading:
    """One look at the mesh. Documents of the ledger are read when something needs them."""

    repository: Repository
    engine: Engine
    now: datetime
    _contracts: list[Contract] | None = field(default=None, init=False)

    def situation(
        self, jobs: Sequence[JobFailure] | None, known: Sequence[Cause] = ()
    ) -> Situation:
        """What is known of products, topics and runs now.

        Args:
            jobs: failed runs of the orchestrator; None if nobody asked it.
            known: what was wrong at the last look.
        """
        domains = {each.name: each for each in self.repository.readings}
        # Without the lake: whether files are damaged is not a rule here, and costs a look at each.
        statuses = product_statuses(self.repository, self.engine.ledger)
        kept = objective_statuses(self.engine.ledger, (each.product for each in statuses), self.now)
        products = []
        for each in statuses:
            if each.state != "declared":
                continue
            budgets = tuple(
                (one.last.objective, one.budget.left_percent) for one in kept[each.product.relation]
            )
            products.append(self._product(each, domains[each.product.domain], budgets))
        return Situation(
            tuple(products),
            tuple(self._topics(domains.values())),
            tuple(self._failures(domains.values(), statuses, known)),
            None if jobs is None else tuple(jobs),
            frozenset(each.name for each in self.repository.readings if each.problems),
        )

    def _product(
        self, status: ProductStatus, domain: Domain, budgets: tuple[tuple[str, float], ...]
    ) -> ProductFact:
        product = status.product
        owner = domain.owner(product)
        contact = str(owner.get("contact") or owner.get("email") or "")
        ends = product.deprecated_on
        is_ending = ends is not None and (ends - self.now.date()).days <= RETIRING_DAYS
        concerns_readers = status.freshness(self.now) == "late" or is_ending
        return ProductFact(
            product.relation,
            product.domain,
            product.group or "",
            " ".join(each for each in (str(owner.get("name") or ""), contact) if each),
            status.refreshed_at,
            status.promise,
            budgets,
            ends,
            self.audience(product.relations) if concerns_readers else (),
        )

    def _topics(self, domains: Iterable[Domain]) -> Iterable[TopicFact]:
        for domain in domains:
            for raw in domain.raw_tables if not domain.problems else ():
                rejected, events = self.engine.store.rejected_share(raw)
                yield TopicFact(
                    raw.relation, domain.name, raw.topic, rejected, events,
                    float(raw.max_rejected_percent),
                )  # fmt: skip

    def _failures(
        self,
        domains: Iterable[Domain],
        statuses: Sequence[ProductStatus],
        known: Sequence[Cause] = (),
    ) -> Iterable[FailureFact]:
        """Reads runs of those domains only in which something failed last, or fails still.

        A failure that is known is read from its first run on, however old that is: only a success
        after it ends it.
        """
        open_since: dict[str, datetime] = {}
        for each in known:
            if each.rule == FAILED and each.since is not None:
                before = open_since.get(each.domain, each.since)
                open_since[each.domain] = min(before, each.since)
        last = self.engine.ledger.last_runs()
        bad = {each.product.domain for each in statuses if each.last_run in BAD}
        bad |= {name for name, head in last.items() if head.last_run in BAD}
        bad |= open_since.keys()
        withheld = {
            (each.product.domain, each.product.name)
            for each in statuses
            if each.state != "declared"
        }
        for domain in domains:
            if domain.name not in bad:
                continue
            since = min(self.now - WINDOW, open_since.get(domain.name, self.now))
            runs = self.engine.ledger.entries("runs", domain.name, since)
            group_of = {
                each.name: each.group or ""
                for each in domain.products
                if (domain.name, each.name) not in withheld
            }
            yield from failures(domain.name, runs, group_of, group_of)

    def audience(self, names: Sequence[str]) -> tuple[Use, ...]:
        """Which domains read a product, by the current contracts."""
        if self._contracts is None:
            heads = self.engine.ledger.heads().values()
            self._contracts = [Contract.from_text(each.contract) for each in heads if each.contract]
        return uses(names, self._contracts)

    def changes(self, memory: dict[str, Any]) -> tuple[list[Message], dict[str, Any]]:
        """Notices of the publications since the last look, and the memory for the next one.

        The first look only remembers what is published: consumers know it already.
        """
        if not memory:
            return [], self._first()
        known = {name: Known.from_json(each) for name, each in memory["known"].items()}
        looked = datetime.fromisoformat(memory["looked"])
        # If the clock was ahead at the last look, nobody knows when that was: everything is read.
        is_ahead = looked > self.now + _LOOK_BACK
        since = None if is_ahead else min(looked, self.now) - _LOOK_BACK
        entries = self.engine.ledger.entries("publications", None, since)
        seen = None if is_ahead else memory.get("seen")
        new = [each for each in entries if _is_new(each, memory["position"], seen)]
        newest = _newest(entries, self.engine.ledger.heads(documents=False))
        if newest < memory["position"] and not (new and seen):
            return [], self._first()  # the lake was restored from an older backup
        if not new:
            if is_ahead or seen is None:
                return [], _memory(memory["position"], known, self.now, entries)
            return [], memory
        new.sort(key=lambda each: each["number"])
        messages, known = notices(new, known, self._contract, self.audience, self._undone)
        return messages, _memory(newest, known, self.now, entries)

    def _first(self) -> dict[str, Any]:
        heads = self.engine.ledger.heads()
        entries = self.engine.ledger.entries("publications", None, self.now - _LOOK_BACK)
        known = {name: _seen(name, each) for name, each in heads.items() if each.kind is not None}
        return _memory(_newest(entries, heads), known, self.now, entries)

    def _undone(self, entry: Mapping[str, Any]) -> Turn | None:
        """What a rollback took back; None if the history does not say it."""
        relation = f"{entry['domain']}.{entry['product']}"
        history = publications_of(self.engine.ledger, entry["domain"]).get(relation, ())
        turns = (each for each in turns_of(history) if each.entry["number"] == entry["number"])
        return next(turns, None)

    def _contract(self, contract_hash: str) -> Contract | None:
        text = self.engine.ledger.contract(contract_hash)
        return Contract.from_text(text) if text else None


def _newest(entries: Sequence[Mapping[str, Any]], heads: Mapping[str, Head]) -> int:
    """The largest number of a publication."""
    numbers = [each["number"] for each in entries]
    numbers += [each.number for each in heads.values() if each.number is not None]
    return max(numbers, default=0)


def _seen(relation: str, head: Head) -> Known:
    shown = "rolled back" if head.rolled_back else "retired" if head.kind == "retire" else ""
    contract = Contract.from_text(head.contract) if head.contract else None
    return Known.of(relation, contract, shown)


def _is_new(entry: Mapping[str, Any], position: int, seen: Sequence[str] | None) -> bool:
    """Whether the last look did not see an entry.

    After the lake was restored from a backup, new entries have numbers that were used before. All
    entries that this look reads and that are not new were read by the last one.
    """
    return entry["number"] > position or (seen is not None and _identity(entry) not in seen)


def _identity(entry: Mapping[str, Any]) -> str:
    return str(entry.get("publication_id") or entry["number"])


def _memory(
    position: int, known: dict[str, Known], now: datetime, entries: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    since = now - _LOOK_BACK
    return {
        "seen": [_identity(each) for each in entries if each["finished_at"] >= since],
        "position": position,
        "known": {name: each.as_json() for name, each in known.items()},
        "looked": now.astimezone(UTC).isoformat(),
    }
