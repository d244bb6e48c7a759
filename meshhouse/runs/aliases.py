"""Aliases: further names that show what a product shows.

Belongs here: which names a product has, moving them with it, and entries that show an earlier
publication again. Not here: tables that get another name (names.py), declaring names (repository/),
or how an engine stores them (engines/).

A product has one relation, and each version of a model has its own: `sales.orders_v2`. An alias is
another name for it: `sales.orders` shows the latest version. An alias moves in the transaction that
moves its product.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from meshhouse.engines import Engine
from meshhouse.heads import effective_publications, publications_of
from meshhouse.ledger import Staged
from meshhouse.repository import Domain, Product

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
VERSION = re.compile(r"(.+)_v\d+")
"""The relation of a version."""


def plain_of(relation: str) -> str | None:
    """`sales.orders` of the version `sales.orders_v2`; None if the name has no version."""
    match = VERSION.fullmatch(relation)
    return match[1] if match else None


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
        found |= {name: staged for name in alike if not is_private(name)}
    former = former_names(engine, states)
    for product, staged in shown:
        # A former name that another product has by now is not taken from it.
        names = {name for name, relation in former.items() if relation == product.relation}
        names |= {
            name
            for name in product.aliases
            if name == product.plain_relation
            or (name in states and product.relation in states
                and same(engine, states, name, product.relation))
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
    if match := VERSION.fullmatch(relation):
        found |= {match[1]} & set(states)
    found = {name for name in found if same(engine, states, relation, name)}
    former = former_names(engine, states)
    found |= {name for name, present in former.items() if present == relation}
    return {
        name: states[name]
        for name in sorted(found)
        if name == relation or (name not in others and not is_private(name))
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
    plain = {match[1] for name in heads if (match := VERSION.fullmatch(name))}
    unknown = {name for name in states if not is_private(name)} - heads.keys() - plain
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
        match = VERSION.fullmatch(relation)
        if match and match[1] in plain and same(engine, states, match[1], relation):
            found[match[1]] = int(relation.rpartition("_v")[2])
    return found


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
    for product in late_aliases(engine, domain, engine.states()):
        if product.relation in shown:
            continue
        standing = standing_of(engine, product.relation)
        if not standing:  # its retirement is not complete
            continue
        latest = as_shown(engine, product.relation)
        alias = engine.alias(product.plain_relation, latest)
        staged += [latest, replace(alias, alias_of=product.relation)]
        entries.append(entry_of("alias", product.relation, standing, alias=product.plain_relation))
    return staged, entries


def standing_of(engine: Engine, relation: str) -> dict[str, Any]:
    """The publication of a product that consumers see; empty if there is none."""
    history = publications_of(engine.ledger, relation.partition(".")[0]).get(relation, ())
    shown = effective_publications(history)
    return dict(shown[-1]) if shown else {}


def late_aliases(engine: Engine, domain: Domain, states: Mapping[str, str]) -> Iterator[Product]:
    """Latest versions that are published, and whose plain name shows something else."""
    for product in domain.products:
        plain = product.plain_relation
        is_latest = product.versioned and product.is_latest and product.relation in states
        if is_latest and (plain not in states or not same(engine, states, plain, product.relation)):
            yield product


def same(engine: Engine, states: Mapping[str, str], one: str, other: str) -> bool:
    """Whether two relations show the same rows.

    A catalog service gives each name a separate state, so there the snapshots are compared.
    """
    if states[one] == states[other]:
        return True
    if engine.lake is None or not engine.lake.is_served:
        return False
    return engine.state_id(states[one]) == engine.state_id(states[other])


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


def as_shown(engine: Engine, relation: str) -> Staged:
    """The state that a relation shows, as a change that changes nothing.

    It makes a transaction fail if the relation changes meanwhile.
    """
    state = engine.states()[relation]
    return Staged(relation, state, state, engine.state_id(state))


def is_private(relation: str) -> bool:
    """Whether consumers do not read a table: it is landed, retired, or of the ledger."""
    schema = relation.partition(".")[0]
    return schema == "meshhouse" or schema.endswith(("_raw", "_retired"))
