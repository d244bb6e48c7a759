"""Names of products: aliases, and names that tables had before.

Belongs here: which further names show what a product shows, and moving them. Not here: declaring
names (repository/), or how an engine stores them (engines/).

A product has one relation, and each version of a model has its own: `sales.orders_v2`. An alias is
another name for it: `sales.orders` shows the latest version. An alias moves in the transaction that
moves its product. If a product gets another name (a model gets versions, or `renamed_from`
declares it), its table and history go on under the new name, and the old name becomes an alias.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from meshhouse.engines import Engine
from meshhouse.governance.policies import notice_days
from meshhouse.heads import effective_publications, publications_of
from meshhouse.ledger import Staged
from meshhouse.repository import Domain, Product, Repository

KEPT = (
    "version",
    "snapshot_id",
    "input_snapshots",
    "code_version",
    "rows",
    "bytes",
    "audit_id",
    "score",
    "contract_hash",
)
"""Columns that an entry has in common with the publication that it shows again."""


_VERSION = re.compile(r"(.+)_v\d+")
"""The relation of a version."""


def plain_of(relation: str) -> str | None:
    """`sales.orders` of the version `sales.orders_v2`; None if the name has no version."""
    match = _VERSION.fullmatch(relation)
    return match[1] if match else None


@dataclass(frozen=True)
class Rename:
    """A table that goes on under another name."""

    before: str
    after: str
    shown: Mapping[str, Any]
    """The publication that consumers see."""


def followers(engine: Engine, shown: Sequence[tuple[Product, Staged]]) -> list[Staged]:
    """The aliases that must move with products, staged.

    Args:
        engine: the target in use.
        shown: products with the states that they are about to show.
    """
    states = engine.states()
    moved = {staged.relation for _, staged in shown}
    found: dict[str, Staged] = {}
    for _, staged in shown:
        # In a catalog file, all names of one table have the same state.
        alike = (name for name, state in states.items() if state == staged.base)
        found |= {name: staged for name in alike if not _is_raw(name)}
    for product, staged in shown:
        former = {product.former_relation, product.renamed_from} - set(states)
        found |= {name: staged for name in product.aliases if name not in former}
    return [
        replace(engine.alias(name, of), alias_of=of.relation)
        for name, of in sorted(found.items())
        if name not in moved
    ]


def names_of(engine: Engine, relation: str, others: Collection[str]) -> dict[str, str]:
    """Every name that shows the table of a relation -> its state; empty if there is no such table.

    Args:
        engine: the target in use.
        relation: any of the names.
        others: names that belong to other products.
    """
    states = engine.states()
    if relation not in states:
        return {}
    found = {name for name, state in states.items() if state == states[relation]}
    if match := _VERSION.fullmatch(relation):
        found |= {match[1]} & set(states)
    return {
        name: states[name]
        for name in sorted(found)
        if name == relation
        or (name not in others and not _is_raw(name) and _same(engine, states, relation, name))
    }


def shown_versions(engine: Engine, domain: Domain) -> dict[str, int]:
    """Name without a number -> the version that it shows now, of a domain's versioned products."""
    versioned = [each for each in domain.products if each.versioned]
    states = engine.states() if versioned else {}
    return {
        product.plain_relation: product.version
        for product in versioned
        if {product.plain_relation, product.relation} <= set(states)
        and _same(engine, states, product.plain_relation, product.relation)
    }


def pending(repository: Repository, engine: Engine, domain: Domain) -> bool:
    """Whether `settle` has anything to do."""
    states = engine.states()
    renames = _renames(repository, engine, _with_upstream(repository, domain), states)
    late = _late_aliases(engine, domain, states)
    return any(True for _ in (*renames, *late, *_ended(repository, engine, domain, states)))


def settle(repository: Repository, engine: Engine, domain: Domain) -> list[str]:
    """Gives tables of a domain and of its upstream domains the names that are declared now.

    Consumers see the same rows before and after, except where `latest_version` chooses another
    version that is published already.

    Args:
        repository: where the domain is declared.
        engine: the target in use.
        domain: which one.

    Returns:
        What was done, one line for people each.

    Raises:
        Conflict: another process changed one of the tables meanwhile; nothing was changed.
    """
    done = []
    states = engine.states()
    for rename in _renames(repository, engine, _with_upstream(repository, domain), states):
        _apply(engine, rename)
        done.append(f"{rename.before} is called {rename.after} now; the old name shows it too")
    if done:
        states = engine.states()
    for product in _late_aliases(engine, domain, states):
        staged = _as_shown(engine, product.relation)
        alias = engine.alias(product.plain_relation, staged)
        engine.ledger.commit([staged, replace(alias, alias_of=product.relation)], {})
        done.append(f"{alias.relation} shows version {product.version} now")
    for product, name in _ended(repository, engine, domain, states):
        shown = _as_shown(engine, product.relation)
        state = states[name]
        number = engine.state_id(state)
        gone = Staged(name, state, state, number, alias_of=product.relation, renamed_to="")
        engine.ledger.commit([shown, gone], {})
        done.append(f"{name}, the former name of {product.relation}, ended")
    return done


def _ended(
    repository: Repository, engine: Engine, domain: Domain, states: Mapping[str, str]
) -> Iterator[tuple[Product, str]]:
    """Former names of products after the notice period, which no domain uses any more."""
    renamed = [each for each in domain.products if each.former is not None]
    if not renamed:
        return
    histories = publications_of(engine.ledger, domain.name)
    before = datetime.now(UTC) - timedelta(days=notice_days(repository))
    for product in renamed:
        entries = histories.get(product.relation, ())
        since = [each["finished_at"] for each in entries if each["kind"] == "rename"]
        if not since or since[-1] >= before or product.relation not in states:
            continue
        for name in {product.former_relation, product.renamed_from} & set(states) - _used(
            repository, product
        ):
            yield product, str(name)


def _used(repository: Repository, product: Product) -> set[str]:
    """Former names of a product that models of other domains still use."""
    return {
        str(name)
        for domain in repository.readings
        for each in domain.references
        if f"{each.domain}.{each.product}" == product.renamed_from
        for name in (product.former_relation, product.renamed_from)
    }


def _with_upstream(repository: Repository, domain: Domain) -> list[Domain]:
    return [*map(repository.reading, domain.upstream), domain]


def _renames(
    repository: Repository, engine: Engine, domains: Iterable[Domain], states: Mapping[str, str]
) -> Iterator[Rename]:
    """Tables whose product has another name now."""
    versions: dict[str, list[str]] = {}
    for relation in states:
        if match := _VERSION.fullmatch(relation):
            versions.setdefault(match[1], []).append(relation)
    for domain in domains:
        for before, after in _suspects(engine, domain, states, versions).items():
            owner, _, name = before.partition(".")
            if owner != domain.name and _declares(repository, owner, name):
                continue  # `mesh check` reports it
            shown = effective_publications(publications_of(engine.ledger, owner).get(before, ()))
            if shown:
                version = shown[-1]["version"]
                yield Rename(before, after or f"{before}_v{version}", shown[-1])


def _suspects(
    engine: Engine,
    domain: Domain,
    states: Mapping[str, str],
    versions: Mapping[str, Sequence[str]],
) -> dict[str, str]:
    """Relations that may be the former name of a product's table -> the new name.

    The new name is empty if the ledger must say which version the table shows.
    """
    found = {}
    heads = engine.ledger.heads(domain.name, documents=False)
    for product in domain.products:
        plain, former = product.plain_relation, product.former_relation
        alike = [each for each in versions.get(plain, ())
                 if plain in states and _same(engine, states, plain, each)]  # fmt: skip
        # An alias has no publications. A plain name that has some, and shows the same as a version,
        # is that of a product that lost its versions and gets them again.
        if product.versioned and plain in states and plain in heads and heads[plain].is_published:
            found[plain] = ""
        elif not product.versioned:
            found |= dict.fromkeys(alike, plain)
        if former in states and product.relation not in states:
            found[former] = product.relation
    return found


def _late_aliases(engine: Engine, domain: Domain, states: Mapping[str, str]) -> Iterator[Product]:
    """Latest versions that are published, and whose plain name shows something else."""
    for product in domain.products:
        plain = product.plain_relation
        is_latest = product.versioned and product.is_latest and product.relation in states
        if is_latest and (
            plain not in states or not _same(engine, states, plain, product.relation)
        ):
            yield product


def _same(engine: Engine, states: Mapping[str, str], one: str, other: str) -> bool:
    """Whether two relations show the same rows.

    A catalog service gives each name a separate state, so there the snapshots are compared.
    """
    if states[one] == states[other]:
        return True
    if engine.lake is None or not engine.lake.is_served:
        return False
    return engine.state_id(states[one]) == engine.state_id(states[other])


def _apply(engine: Engine, rename: Rename) -> None:
    shown = _as_shown(engine, rename.before)
    domain, _, product = rename.after.partition(".")
    now = datetime.now(UTC)
    entry = {
        **{key: rename.shown.get(key) for key in KEPT},
        "run_id": str(uuid.uuid4()),
        "publication_id": str(uuid.uuid4()),
        "domain": domain,
        "product": product,
        "kind": "rename",
        "renamed_from": rename.before,
        "started_at": now,
        "finished_at": now,
    }
    taken = engine.alias(rename.after, shown, with_history=True)
    changes = [replace(taken, alias_of=rename.after), replace(shown, alias_of=rename.after)]
    engine.ledger.commit(changes, {"publications": [entry]})


def _as_shown(engine: Engine, relation: str) -> Staged:
    """The state that a relation shows, as a change that changes nothing.

    It makes a transaction fail if the relation changes meanwhile.
    """
    state = engine.states()[relation]
    return Staged(relation, state, state, engine.state_id(state))


def _declares(repository: Repository, domain: str, product: str) -> bool:
    if domain not in repository.domain_names:
        return False
    return repository.reading(domain).product(product) is not None


def _is_raw(relation: str) -> bool:
    return relation.partition(".")[0].endswith("_raw")
