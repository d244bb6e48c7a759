"""Tables that get another name, because their product was renamed.

Belongs here: finding and carrying out renamings, and the end of former names. Not here: aliases
that move with a product (aliases.py), or declaring names (repository/).

If a product gets another name (a model gets versions, or `renamed_from` declares it), its table and
history go on under the new name, and the old name becomes an alias.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from meshhouse.runs.aliases import (
    VERSION,
    as_shown,
    entry_of,
    former_names,
    is_private,
    late_aliases,
    same,
    standing_of,
)


@dataclass(frozen=True)
class Rename:
    """A table that goes on under another name."""

    before: str
    after: str
    shown: Mapping[str, Any]
    """The publication that consumers see."""


def pending(repository: Repository, engine: Engine, domain: Domain) -> bool:
    """Whether a run has names to change: see `settle` and `moves`."""
    states = engine.states()
    renames = _renames(repository, engine, _with_upstream(repository, domain), states)
    late = late_aliases(engine, domain, states)
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
        shown = as_shown(engine, product.relation)
        state = states[name]
        number = engine.state_id(state)
        gone = Staged(name, state, state, number, alias_of=product.relation, renamed_to="")
        entry = entry_of("end", product.relation, standing_of(engine, product.relation), alias=name)
        engine.ledger.commit([shown, gone], {"publications": [entry]})
        done.append(f"{name}, the former name of {product.relation}, ended")
    return done


def _ended(
    repository: Repository, engine: Engine, domain: Domain, states: Mapping[str, str]
) -> Iterator[tuple[Product, str]]:
    """Former names of products after the notice period, which no domain uses any more."""
    declared = {name for each in repository.readings for product in each.products
                for name in product.relations}  # fmt: skip
    others = any(name not in declared and not is_private(name) for name in states)
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
                same(engine, states, str(name), product.relation)
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
        if match := VERSION.fullmatch(relation):
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
                 if plain in states and same(engine, states, plain, each)]  # fmt: skip
        # An alias has no publications. A plain name that has some, and shows the same as a version,
        # is that of a product that lost its versions and gets them again.
        if product.versioned and plain in states and plain in heads and heads[plain].is_published:
            found[plain] = ""
        elif not product.versioned:
            found |= dict.fromkeys(alike, plain)
        if former in states and product.relation not in states:
            found[former] = product.relation
    return found


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
    shown = as_shown(engine, rename.before)
    entry = entry_of("rename", rename.after, rename.shown, renamed_from=rename.before)
    taken = engine.alias(rename.after, shown, with_history=True)
    changes = [replace(taken, alias_of=rename.after), replace(shown, alias_of=rename.after)]
    engine.ledger.commit(changes, {"publications": [entry]})


def _declares(repository: Repository, domain: str, product: str) -> bool:
    if domain not in repository.domain_names:
        return False
    return repository.reading(domain).product(product) is not None
