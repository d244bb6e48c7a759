"""What changed between two states of products, for `mesh diff` and `mesh check`.

Belongs here: which products are compared, and with what. Not here: the judgement (governance/),
rows (row_diff.py, two_states.py), or how a difference is printed (cli/).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshhouse.engines import Engine
from meshhouse.errors import MeshError, UsageError
from meshhouse.governance.contract import Contract
from meshhouse.governance.report import Judged
from meshhouse.ledger import Head, Ledger
from meshhouse.repository import BrokenDomain, Domain, Product, Repository, printable
from meshhouse.repository.manifest import Manifest
from meshhouse.runs.aliases import shown_versions
from meshhouse.runs.contracts import DeclaredContracts
from meshhouse.runs.gate import Gate
from meshhouse.runs.history import past_publications
from meshhouse.runs.parse import fresh_manifest


@dataclass
class Difference:
    """What changed in some products."""

    judged: list[Judged] = field(default_factory=list)
    """Products that are published and changed, or are not declared any more."""
    unchanged: list[str] = field(default_factory=list)
    """Products in which nothing changed that a consumer needs to know."""
    new: list[str] = field(default_factory=list)
    """Products that consumers do not see yet."""
    removed: list[str] = field(default_factory=list)
    """Products that are published and no longer declared."""
    without_contract: list[str] = field(default_factory=list)
    """Products that an older version published without a contract: nothing to compare with."""
    withheld: dict[str, str] = field(default_factory=dict)
    """Declared product that dbt does not build as one -> `disabled` or `not public`."""
    compared: list[tuple[Product, Head]] = field(default_factory=list)
    """Products that are declared, built and published, with what consumers see."""
    broken: dict[str, str] = field(default_factory=dict)
    """Domain that cannot be compared -> why."""

    @property
    def is_refused(self) -> bool:
        """Whether a run would refuse to publish something, or cannot run."""
        return bool(self.broken) or any(each.outcome.refused for each in self.judged)

    def add(self, relation: str, judged: Judged) -> None:
        """Adds a product with its judgement."""
        if judged.changes:
            self.judged.append(judged)
        else:  # the contract may still have another text
            self.unchanged.append(relation)


@dataclass(frozen=True)
class Chosen:
    """A domain that is compared, with the products in question."""

    domain: Domain
    names: frozenset[str] | None
    """Of its products; None for all."""


def declared_difference(
    repository: Repository, engine: Engine, targets: Sequence[str] = ()
) -> Difference:
    """Compares what domains declare with what consumers see of them. Needs no data.

    A domain that cannot be read, parsed or rendered is listed, and the others go on.

    Args:
        repository: where they are declared. Without targets all domains are read, otherwise only
            those that are named, and what these read.
        engine: the target in use; an environment compares with production.
        targets: domains and products; empty for all.

    Raises:
        UsageError: a target is neither declared nor published.
    """
    heads = (engine.ledger.production or engine.ledger).heads()
    found = Difference()
    for chosen in _chosen(repository, heads, targets):
        try:
            _compare(repository, engine, heads, chosen, found)
        except MeshError as error:
            found.broken[chosen.domain.name] = str(error)
    return found


def _compare(
    repository: Repository,
    engine: Engine,
    heads: Mapping[str, Head],
    chosen: Chosen,
    found: Difference,
) -> None:
    """Compares the products of one domain."""
    domain, names = chosen.domain, chosen.names
    if domain.problems:
        raise BrokenDomain(domain)
    shown = shown_versions(engine, domain)
    gate = Gate(repository, engine.ledger, domain, heads=heads, shown=shown)
    own = Difference()  # a domain that breaks half-way is listed as broken only
    products = [each for each in domain.products if names is None or each.name in names]
    if products:
        manifest = fresh_manifest(repository, domain)
        contracts = DeclaredContracts(repository, domain, manifest)
        for product in products:
            _compare_product(product, manifest, contracts, gate, own)
    declared = {head.relation for each in domain.products if (head := gate.head_of(each))}
    for relation in gate.published_without(declared):
        if names is None or relation.partition(".")[2] in names:
            own.removed.append(relation)
            if judged := gate.judge_removed(relation):
                own.judged.append(judged)
            else:
                own.without_contract.append(relation)
    for name, value in vars(own).items():
        collected = getattr(found, name)
        collected.update(value) if isinstance(value, dict) else collected.extend(value)


def _compare_product(
    product: Product, manifest: Manifest, contracts: DeclaredContracts, gate: Gate, own: Difference
) -> None:
    relation, head = product.relation, gate.head_of(product)
    if reason := manifest.withheld(product):
        own.withheld[relation] = reason
    elif head is None:
        own.new.append(relation)
    else:
        own.compared.append((product, head))
        if head.contract is None:
            own.without_contract.append(relation)
        elif head.code_version == manifest.code_version(product):
            own.unchanged.append(relation)  # rendering takes a second or more
        elif judged := gate.judge(product, contracts.of(product)):
            own.add(relation, judged)


def _chosen(
    repository: Repository, heads: Mapping[str, Head], targets: Sequence[str]
) -> Iterator[Chosen]:
    published = {head.domain for head in heads.values() if head.is_published}
    gone = sorted(published - set(repository.domain_names))
    if not targets:
        for domain in repository.readings:
            yield Chosen(domain, None)
        for name in gone:
            yield Chosen(_removed_domain(repository, name), None)
        return
    names: dict[str, set[str] | None] = {}
    for target in dict.fromkeys(targets):
        name, dot, product = target.partition(".")
        domain = _removed_domain(repository, name) if name in gone else repository.reading(name)
        relations = {each.relation for each in domain.products}
        is_known = target in relations or (target in heads and heads[target].is_published)
        if dot and not domain.problems and not is_known:
            # It is the name of a latest version without its number, or unknown, which raises.
            product = repository.product(target).name
        if not dot:
            names[name] = None
        elif (known := names.setdefault(name, set())) is not None:
            known.add(product)
    for name, wanted in names.items():
        domain = _removed_domain(repository, name) if name in gone else repository.reading(name)
        yield Chosen(domain, None if wanted is None else frozenset(wanted))


def _removed_domain(repository: Repository, name: str) -> Domain:
    """A domain that has published something, and whose folder is gone."""
    return Domain(
        name=name,
        path=repository.root / "domains" / name,
        upstream=(),
        owners={},
        raw_tables=(),
        products=(),
        private_models=(),
        references=(),
    )


@dataclass(frozen=True)
class Publication:
    """One publication of a product, as the ledger has it."""

    number: int
    snapshot_id: int
    entry: Mapping[str, Any]
    contract: Contract | None
    statistics: Mapping[str, Any] | None


def two_publications(
    ledger: Ledger, product: Product, earlier: int, later: int | None
) -> tuple[Publication, Publication]:
    """Two publications of a product; in an environment that never published it, production's.

    Args:
        ledger: of the environment in use.
        product: whose publications they are.
        earlier: number of the first publication, as `mesh history` shows it.
        later: number of the second one; None for the current one.

    Raises:
        UsageError: there is no such publication.
    """
    history = past_publications(ledger, product.domain)
    recording = ledger if history.is_own(product) or not ledger.production else ledger.production
    entries = {int(each["number"]): each for each in history.of(product)}
    if later is None:
        head = recording.heads(product.domain, documents=False).get(product.relation)
        if head is None or head.number is None:
            raise UsageError(f"Consumers see no publication of {product.relation}.")
        later = head.number
    return _recorded(recording, product, entries, earlier), _recorded(
        recording, product, entries, later
    )


def published_difference(
    repository: Repository,
    ledger: Ledger,
    product: Product,
    before: Publication,
    after: Publication,
) -> Difference:
    """Judges one publication of a product by another, with the statistics of both.

    Raises:
        UsageError: one of them was recorded without a contract.
    """
    if before.contract is None or after.contract is None:
        number = before.number if before.contract is None else after.number
        raise UsageError(
            f"Publication {number} of {product.relation} was recorded without a contract, by an "
            "older version of Meshhouse, so it cannot be compared."
        )
    gate = Gate(repository, ledger, repository.reading(product.domain))
    found = Difference()
    judged = gate.judge_between(
        product,
        (before.contract, before.statistics),
        (after.contract, after.statistics),
        before.number,
    )
    found.add(product.relation, judged)
    return found


def _recorded(
    ledger: Ledger, product: Product, entries: Mapping[int, dict[str, Any]], number: int
) -> Publication:
    entry = entries.get(number)
    if entry is None:
        raise UsageError(
            f"{product.relation} has no publication {number}. "
            f"`mesh history {printable(product.relation)}` lists the numbers."
        )
    promised = ledger.contract(entry.get("contract_hash") or "")
    measured = ledger.statistics([entry["publication_id"]]).get(entry["publication_id"])
    return Publication(
        number=number,
        snapshot_id=int(entry["snapshot_id"]),
        entry=entry,
        contract=Contract.from_text(promised) if promised else None,
        statistics=json.loads(measured) if measured else None,
    )
