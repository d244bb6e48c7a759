"""What importing the history of an engine's queries needs and returns.

Belongs here: the types that the importers of all engines share. Not here: one engine's history
(snowflake/history.py, spark/event_log.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from meshhouse.repository import Product
from meshhouse.usage.shares import divided


@dataclass(frozen=True)
class Imported:
    """What an import has added."""

    added: int
    noun: str
    """What was counted, such as `query`."""
    nouns: str
    notes: tuple[str, ...] = ()
    """What people must know, as sentences."""
    is_whole: bool = True
    """Whether everything could be read."""


@dataclass(frozen=True)
class Known:
    """The products whose reads are kept."""

    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Every name of a product, in lower case -> column in lower case -> its name."""
    domains: frozenset[str] = frozenset()
    """The declared domains."""

    @classmethod
    def of(cls, products: Iterable[Product], domains: Iterable[str]) -> Known:
        """Takes what is declared."""
        return cls(
            {
                name.lower(): {column.name.lower(): column.name for column in each.columns}
                for each in products
                for name in each.relations
            },
            frozenset(domains),
        )

    def names(self, product: str, columns: Iterable[str]) -> tuple[str, ...]:
        """Columns of a product as they are declared, sorted."""
        declared = self.columns[product]
        return tuple(sorted({declared.get(each.lower(), each.lower()) for each in columns}))


def shared(total: int | None, products: Iterable[str]) -> dict[str, int | None]:
    """An amount of one query in equal shares for the products that it reads."""
    names = sorted(products)
    if total is None:
        return dict.fromkeys(names)
    return {**divided(total, dict.fromkeys(names, 1))}
