"""The audience of a product: which domains read it, and what of it.

Belongs here: uses from published contracts. Not here: how reads are found in SQL
(governance/lineage/), or what they hear (causes.py, changes.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from meshhouse.governance.contract import Contract
from meshhouse.governance.readers import BARE, EVERY, Readers
from meshhouse.notices.facts import Use

UNKNOWN = "?"


def uses(names: Sequence[str], contracts: Iterable[Contract]) -> tuple[Use, ...]:
    """Which other domains read a product, each with its own models and columns only.

    Args:
        names: every relation under which the product can be read.
        contracts: the current contracts of the mesh.
    """
    kept = list(contracts)
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for read in Readers.of(names, kept).reads:
        if BARE in read.how:
            continue  # the name is that of another relation
        domain = read.reader.partition(".")[0]
        columns = found[domain][read.reader]
        if not read.is_known:
            columns.add(UNKNOWN)
        elif read.column:
            columns.add(read.column)
    groups = _groups(kept)
    return tuple(
        Use(domain, _of_all(groups.get(model, frozenset({""})) for model in models),
            tuple((model, tuple(sorted(columns))) for model, columns in sorted(models.items())))
        for domain, models in sorted(found.items())
    )  # fmt: skip


def _groups(contracts: Iterable[Contract]) -> dict[str, set[str]]:
    """Model -> dbt groups of the products that it is, or that are built from it."""
    own: dict[str, set[str]] = defaultdict(set)
    through: dict[str, set[str]] = defaultdict(set)
    for each in contracts:
        group = str(each.get("owner.group", "") or "")
        own[each.product].add(group)
        for read in each.get("reads", ()) or ():
            through[str(read["reader"])].add(group)
    return {**through, **own}


def _of_all(groups: Iterable[Collection[str]]) -> tuple[str, ...]:
    """All groups together; none, which means all owners, if a model has none."""
    found = {group for each in groups for group in each}
    return () if "" in found else tuple(sorted(found))


def said(use: Use) -> str:
    """A use in words: `crm.customers (order_id, amount), crm.baskets (rows only)`."""
    words = {EVERY: "every column", UNKNOWN: "unknown columns"}
    return ", ".join(
        f"{model} ({', '.join(words.get(each, each) for each in columns) or 'rows only'})"
        for model, columns in use.models
    )
