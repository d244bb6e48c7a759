"""What a declared type is: its kind and, of a nested type, its parts.

Belongs here: the facts and their canonical spelling. Not here: reading a spelling (types.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

KEY_KINDS = ("string", "bigint", "integer")
"""Types that the keys of a map may have on every target."""
DEEPEST = 20
"""Levels of a nested type. Deeper types are mistakes, and would exhaust Python's stack."""


@dataclass(frozen=True)
class Part:
    """A field of a struct, the element of an array, or the key or value of a map."""

    name: str
    """Of a field, its name; otherwise `element`, `key` or `value`."""
    type: DataType
    required: bool = False
    """Whether an event without a value is rejected."""


@dataclass(frozen=True)
class DataType:
    """A declared type: its kind, for a decimal precision and scale, and the parts of a nested."""

    kind: str
    precision: int = 0
    scale: int = 0
    parts: tuple[Part, ...] = ()

    def __str__(self) -> str:
        """The canonical spelling, also Spark's: `struct<id bigint, tags array<string>>`."""
        if self.kind == "decimal":
            return f"decimal({self.precision},{self.scale})"
        if not self.parts:
            return self.kind
        return f"{self.kind}<{', '.join(self._text(part) for part in self.parts)}>"

    def _text(self, part: Part) -> str:
        name = ""
        if self.kind == "struct":
            name = f"{part.name} " if _PLAIN.fullmatch(part.name) else f"`{part.name}` "
        return f"{name}{part.type}{' not null' if part.required else ''}"

    @property
    def is_nested(self) -> bool:
        """Whether it is a struct, an array or a map."""
        return bool(self.parts)

    @property
    def levels(self) -> int:
        """1 for a type without parts."""
        return 1 + max((part.type.levels for part in self.parts), default=0)

    @property
    def leaves(self) -> frozenset[str]:
        """The kinds of the values at the ends of all levels."""
        if not self.parts:
            return frozenset({self.kind})
        return frozenset().union(*(part.type.leaves for part in self.parts))

    def as_held(self) -> DataType:
        """The type without `not null`, which events must follow but which tables do not store."""
        if not self.parts:
            return self
        parts = tuple(Part(part.name, part.type.as_held()) for part in self.parts)
        return DataType(self.kind, parts=parts)


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
