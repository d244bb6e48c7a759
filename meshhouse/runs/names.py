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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from meshhouse.engines import Engine
from meshhouse.errors import MeshError
from meshhouse.governance.policies import notice_days
from meshhouse.heads import effective_publications, publications_of
from meshhouse.ledger import Staged
from meshhouse.locks import lock_if_free
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.references import readers

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


def followers(
    engine: Engine, shown: Sequence[tuple[Product, Staged]], moved: Collection[str] = ()
) -> list[Staged]:
    """The aliases that must move with products, staged.

    Args:
        engine: the target in use.
        shown: products with the states that they are about to show.
        moved: aliases that show another version from now on.
    """
    states = engine.states()
    moved = {*moved, *(staged.relation for _, staged in shown)}
    found: dict[str, Staged] = {}
    for _, staged in shown:
        # In a catalog file, all names of one table have the same state.
        alike = (name for name, state in states.items() if state == staged.base)
        found |= {name: staged for name in alike if not _is_private(name)}
    former = former_names(engine, states)
    for product, staged in shown:
        # A former name that another product has by now is not taken from it.
        names = {name for name, relation in former.items() if relation == product.relation}
        names |= {
            name
            for name in product.aliases
            if name == product.plain_relation
            or (name in states and product.relation in states
                and _same(engine, states, name, product.relation))
        }  # fmt: skip
        found |= dict.fromkeys(names, staged)
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
    found = {name for name in found if _same(engine, states, relation, name)}
    former = former_names(engine, states)
    found |= {name for name, present in former.items() if present == relation}
    return {
        name: states[name]
        for name in sorted(found)
        if name == relation or (name not in others and not _is_private(name))
    }


def former_names(engine: Engine, states: Mapping[str, str]) -> dict[str, str]:
    """Former name that consumers still find -> the present relation of its product.

    They are taken from the ledger: declarations name the last renaming only, and with a catalog
    service, two names of one table have different states.

    Args:
        engine: the target in use.
        states: of its tables.
    """
    heads = engine.ledger.heads(documents=False)
    plain = {match[1] for name in heads if (match := _VERSION.fullmatch(name))}
    unknown = {name for name in states if not _is_private(name)} - heads.keys() - plain
    found = {}
    for relation, entries in publications_of(engine.ledger).items() if unknown else ():
        before = {each["renamed_from"] for each in entries if each.get("renamed_from")}
        found |= dict.fromkeys(before & unknown, relation)
    return found


def shown_versions(engine: Engine, domain: Domain) -> dict[str, int]:
    """Name without a number -> the version that it shows now, of a domain's versioned products."""
    versioned = [each for each in domain.products if each.versioned]
    states = engine.states() if versioned else {}
    plain = {each.plain_relation for each in versioned} & states.keys()
    found = {}
    # A version that is not declared any more may be the one that the name still shows.
    for relation in states:
        match = _VERSION.fullmatch(relation)
        if match and match[1] in plain and _same(engine, states, match[1], relation):
            found[match[1]] = int(relation.rpartition("_v")[2])
    return found


def pending(repository: Repository, engine: Engine, domain: Domain) -> bool:
    """Whether a run has names to change: see `settle` and `moves`."""
    states = engine.states()
    renames = _renames(repository, engine, _with_upstream(repository, domain), states)
    late = _late_aliases(engine, domain, states)
    return any(True for _ in (*renames, *late, *_ended(repository, engine, domain, states)))


def settle(repository: Repository, engine: Engine, domain: Domain) -> list[str]:
    """Gives tables of a domain and of its upstream domains the names that are declared now.

    Consumers see the same rows before and after.

    Args:
        repository: where the domain is declared.
        engine: the target in use.
        domain: which one.

    Returns:
        What was done, one line for people each.

    Raises:
        Conflict: another process changed one of the tables meanwhile; nothing was changed.
        MeshError: an upstream domain, whose table gets another name, is at work.
    """
    done = []
    states = engine.states()
    for rename in _renames(repository, engine, _with_upstream(repository, domain), states):
        with _undisturbed(repository, rename, domain):
            _apply(engine, rename)
        done.append(f"{rename.before} is called {rename.after} now; the old name shows it too")
    if done:
        states = engine.states()
    for product, name in _ended(repository, engine, domain, states):
        shown = _as_shown(engine, product.relation)
        state = states[name]
        number = engine.state_id(state)
        gone = Staged(name, state, state, number, alias_of=product.relation, renamed_to="")
        entry = entry_of("end", product.relation, standing_of(engine, product.relation), alias=name)
        engine.ledger.commit([shown, gone], {"publications": [entry]})
        done.append(f"{name}, the former name of {product.relation}, ended")
    return done


def moves(
    engine: Engine, domain: Domain, shown: Collection[str] = ()
) -> tuple[list[Staged], list[dict[str, Any]]]:
    """Names without a number that show another version from now on, which is published already.

    Args:
        engine: the target in use.
        domain: whose names they are.
        shown: products that are about to be published; their aliases move with them.

    Returns:
        What must be committed, and the entries that record it.
    """
    staged, entries = [], []
    for product in _late_aliases(engine, domain, engine.states()):
        if product.relation in shown:
            continue
        standing = standing_of(engine, product.relation)
        if not standing:  # its retirement is not complete
            continue
        latest = _as_shown(engine, product.relation)
        alias = engine.alias(product.plain_relation, latest)
        staged += [latest, replace(alias, alias_of=product.relation)]
        entries.append(entry_of("alias", product.relation, standing, alias=product.plain_relation))
    return staged, entries


def standing_of(engine: Engine, relation: str) -> dict[str, Any]:
    """The publication of a product that consumers see; empty if there is none."""
    history = publications_of(engine.ledger, relation.partition(".")[0]).get(relation, ())
    shown = effective_publications(history)
    return dict(shown[-1]) if shown else {}


def _ended(
    repository: Repository, engine: Engine, domain: Domain, states: Mapping[str, str]
) -> Iterator[tuple[Product, str]]:
    """Former names of products after the notice period, which no domain uses any more."""
    declared = {name for each in repository.readings for product in each.products
                for name in product.relations}  # fmt: skip
    others = any(name not in declared and not _is_private(name) for name in states)
    former = former_names(engine, states) if others else {}
    renamed = [each for each in domain.products
               if each.former is not None or each.relation in former.values()]  # fmt: skip
    if not renamed:
        return
    histories = publications_of(engine.ledger, domain.name)
    before = datetime.now(UTC) - timedelta(days=notice_days(repository))
    for product in renamed:
        entries = histories.get(product.relation, ())
        since = [each["finished_at"] for each in entries if each["kind"] == "rename"]
        if not since or since[-1] >= before or product.relation not in states:
            continue
        names = {product.former_relation, product.renamed_from} - _used(repository, product)
        # Those that no `renamed_from` names any more.
        names |= {name for name, relation in former.items()
                  if relation == product.relation and name not in declared
                  and not readers(repository, name)}  # fmt: skip
        for name in names & states.keys():
            # Another product may have the name by now; its table must stay.
            if name not in histories and not _declares(repository, *str(name).split(".", 1)) and (
                _same(engine, states, str(name), product.relation)
            ):  # fmt: skip
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
    numbered = any(each.versioned and each.plain_relation in states for each in domain.products)
    # A read of the ledger takes 5 ms, and each domain of a run would make two.
    heads = engine.ledger.heads(domain.name, documents=False) if numbered else {}
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


@contextmanager
def _undisturbed(repository: Repository, rename: Rename, domain: Domain) -> Iterator[None]:
    """Makes sure that no run of another domain publishes the table under its old name meanwhile.

    It does not wait: maintenance holds the locks of several domains, so both could wait forever.

    Raises:
        MeshError: such a run is at work.
    """
    with ExitStack() as held:
        domains = {rename.before.partition(".")[0], rename.after.partition(".")[0]} - {domain.name}
        for other in sorted(domains):
            path = repository.workspace / "locks" / f"{other}.run"
            if held.enter_context(lock_if_free(path)):
                raise MeshError(
                    f"{rename.before} gets the name {rename.after}, but {other} is at work. Run "
                    f"{domain.name} again when that has ended."
                )
        yield


def _apply(engine: Engine, rename: Rename) -> None:
    shown = _as_shown(engine, rename.before)
    entry = entry_of("rename", rename.after, rename.shown, renamed_from=rename.before)
    taken = engine.alias(rename.after, shown, with_history=True)
    changes = [replace(taken, alias_of=rename.after), replace(shown, alias_of=rename.after)]
    engine.ledger.commit(changes, {"publications": [entry]})


def entry_of(kind: str, relation: str, shown: Mapping[str, Any], **further: str) -> dict[str, Any]:
    """An entry that shows the rows of an earlier publication."""
    domain, _, product = relation.partition(".")
    now = datetime.now(UTC)
    return {
        **{key: shown.get(key) for key in KEPT},
        "run_id": str(uuid.uuid4()),
        "publication_id": str(uuid.uuid4()),
        "domain": domain,
        "product": product,
        "kind": kind,
        "started_at": now,
        "finished_at": now,
        **further,
    }


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


def _is_private(relation: str) -> bool:
    """Whether consumers do not read a table: it is landed, retired, or of the ledger."""
    schema = relation.partition(".")[0]
    return schema == "meshhouse" or schema.endswith(("_raw", "_retired"))
