"""One judged change of a product, with the readers that it would hit.

Belongs here: verdicts, the smallest version step that each allows, and lists of names in messages.
Not here: the rules that find changes (rules/), or the list of all kinds of change
(docs/explanation/changes.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Verdict(IntEnum):
    """What a change means for consumers; a higher number is worse."""

    HARMLESS = 0
    """Nobody needs to know."""
    MINOR = 1
    """Allowed within the version, and listed."""
    BREAKING = 2
    """Needs a new version beside the old one, or a waiver to which every hit consumer consents."""
    FORBIDDEN = 3
    """Needs a waiver with owner, reason and end date. A new version alone does not cure it."""

    def __str__(self) -> str:
        return self.name.lower()


class Bump(IntEnum):
    """The smallest version step that a change allows."""

    NONE = 0
    MINOR = 1
    """The same version with other content."""
    MAJOR = 2
    """A new version of the dbt model."""

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, order=True)
class Hit:
    """A reader that a change would hit."""

    reader: str
    """`domain.model` of the reading model."""
    column: str
    """The reader's column that would change; `*` if every row would, `?` if lineage is unknown."""
    owner: str = ""

    def __str__(self) -> str:
        return f"{self.reader}.{self.column}"


@dataclass(frozen=True)
class Change:
    """One change of a product, judged."""

    row: str
    """The kind of change: its number in docs/explanation/changes.md, such as `S1`."""
    subject: str
    """What changed: a column, a check, a promise; empty for the product as a whole."""
    what: str
    """The change in one sentence, with the old and the new value."""
    effect: str
    """What it does to readers, in one sentence."""
    verdict: Verdict
    hits: tuple[Hit, ...] = ()
    is_silent: bool = False
    """Only the meaning of values changes, not the schema: a recorded confirmation is enough, and no
    new version is needed."""

    @property
    def key(self) -> str:
        """Names the change in waivers and confirmations: `S1:amount`."""
        return f"{self.row}:{self.subject}" if self.subject else self.row

    @property
    def bump(self) -> Bump:
        """The smallest version step that the change allows."""
        if self.verdict >= Verdict.BREAKING:
            return Bump.MINOR if self.is_silent else Bump.MAJOR
        return Bump(int(self.verdict))

    @property
    def is_refused(self) -> bool:
        """Whether a run refuses to publish it without a new version, waiver or confirmation."""
        return self.verdict >= Verdict.BREAKING


def worst(changes: Iterable[Change]) -> Verdict:
    """The worst verdict; harmless if nothing changed."""
    return max((each.verdict for each in changes), default=Verdict.HARMLESS)


def smallest_bump(changes: Iterable[Change]) -> Bump:
    """The smallest version step that all these changes allow together."""
    return max((each.bump for each in changes), default=Bump.NONE)


def listed(names: Iterable[object]) -> str:
    """Names as a message shows them: each in backticks; `nothing` without backticks for none."""
    return ", ".join(f"`{each}`" for each in names) or "nothing"
