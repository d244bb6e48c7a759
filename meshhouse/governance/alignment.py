"""Which column of a candidate is which published column.

Belongs here: pairing the columns of two contracts: kept, spelled otherwise, renamed, swapped. Not
here: what that means for readers (rules/columns.py).

A removed and an added column are one renamed column if the candidate declares `renamed_from`, or
if their types are equal and their statistics alike. Statistics alike with more than one column
prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meshhouse.governance.contract import Contract
from meshhouse.governance.likeness import are_alike, measured
from meshhouse.governance.types import Type, type_of

Column = Mapping[str, Any]
Statistics = Mapping[str, Any] | None


@dataclass(frozen=True)
class Pair:
    """One column in both contracts."""

    before: Column
    after: Column

    @property
    def old(self) -> str:
        """The published name."""
        return str(self.before["name"])

    @property
    def new(self) -> str:
        """The name in the candidate."""
        return str(self.after["name"])

    @property
    def is_renamed(self) -> bool:
        """Whether more than the letter case of its name changes."""
        return self.old.lower() != self.new.lower()

    @property
    def types(self) -> tuple[Type, Type]:
        """The type before and after."""
        return type_of(str(self.before.get("type", ""))), type_of(str(self.after.get("type", "")))


@dataclass(frozen=True)
class Alignment:
    """The columns of two contracts beside each other."""

    pairs: tuple[Pair, ...] = ()
    """Columns in both, in their published order, renamed ones too."""
    removed: tuple[Column, ...] = ()
    added: tuple[Column, ...] = ()
    swapped: tuple[tuple[str, str], ...] = ()
    """Names that hold each other's values now."""

    @property
    def kept(self) -> Iterator[Pair]:
        """Pairs whose name is the same in any letter case."""
        return (each for each in self.pairs if not each.is_renamed)

    @property
    def renamed(self) -> Iterator[Pair]:
        """Pairs with another name."""
        return (each for each in self.pairs if each.is_renamed)

    def new_name(self, name: str) -> str:
        """The name in the candidate of a published column, in lower case; the same if removed."""
        found = (each.new for each in self.pairs if each.old.lower() == name.lower())
        return next(found, name).lower()


def align(
    before: Contract,
    after: Contract | None,
    before_statistics: Statistics = None,
    after_statistics: Statistics = None,
) -> Alignment:
    """Pairs the columns of two contracts; nothing is paired if the product is removed."""
    if after is None:
        return Alignment()
    new = {name.lower(): column for name, column in after.columns.items()}
    old = {name.lower(): column for name, column in before.columns.items()}
    renamed = _declared(old, new)
    gone = {name: old[name] for name in old if name not in new and name not in renamed}
    come = {name: new[name] for name in new if name not in old and name not in renamed.values()}
    renamed |= _seen(gone, come, before_statistics, after_statistics)
    names = {name: renamed.get(name, name) for name in old}
    pairs = [Pair(old[name], new[names[name]]) for name in old if names[name] in new]
    return Alignment(
        pairs=tuple(pairs),
        removed=tuple(old[name] for name in gone if name not in renamed),
        added=tuple(new[name] for name in come if name not in renamed.values()),
        swapped=tuple(_swapped(pairs, before_statistics, after_statistics)),
    )


def _declared(old: Mapping[str, Column], new: Mapping[str, Column]) -> dict[str, str]:
    """Published name -> new name, by what the candidate declares."""
    found = {}
    for name, column in new.items():
        origin = str(column.get("renamed_from") or "").lower()
        if origin in old and origin not in new and name not in old:
            found.setdefault(origin, name)
    return found


def _seen(
    gone: Mapping[str, Column],
    come: Mapping[str, Column],
    before: Statistics,
    after: Statistics,
) -> dict[str, str]:
    """Published name -> new name, by equal types and statistics."""
    matches = [
        (old, new)
        for old, column in gone.items()
        for new, other in come.items()
        if _are_one(column, other, before, after)
    ]
    olds, news = [old for old, _ in matches], [new for _, new in matches]
    return {old: new for old, new in matches if olds.count(old) == news.count(new) == 1}


def _are_one(old: Column, new: Column, before: Statistics, after: Statistics) -> bool:
    if type_of(str(old.get("type", ""))) != type_of(str(new.get("type", ""))):
        return False
    one, other = measured(before, str(old["name"])), measured(after, str(new["name"]))
    return one is not None and other is not None and are_alike(one, other)


def _swapped(pairs: list[Pair], before: Statistics, after: Statistics) -> Iterator[tuple[str, str]]:
    """Two kept columns of equal type, each with statistics of the other and not with its former."""
    moved = {
        pair.old: (old, new, pair.types[1])
        for pair in pairs
        if (old := measured(before, pair.old)) and (new := measured(after, pair.new))
        if not are_alike(old, new) and pair.types[0] == pair.types[1]
    }
    names = list(moved)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            old, new, kind = moved[one]
            other_old, other_new, other_kind = moved[other]
            if kind == other_kind and are_alike(old, other_new) and are_alike(other_old, new):
                yield one, other
