"""What a rule may look at: two contracts, statistics of both, readers, and the product's past.

Belongs here: the one argument of every rule, and what rules share. Not here: the rules (rules/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any

from meshhouse.governance.alignment import Alignment, align
from meshhouse.governance.change import Change, Hit, Verdict
from meshhouse.governance.contract import Contract
from meshhouse.governance.readers import Readers

NOTICE_DAYS = 30
"""The notice that consumers get before a version is retired, unless a policy says otherwise."""


@dataclass(frozen=True)
class Past:
    """What the ledger knows of a product's past."""

    names: frozenset[str] = frozenset()
    """Every column name that was ever published, in lower case."""
    hashes: Mapping[int, str] = field(default_factory=dict)
    """Version -> hash of the contract that it was published with last, of retired versions too."""
    null_shares: Mapping[str, float] = field(default_factory=dict)
    """Column -> the largest share of nulls in the last 30 publications, from 0 to 1."""
    broken_promises: Mapping[str, int] = field(default_factory=dict)
    """Promise -> how often the last 30 days broke it; missing if it was never measured."""
    reads_in_30_days: int = 0
    landing: Mapping[str, Any] = field(default_factory=dict)
    """Per topic: `worst_lag_hours`, `rejected_percent`, `partitions`, `delay_seconds` (the median
    landing delay of each of the last publications, oldest first), and `offsets` and `rows` (events
    since the last publication, and the rows that landed from them, rejected ones included)."""
    drift: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Column -> its mean in each of the last publications, the candidate's last, oldest first."""
    grants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Relation that the product reads -> what its provider granted: `columns` (none: all of them)
    and `personal`, the personal ones among the provider's columns."""
    domains: frozenset[str] = frozenset()
    """The domains of the mesh; empty if they are not known."""


@dataclass(frozen=True)
class Comparison:
    """A published product beside its candidate."""

    before: Contract
    after: Contract | None
    """None if the product is no longer declared."""
    readers: Readers = field(default_factory=Readers)
    before_statistics: Mapping[str, Any] | None = None
    """See statistics.py; None if nothing was measured."""
    after_statistics: Mapping[str, Any] | None = None
    past: Past = field(default_factory=Past)
    today: date = field(default_factory=date.today)
    notice_days: int = NOTICE_DAYS
    is_same_code: bool = False
    """Whether both contracts have the same code, seeds and topics, so that only events made the
    rows differ. Unknown counts as different."""

    @cached_property
    def columns(self) -> Alignment:
        """The columns of both contracts beside each other; empty if the product is removed."""
        return align(self.before, self.after, self.before_statistics, self.after_statistics)

    @property
    def keeps_builds(self) -> bool:
        """Whether both contracts keep hooks, branches for later builds, and macros of tests.

        Publications of before `contract.FORMAT` 2 do not, and nothing can be compared with them.
        """
        return self.before.keeps_builds and self.after is not None and self.after.keeps_builds

    @property
    def of_later_builds(self) -> Comparison | None:
        """The comparison of what later builds run, without statistics.

        Statistics say nothing about it: the next rows are not there yet.

        Returns:
            None if later builds of both contracts run what the first ones run, or did not change.
        """
        if not self.keeps_builds or self.after is None:
            return None
        pair = self.before, self.after
        before, after = (each.of_later_builds for each in pair)
        olds, news = ([each.get("models") for each in both] for both in (pair, (before, after)))
        if news == olds or news[0] == news[1]:
            return None
        return replace(
            self, before=before, after=after, before_statistics=None, after_statistics=None
        )

    def if_read(self, hits: Sequence[Hit], otherwise: Verdict = Verdict.MINOR) -> Verdict:
        """Breaking if the change hits a reader; a lower verdict if it hits none."""
        return Verdict.BREAKING if hits else otherwise


def change(
    row: str,
    subject: str,
    what: str,
    effect: str,
    verdict: Verdict,
    hits: Sequence[Hit] = (),
    is_silent: bool = False,
) -> Change:
    """A change; see `Change` for the arguments."""
    return Change(row, subject, what, effect, verdict, tuple(hits), is_silent)


def silent(
    comparison: Comparison, row: str, subject: str, what: str, effect: str, verdict: Verdict
) -> Change:
    """A silent change of a column, or of all rows if there is no subject; it hits their readers."""
    hits = comparison.readers.hits(subject or None)
    return change(row, subject, what, effect, verdict, hits, is_silent=True)
