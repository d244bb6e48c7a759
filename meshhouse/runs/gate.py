"""The gate: would a candidate surprise a consumer of what is published?

Belongs here: collecting what a judgement needs from the ledger and from declarations. Not here: the
judgement (governance/), the audit of rows (audit/), or what a run does about a refusal (run.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from meshhouse.governance.change import Change
from meshhouse.governance.comparison import Comparison, Past
from meshhouse.governance.contract import Contract
from meshhouse.governance.judgement import judge
from meshhouse.governance.policies import notice_days
from meshhouse.governance.readers import Readers
from meshhouse.governance.report import Judged
from meshhouse.governance.waivers import Step, fingerprint, used_waivers, verdict_after
from meshhouse.heads import effective_publications, publications_of
from meshhouse.ledger import Head, Ledger, user
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.references import mention_of
from meshhouse.repository.waivers import Confirmation, Waivers, read_waivers

_REMEMBERED = 30
"""Publications whose statistics show what is usual."""

_MOST_READ_AHEAD = 1_000
"""Publications whose statistics are kept in memory; each takes some kilobytes."""
_DAYS = 30

Statistics = Mapping[str, Any]


class _Place(NamedTuple):
    """Which product is judged, and where it is declared."""

    relation: str
    file: Path
    line: int


class Gate:
    """Judges candidates of one domain against what production's consumers see."""

    def __init__(
        self,
        repository: Repository,
        ledger: Ledger,
        domain: Domain,
        confirmed: str = "",
        heads: Mapping[str, Head] | None = None,
        shown: Mapping[str, int] | None = None,
    ) -> None:
        """Judges what a domain is about to publish, or declares.

        Args:
            repository: where the domain is declared.
            ledger: of the environment in use; an environment compares with production.
            domain: which one.
            confirmed: why every silent change of this run is meant; empty if nobody said so.
            heads: what consumers see, if it was read before, for another domain.
            shown: name without a number -> the version that it shows. It can move without a build,
                so a published contract may name an earlier one.
        """
        self._repository = repository
        self._ledger = ledger.production or ledger
        self._domain = domain
        self._confirmed = confirmed
        self._shown = shown or {}
        self._read_histories: dict[str, Mapping[str, list[dict[str, Any]]]] = {}
        self._read_contracts: dict[str, dict[str | None, Contract]] = {}
        self._read_statistics: dict[str, str] = {}
        if heads is not None:
            self.heads = heads

    def judge(
        self,
        product: Product,
        candidate: Contract,
        statistics: Statistics | None = None,
    ) -> Judged | None:
        """The judgement of a candidate; None if the product was never published with a contract.

        Args:
            product: as it is declared.
            candidate: its contract.
            statistics: of the candidate's rows; None if there are none yet.
        """
        head = self.head_of(product)
        if head is None or head.contract is None:
            return None
        before = self._published(head.contract)
        measured = json.loads(head.statistics) if head.statistics else None
        past = self._past({before.product, product.plain_relation}, head.relation, statistics)
        if candidate.get("promises") != before.get("promises"):
            past = replace(past, broken_promises=self._broken_promises(product))
        return self._judged(
            before,
            candidate,
            (measured, statistics),
            past,
            head.number,
            _Place(product.relation, product.path, product.line),
        )

    def judge_move(self, product: Product) -> Judged | None:
        """The judgement of a name without a number that would show another version.

        Readers who do not pin a version would get the other contract, whether it is built or not.

        Args:
            product: the latest version, as it is declared.

        Returns:
            None if the name does not move, or what it shows has no contract.
        """
        shown = self._shown.get(product.plain_relation, product.version)
        head = self.heads.get(f"{product.plain_relation}_v{shown}")
        if shown == product.version or head is None or head.contract is None:
            return None
        document = self._published(head.contract).document
        # The published contract may be of the time before the model had versions.
        now = {"versioned": True, "relation": head.relation, "latest_version": shown}
        before = Contract({**document, **now})
        after = Contract({**before.document, "latest_version": product.version})
        place = _Place(product.plain_relation, product.path, product.line)
        return self._judged(before, after, (None, None), Past(), head.number, place)

    def judge_between(
        self,
        product: Product,
        earlier: tuple[Contract, Statistics | None],
        later: tuple[Contract, Statistics | None],
        number: int,
    ) -> Judged:
        """The judgement of one publication by another.

        Args:
            product: whose publications they are.
            earlier: contract and statistics of the first publication.
            later: those of the second one.
            number: of the first publication.
        """
        statistics = earlier[1], later[1]
        return self._judged(
            earlier[0],
            later[0],
            statistics,
            Past(),
            number,
            _Place(product.relation, product.path, product.line),
        )

    def judge_removed(self, relation: str) -> Judged | None:
        """The judgement of a product that is published and not declared any more.

        Returns:
            None if it was published without a contract.
        """
        head = self.heads[relation]
        if head.contract is None:
            return None
        before = Contract.from_text(head.contract)
        measured = json.loads(head.statistics) if head.statistics else None
        past = self._past({before.product}, relation, None)
        place = _Place(relation, self._domain.path / "dbt_project.yml", 1)
        return self._judged(before, None, (measured, None), past, head.number, place)

    def head_of(self, product: Product) -> Head | None:
        """What consumers see of a product; None if it is not published.

        A table gets the name that is declared now in the next run, so it may have the old one.
        """
        named = self.heads.get(product.relation)
        if named is not None and named.is_published:
            return named
        for former in (product.plain_relation, product.former_relation, product.renamed_from):
            found = self.heads.get(former or "")
            if found is not None and found.is_published and found.version == product.version:
                return found
        return None

    def published_without(self, declared: Iterable[str]) -> list[str]:
        """The domain's published relations that are not declared any more.

        One that another domain declares now has moved: that domain's next run publishes it.
        """
        known = set(declared)
        found = [
            relation
            for relation, head in self.heads.items()
            if head.domain == self._domain.name and head.is_published and relation not in known
        ]
        if not found:
            return []  # reading all domains takes longer
        moved = {
            head.relation
            for domain in self._repository.readings
            for each in domain.products
            if each.renamed_from and (head := self.head_of(each))
        }
        return sorted({*found} - moved)

    def _judged(
        self,
        before: Contract,
        after: Contract | None,
        statistics: tuple[Statistics | None, Statistics | None],
        past: Past,
        number: int | None,
        place: _Place,
    ) -> Judged:
        comparison = Comparison(
            before=before,
            after=after,
            readers=Readers.of(_published_names_of_both(before, after), self._contracts),
            before_statistics=statistics[0],
            after_statistics=statistics[1],
            past=past,
            today=self._today,
            notice_days=notice_days(self._repository),
            is_same_code=_is_same_code(before, after),
        )
        changes = judge(comparison)
        step = Step.of(before, after, number)
        return Judged(
            relation=place.relation,
            before=before,
            after=after,
            step=step,
            changes=changes,
            outcome=verdict_after(
                changes,
                self._entries(changes, step),
                self._today,
                step,
                self._used_waivers(before),
            ),
            file=place.file.relative_to(self._repository.root).as_posix(),
            line=place.line,
        )

    def _published(self, text: str) -> Contract:
        """A published contract with the names that hold now."""
        contract = Contract.from_text(self._under_present_names(text))
        shown = self._shown.get(contract.product)
        if shown is None or not contract.get("versioned"):
            return contract
        return Contract({**contract.document, "latest_version": shown})

    def _under_present_names(self, contract: str) -> str:
        """A published contract in which what it reads has the names that it has now.

        Otherwise a product that gets versions, or another name, would look like another input.
        """
        for provided in self._repository.provided(self._domain):
            for alias in provided.aliases:
                contract = mention_of(alias).sub(provided.relation, contract)
        return contract

    @cached_property
    def _today(self) -> date:
        return datetime.now(UTC).date()

    @cached_property
    def heads(self) -> Mapping[str, Head]:
        """Relation -> what consumers see of it."""
        return self._ledger.heads()

    @cached_property
    def _contracts(self) -> list[Contract]:
        """The current contract of every product of the mesh."""
        return [Contract.from_text(head.contract) for head in self.heads.values() if head.contract]

    @cached_property
    def _waivers(self) -> Waivers:
        return read_waivers(self._domain.path)

    def _used_waivers(self, published: Contract) -> Mapping[tuple[str, ...], int]:
        if not self._waivers.waivers:
            return {}  # reading the history takes longer
        domain = published.product.partition(".")[0]
        return used_waivers(self._histories(domain).get(published.relation, ()))

    def _entries(self, changes: Iterable[Change], step: Step) -> Waivers:
        """The domain's waivers and confirmations, with those of this run."""
        if not self._confirmed:
            return self._waivers
        confirmed = tuple(
            Confirmation(
                product=step.name,
                change=each.key,
                why=self._confirmed,
                owner=user(),
                fingerprint=fingerprint(each, step),
                path=self._waivers.path,
                line=0,
            )
            for each in changes
            if each.is_silent and each.is_refused
        )
        return replace(self._waivers, confirmations=(*self._waivers.confirmations, *confirmed))

    def _past(self, names: Collection[str], relation: str, candidate: Statistics | None) -> Past:
        """What the ledger knows of the earlier contracts and statistics of a product.

        Args:
            names: `domain.model`, as it is called now and as it was published.
            relation: under which consumers see it.
            candidate: statistics of the candidate.
        """
        # Production's, like the statistics: an environment has publications with other numbers.
        histories = {
            name: entries
            for domain in sorted({each.partition(".")[0] for each in names})
            for name, entries in self._histories(domain).items()
        }
        contracts = [each for name, entries in histories.items()
                     for each in self._contracts_of(name, entries, names)]  # fmt: skip
        history = histories.get(relation, []) if candidate else []
        recent = _recent(history)
        stored = self._statistics(recent)
        measured = [json.loads(stored[each]) for each in recent if each in stored]
        return Past(
            names=frozenset(name.lower() for each in contracts for name in each.columns),
            hashes={each.version: each.hash for each in contracts},
            null_shares=_null_shares(measured),
            drift=_means([*measured, candidate] if candidate else measured),
            domains=frozenset(self._repository.domain_names),
        )

    def _broken_promises(self, product: Product) -> dict[str, int]:
        """Promise -> how many runs of the last 30 days found it broken."""
        since = datetime.now(UTC) - timedelta(days=_DAYS)
        return Counter(
            row["objective"]
            for row in self._ledger.entries("objectives", product.domain, since)
            if row["product"] == product.name and not row["met"]
        )

    def _histories(self, domain: str) -> Mapping[str, list[dict[str, Any]]]:
        """Relation of a domain -> its publications, oldest first, those before a move included."""
        if domain not in self._read_histories:
            self._read_histories[domain] = publications_of(self._ledger, domain)
        return self._read_histories[domain]

    def read_ahead(self, products: Collection[Product]) -> None:
        """Reads at once what judging each of these products would read: each read takes 5 ms."""
        heads = [head for each in products if (head := self.head_of(each)) and head.contract]
        wanted = [
            publication
            for head in heads
            for publication in _recent(self._histories(head.domain).get(head.relation, ()))
        ]
        if len(wanted) <= _MOST_READ_AHEAD:
            self._statistics(wanted)

    def _statistics(self, publications: Sequence[str]) -> Mapping[str, str]:
        """Publication id -> statistics, of those that have some."""
        if not self._read_statistics.keys() >= {*publications}:
            self._read_statistics |= dict.fromkeys(publications, "")
            self._read_statistics |= self._ledger.statistics(publications)
        known = self._read_statistics
        return {each: known[each] for each in publications if known[each]}

    def _contracts_of(
        self, relation: str, entries: Sequence[Mapping[str, Any]], names: Collection[str]
    ) -> list[Contract]:
        """The contracts of a relation's publications, oldest first; none if it has other names."""
        for domain in {each["domain"] for each in entries} - self._read_contracts.keys():
            self._read_contracts[domain] = {
                each["hash"]: Contract.from_text(each["contract"])
                for each in self._ledger.entries("contracts", domain)
            }
        known = self._read_contracts
        found = [known[each["domain"]].get(each.get("contract_hash")) for each in entries]
        contracts = [each for each in found if each is not None]
        is_named = relation in names or (contracts and contracts[-1].product in names)
        return contracts if is_named else []


def _recent(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids of the newest publications of a product, oldest first."""
    return [each["publication_id"] for each in effective_publications(history)[-_REMEMBERED:]]


def _is_same_code(before: Contract, after: Contract | None) -> bool:
    """Whether only events can have made the rows differ; False if that is not certain.

    The SQL of `models` alone does not tell: it is that of the first build, so it lacks the branches
    of `is_incremental()`, hooks, snapshots and Python models.
    """
    if after is None or not before.get("code"):
        return False
    return all(before.get(key) == after.get(key) for key in ("models", "code", "seeds", "topics"))


def published_names(contract: Contract) -> Sequence[str]:
    """Every name under which consumers read this version of a product, former names included."""
    plain = [each for each in (contract.product, contract.get("renamed_from")) if each]
    names = [contract.relation, *contract.get("aliases", ())]
    if contract.version == int(contract.get("latest_version", contract.version)):
        names += plain
    elif contract.get("versioned"):  # names without a number show the latest version by now
        names = [each for each in names if each not in plain]
    return tuple(dict.fromkeys(names))


def _published_names_of_both(before: Contract, after: Contract | None) -> Sequence[str]:
    """Every name under which consumers read what is published; a new name may be read already."""
    if after is None:
        return published_names(before)
    latest = before.get("latest_version", before.version)
    renamed = Contract({**after.document, "latest_version": latest})
    return tuple(dict.fromkeys((*published_names(before), *published_names(renamed))))


def _null_shares(measured: Iterable[Statistics]) -> dict[str, float]:
    """Column -> the largest share of nulls that was measured."""
    found: dict[str, float] = {}
    for each in measured:
        for name, column in each["columns"].items():
            share = column["nulls"] / each["rows"] if each["rows"] else 0.0
            found[name] = max(found.get(name, 0.0), share)
    return found


def _means(measured: Iterable[Statistics]) -> dict[str, list[float]]:
    """Numeric column -> its mean in each measurement, oldest first."""
    found: dict[str, list[float]] = {}
    for each in measured:
        for name, column in each["columns"].items():
            filled = each["rows"] - column["nulls"]
            if column["sum"] is not None and filled:
                found.setdefault(name, []).append(float(column["sum"]) / filled)
    return found
