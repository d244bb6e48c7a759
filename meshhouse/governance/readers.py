"""Who reads which column of a product, and how.

Belongs here: looking up readers. Not here: finding reads in SQL (lineage/), or what a change means
for them (rules/).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshhouse.governance.change import Hit
from meshhouse.governance.contract import Contract

EVERY = "*"
"""Stands for every column of a relation, as in `select *`."""
BARE = "bare"
"""How of a name that the product does not have: the reader uses it without a table, and finds it in
another relation that it joins with the product."""


@dataclass(frozen=True)
class Read:
    """One model's use of one column of another domain's product."""

    reader: str
    """`domain.model` of the reading model, or of the model whose check reads it."""
    relation: str
    """The product as the reader calls it: `sales.orders`, or `sales.orders_v1` if pinned."""
    column: str
    """In lower case; a path such as `address.city` inside a struct; `EVERY` for a star; empty if
    only the number of rows matters."""
    into: tuple[str, ...] = ()
    """The reader's columns that its values reach; empty if it only filters, joins or orders."""
    how: frozenset[str] = frozenset({"select"})
    """Of: select, filter, join, group, order, window, star, position (by place, as in `union`);
    or only `BARE`."""
    literals: tuple[str, ...] = ()
    """Values that the reader compares it with."""
    operators: frozenset[str] = frozenset()
    """How it compares: of `=`, `<>`, `<`, `<=`, `>`, `>=`, `in`, `between`, `like`, `case` (without
    `else`), `pivot`, `key`, `not ...`, `or`, `?`; see lineage/operators.py. Empty if a
    contract does not record it."""
    is_known: bool = True
    """False if lineage could not be found: then the reader counts as reading every column."""
    is_direct: bool = True
    """Whether the reader names the relation; if not, other models of its domain pass the column on,
    and the reader filters, joins, groups or orders by it."""
    check: str = ""
    """The check or test of the reader that reads it; empty if the model itself does."""
    owner: str = ""
    agreement: str = ""
    """Name of the agreement that grants it; empty if there is none."""

    @property
    def hits(self) -> tuple[Hit, ...]:
        """The hits if the column changes."""
        columns = ("?",) if not self.is_known else self.into or (EVERY,)
        if self.check:
            columns = columns[:1] if not self.is_known else (EVERY,)
        return tuple(Hit(self.reader, each, self.owner, self.check) for each in columns)

    def as_json(self) -> dict[str, Any]:
        """The read as a contract stores it."""
        return {
            "reader": self.reader,
            "relation": self.relation,
            "column": self.column,
            "into": list(self.into),
            "how": sorted(self.how),
            "literals": list(self.literals),
            "operators": sorted(self.operators),
            "is_known": self.is_known,
            # Only if set, so that contracts without such reads keep their hash.
            **({} if self.is_direct else {"is_direct": False}),
            **({"check": self.check} if self.check else {}),
        }


@dataclass(frozen=True)
class Readers:
    """The reads of one product by models of other domains."""

    reads: tuple[Read, ...] = ()

    @classmethod
    def of(cls, relations: Sequence[str], contracts: Iterable[Contract]) -> Readers:
        """The reads that published contracts of other domains record.

        Args:
            relations: every name of the product that readers may use.
            contracts: the current contracts of the mesh.
        """
        wanted = {each.lower() for each in relations}
        return cls.among(relations, reads_by_relation(contracts, wanted))

    @classmethod
    def among(cls, relations: Sequence[str], reads: Mapping[str, Sequence[Read]]) -> Readers:
        """The same from the reads of many products; see `reads_by_relation`."""
        wanted = dict.fromkeys(each.lower() for each in relations)
        domains = {each.partition(".")[0] for each in wanted}
        return cls(
            tuple(
                read
                for relation in wanted
                for read in reads.get(relation, ())
                if read.reader.partition(".")[0] not in domains
            )
        )

    def of_column(self, column: str) -> tuple[Read, ...]:
        """Reads of a column, of a field inside it, of every column, or with unknown lineage."""
        name = column.lower()
        return tuple(
            each
            for each in self._used()
            if not each.is_known
            or each.column == EVERY
            or each.column == name
            or each.column.startswith(f"{name}.")
            or name.startswith(f"{each.column}.")
        )

    def of_bare_name(self, name: str) -> tuple[Read, ...]:
        """Queries in which a new column of this name makes a name ambiguous."""
        return tuple(
            each for each in self.reads if BARE in each.how and each.column == name.lower()
        )

    def hits_by_name(self, names: Collection[str]) -> tuple[Hit, ...]:
        """The hits if names of the product, in lower case, stop working."""
        found = [each for each in self._used() if each.relation.lower() in names]
        return tuple(sorted({hit for each in found for hit in each.hits}))

    def _used(self) -> tuple[Read, ...]:
        """Reads of what the product has."""
        return tuple(each for each in self.reads if BARE not in each.how)

    def hits(
        self, column: str | None = None, among: Callable[[Read], bool] | None = None
    ) -> tuple[Hit, ...]:
        """The hits if a column changes, or the whole product; sorted, each once.

        Args:
            column: a column or a path inside one; None for every read.
            among: which of the reads count; those with unknown lineage always do. It also sees
                readers that use the column through other models of their domain. By default, the
                readers count that name the product: they fail first.
        """
        if column is None:
            reads = [each for each in self._used() if each.is_direct]
        else:
            reads = [each for each in self.of_column(column) if each.is_direct or among]
        counted = [each for each in reads if among is None or not each.is_known or among(each)]
        return tuple(sorted({hit for each in counted for hit in each.hits}))

    def whole(self, among: Callable[[Read], bool] = lambda read: True) -> tuple[Hit, ...]:
        """One hit for each reader, if a change concerns the product and not a column.

        Args:
            among: which of the reads count.
        """
        reads = [each for each in self.reads if each.is_direct and among(each)]
        models = {(each.reader, each.owner, "") for each in reads if not each.check}
        # A model that reads the product itself needs no second entry for its checks.
        known = {reader for reader, _, _ in models}
        checks = {(each.reader, each.owner, each.check) for each in reads if each.check}
        found = models | {each for each in checks if each[0] not in known}
        return tuple(Hit(reader, EVERY, owner, check) for reader, owner, check in sorted(found))


def reads_by_relation(
    contracts: Iterable[Contract], wanted: Collection[str] | None = None
) -> dict[str, list[Read]]:
    """Relation in lower case -> the reads that contracts record, in the order of the contracts.

    Args:
        contracts: the current contracts of the mesh.
        wanted: relations in lower case; None for all.
    """
    found: dict[str, list[Read]] = {}
    for contract in contracts:
        for read in contract.get("reads", ()):
            relation = str(read["relation"]).lower()
            if wanted is None or relation in wanted:
                found.setdefault(relation, []).append(_read(read, contract.owner))
    return found


def _read(stored: dict[str, Any], owner: str) -> Read:
    return Read(
        reader=stored["reader"],
        relation=stored["relation"],
        column=stored["column"],
        into=tuple(stored["into"]),
        how=frozenset(stored["how"]),
        literals=tuple(stored["literals"]),
        operators=frozenset(stored.get("operators", ())),
        is_known=stored["is_known"],
        is_direct=stored.get("is_direct", True),
        check=stored.get("check", ""),
        owner=owner,
    )
