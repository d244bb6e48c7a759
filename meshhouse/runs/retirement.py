"""Retirement: consumers no longer find a product; its files are kept for a while.

Belongs here: whether a product may be retired, retiring it, and undoing that. Not here: removing
the files (maintenance/), or who reads a product (repository/references.py).

A retired table moves to the schema `<domain>_retired`, which no reader of products sees.
Maintenance removes it after the notice period. Until then, it can come back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain
from typing import Any

from meshhouse.engines import Engine
from meshhouse.errors import MeshError, UsageError
from meshhouse.governance.contract import Contract
from meshhouse.governance.deprecation import is_over, said, unknown_readers
from meshhouse.heads import effective_publications, publications_of
from meshhouse.ledger import Head, Staged
from meshhouse.repository import Domain, Product, Repository, display_path
from meshhouse.repository.references import Reading, readers
from meshhouse.runs.aliases import entry_of, names_of, plain_of, standing_of

SUFFIX = "_retired"
"""Schema of retired tables: the domain's name with this suffix."""


def kept_as(relation: str, snapshot: int) -> str:
    """The name of a table while it is retired; the snapshot tells two tables of one name apart."""
    domain, _, table = relation.partition(".")
    return f"{domain}{SUFFIX}.{table}__{snapshot}"


def shown_as(relation: str) -> tuple[str, str] | None:
    """The name and the snapshot of a table before it was retired; None if it is not retired."""
    schema, _, name = relation.partition(".")
    table, _, snapshot = name.rpartition("__")
    return (f"{schema.removesuffix(SUFFIX)}.{table}", snapshot) if schema.endswith(SUFFIX) else None


@dataclass(frozen=True)
class Retired:
    """A product that was retired."""

    relation: str
    version: int
    at: datetime
    rows: int
    by: str


def retire(repository: Repository, engine: Engine, name: str, today: date) -> Retired:
    """Hides a product from consumers, with all its names, in one transaction.

    Args:
        repository: what is declared.
        engine: the target in use.
        name: `domain.product`, `domain.product_v1` or `domain.product.v1`.
        today: the day that counts for deprecation dates.

    Raises:
        UsageError: it is not published, or is still declared and not past its date; or the tables
            are those of an environment.
        MeshError: a domain still reads it, or it cannot be known whether one does.
    """
    if repository.environment:
        raise UsageError(
            f"{name} was not retired: in the environment {repository.environment}, consumers would "
            "find production's table again. Unset MESH_ENV to retire production's; `mesh env drop` "
            "removes what an environment has."
        )
    asked = _spelled(name)
    _finish(repository, engine, asked)
    if asked in complete(repository, engine, asked.partition(".")[0], ("retire",)):
        [entry] = publications_of(engine.ledger, asked.partition(".")[0])[asked][-1:]
        return _retired(asked, entry)
    relation = _relation(engine, name)
    declared = declared_as(repository, relation)
    if declared is not None:
        _check_date(declared, today)
        head = engine.ledger.heads(declared.domain).get(relation)
        if head is not None and not is_announced(declared, head):
            raise UsageError(
                f"{relation} was not retired: its end, {declared.deprecation_date} "
                f"({_place(declared)}), is not published. Run `mesh run {declared.domain}`, which "
                "judges whether the notice is long enough."
            )
    elif any(each.name == relation.partition(".")[0] for each in repository.broken):
        raise MeshError(
            f"{relation} may still be declared: its domain cannot be read. See `mesh check`."
        )
    names = names_of(engine, relation, _others(repository, relation))
    _check_readers(repository, relation, declared, names)
    standing = standing_of(engine, relation)
    changes = _hiding(engine, relation, names, standing["snapshot_id"])
    entry = entry_of("retire", relation, standing)
    engine.ledger.commit(changes, {"publications": [entry]})
    return _retired(relation, {**entry, "done_by": ""})


def unretire(repository: Repository, engine: Engine, name: str, today: date) -> list[str]:
    """Shows a retired product again.

    Returns:
        Its names, which consumers find again.

    Raises:
        UsageError: it is not retired, or would be retired again at once.
        MeshError: its files are no longer kept.
    """
    asked = _spelled(name)
    _finish(repository, engine, asked)
    if asked in complete(repository, engine, asked.partition(".")[0], ("unretire",)):
        return [asked]
    relation = _relation(engine, name, of_retired=True)
    history = publications_of(engine.ledger, relation.partition(".")[0])[relation]
    declared = declared_as(repository, relation)
    if declared is not None and is_over(declared, today):
        raise UsageError(
            f"{relation} is past its deprecation date, {declared.deprecation_date}, so the next "
            f"run would retire it again. Set a later date in {_place(declared)} first."
        )
    changes = _showing(engine, relation, history[-1]["snapshot_id"])
    names = sorted(str(each.renamed_to) for each in changes if each.renamed_to)
    if relation in engine.states():  # a catalog service did not hide it
        names = sorted({*names, relation})
    if relation not in names:
        raise MeshError(
            f"The files of {relation} are no longer kept, so it cannot come back. Declare it again "
            "and run its domain."
        )
    engine.ledger.commit(changes, {"publications": [entry_of("unretire", relation, history[-1])]})
    return names


def incomplete(
    engine: Engine, domain: str, kinds: Collection[str] = ("retire", "unretire")
) -> list[str]:
    """Products of a domain that are shown although they are retired, or the reverse.

    Only a catalog service leaves any: it renames tables one by one, after the transaction that
    records the retirement. A product's relation is renamed after its other names.
    """
    if engine.lake is None or not engine.lake.is_served:
        return []
    heads = engine.ledger.heads(domain, documents=False)
    changed = {name: head.kind for name, head in heads.items() if head.kind in kinds}
    states = engine.states() if changed else {}
    return sorted(name for name, kind in changed.items() if (name in states) == (kind == "retire"))


def complete(
    repository: Repository,
    engine: Engine,
    domain: str,
    kinds: Collection[str] = ("retire", "unretire"),
) -> list[str]:
    """Completes retirements that were interrupted, and their undoing.

    Returns:
        The products that are hidden, or shown again, only now.

    Raises:
        MeshError: the catalog service refuses.
    """
    done = []
    for relation in incomplete(engine, domain, kinds):
        entry = publications_of(engine.ledger, domain)[relation][-1]
        names = names_of(engine, relation, _others(repository, relation))
        changes = (
            _hiding(engine, relation, names, entry["snapshot_id"])
            if entry["kind"] == "retire"
            else _showing(engine, relation, entry["snapshot_id"])
        )
        if changes:
            engine.ledger.commit(changes, {})
            done.append(relation)
    return done


def overdue(repository: Repository, engine: Engine, domain: Domain, today: date) -> list[str]:
    """Published products of a domain that are past their date and are not read any more.

    People outside of the mesh learn of an end from what is published, so a date counts only once
    it was judged and published, with its notice or with a waiver.

    None in an environment, where production's readers still count on production's products.
    """
    over = [each for each in domain.products if is_over(each, today)]
    if not over or repository.environment or unknown_readers(repository, domain.name):
        return []
    states = engine.states()
    heads = engine.ledger.heads(domain.name)
    found = []
    for each in over:
        head = heads.get(each.relation)
        if each.relation not in states or head is None or head.kind == "retire":
            continue
        if not is_announced(each, head):  # this run judges and publishes the date first
            continue
        names = names_of(engine, each.relation, _others(repository, each.relation))
        if not _readers(repository, each.relation, each, names):
            found.append(each.relation)
    return found


def is_announced(product: Product, head: Head) -> bool:
    """Whether the current publication of a product promises the end that is declared now."""
    published = Contract.from_text(head.contract).get("deprecation_date") if head.contract else None
    return bool(published) and str(published)[:10] == str(product.deprecated_on)


def retired(engine: Engine) -> list[Retired]:
    """Every product that is retired now, in the environment in use; newest last."""
    return retired_among(engine.ledger.heads(documents=False).values())


def retired_among(heads: Iterable[Head]) -> list[Retired]:
    """Those of some products that are retired now; newest last."""
    found = [
        Retired(head.relation, head.retired_version, head.retired_at, head.retired_rows,
                head.retired_by)
        for head in heads
        if head.kind == "retire"
    ]  # fmt: skip
    return sorted(found, key=lambda each: each.at)


def declared_as(repository: Repository, relation: str) -> Product | None:
    """The product that is declared with exactly this relation."""
    domain, _, name = relation.partition(".")
    if domain not in repository.domain_names:
        return None
    found = repository.reading(domain).product(name)
    return found if found is not None and found.relation == relation else None


def _check_date(product: Product, today: date) -> None:
    if is_over(product, today):
        return
    if product.deprecated_on is None:
        remedy = (
            "Set its `deprecation_date`, and retire it after that day, when no domain reads it; or "
            "remove it from the declarations."
        )
        raise UsageError(f"{product.relation} is still declared ({_place(product)}). {remedy}")
    raise UsageError(
        f"{product.relation} was promised until {product.deprecation_date} ({_place(product)}). "
        "Retire it after that day."
    )


def _finish(repository: Repository, engine: Engine, relation: str) -> None:
    domain = relation.partition(".")[0]
    if domain in repository.domain_names:
        engine.finish_publications(repository.reading(domain))


def _hiding(engine: Engine, relation: str, names: Mapping[str, str], snapshot: int) -> list[Staged]:
    """Gives all names of a product to the schemas of retired tables, its relation last."""
    changes = []
    for name in sorted(names, key=lambda each: (each == relation, each)):
        state, kept = names[name], kept_as(name, snapshot)
        number = engine.state_id(state)
        changes.append(Staged(name, state, state, number, alias_of=relation, renamed_to=kept))
    return changes


def _showing(engine: Engine, relation: str, snapshot: int) -> list[Staged]:
    """Gives retired tables their names again, the product's relation last."""
    states = engine.states()
    changes = []
    for kept, state in states.items():
        before = shown_as(kept)
        if before is None or before[1] != str(snapshot):
            continue
        shown = before[0]
        # A former name that another product has now ends: kept, it would stop a later retirement.
        back = "" if shown in states else shown
        number = engine.state_id(state)
        changes.append(Staged(kept, state, state, number, alias_of=relation, renamed_to=back))
    return sorted(changes, key=lambda each: (each.renamed_to == relation, each.relation))


def _readers(
    repository: Repository, relation: str, declared: Product | None, names: Iterable[str]
) -> list[Reading]:
    """Who reads a product, under any of the names that end with it."""
    others = [readers(repository, name) for name in names if name != relation]
    return sorted({*readers(repository, declared or relation), *chain.from_iterable(others)})


def _check_readers(
    repository: Repository, relation: str, declared: Product | None, names: Iterable[str]
) -> None:
    if found := _readers(repository, relation, declared, names):
        raise MeshError(
            f"{relation} is still read, so it was not retired: {said(found)}. These models must "
            "read another product or version first."
        )
    if unknown := unknown_readers(repository, relation.partition(".")[0]):
        raise MeshError(
            f"{relation} was not retired: {', '.join(unknown)} cannot be read, so it is unknown "
            "whether it reads this product. Correct it; `mesh check` lists its mistakes."
        )


def _relation(engine: Engine, name: str, of_retired: bool = False) -> str:
    """The relation under which the ledger has a product; `name` may be an alias.

    Raises:
        UsageError: there is no such product, or it is not in the wanted state.
    """
    relation = _spelled(name)
    histories = publications_of(engine.ledger)
    states = engine.states()
    if relation not in histories:
        alike = [each for each in names_of(engine, relation, ()) if each in histories]
        gone = _retired_versions(histories, relation) if of_retired else []
        if len(gone) > 1:
            raise UsageError(f"Several versions are retired. Name one: {', '.join(gone)}.")
        relation = next(iter([*alike, *gone]), relation)
    history = histories.get(relation, [])
    is_retired = bool(history) and history[-1]["kind"] == "retire"
    if of_retired and not is_retired:
        raise UsageError(f"{relation} is not retired. `mesh status --retired` lists what is.")
    if not of_retired and is_retired:
        raise UsageError(
            f"{relation} is retired already. `mesh retire --undo {relation}` brings it back."
        )
    if not of_retired and (not effective_publications(history) or relation not in states):
        raise UsageError(
            f"{relation} is not published here, so there is nothing to retire. `mesh status` "
            "lists what is."
        )
    return relation


def _retired_versions(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], plain: str
) -> list[str]:
    """The relations of a product's retired versions."""
    return [
        each
        for each, history in sorted(histories.items())
        if plain_of(each) == plain and history[-1]["kind"] == "retire"
    ]


def _spelled(name: str) -> str:
    parts = name.split(".")
    if len(parts) == 3 and parts[2][:1] == "v" and parts[2][1:].isdecimal():
        parts = [parts[0], f"{parts[1]}_{parts[2]}"]
    if len(parts) != 2 or not all(parts):
        raise UsageError(f"`{name}` names no product. Write DOMAIN.PRODUCT or DOMAIN.PRODUCT.v1.")
    return ".".join(parts)


def _others(repository: Repository, relation: str) -> Collection[str]:
    """Names that other declared products have."""
    return {
        name
        for domain in repository.readings
        for product in domain.products
        if product.relation != relation
        for name in product.relations
    }


def _retired(relation: str, entry: dict[str, Any]) -> Retired:
    return Retired(
        relation, entry["version"], entry["finished_at"], entry["rows"], entry["done_by"]
    )


def _place(product: Product) -> str:
    return f"{display_path(product.path)}:{product.line}"
