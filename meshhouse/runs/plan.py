"""Will this product be built, and why?

Belongs here: the answer, as one pure function over what is known of the products of a domain.
Not here: finding out what is known (domain_plan.py), or building (run.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from meshhouse.repository.code import scheme
from meshhouse.runs.history import rolled_back_publications, standing_publications

TO_COME = -1
"""Stands for the snapshot that an input will get earlier in the same run."""


class Decision(Enum):
    """What a run does about a product before anything is built."""

    BUILD = "build"
    UNCHANGED = "unchanged"
    WITHDRAWN = "held back"
    """It was rolled back, and no change since is known: publishing it would undo that."""


class Why(Enum):
    """Kinds of reasons for a decision, in the words that people read."""

    FORCED = "forced"
    NEVER_PUBLISHED = "never published"
    CODE = "code changed"
    OTHER_SCHEME = "code cannot be compared: another version of Meshhouse published it"
    INPUTS = "inputs moved"
    UNPROVABLE = "cannot be proved unchanged"
    TOGETHER = "built together with"
    """It is read by, or compared with, a product that is built or was asked for."""
    SAME = "code and inputs are those of the publication"
    PRODUCTION = "production keeps it up to date"
    ROLLED_BACK = "rolled back, and no change since is known"


@dataclass(frozen=True)
class Reason:
    """One reason for a decision."""

    why: Why
    names: tuple[str, ...] = ()
    """What exactly: files, relations, products; empty where that is not known."""

    def __str__(self) -> str:
        return f"{self.why.value}: {', '.join(self.names)}" if self.names else self.why.value


@dataclass(frozen=True)
class Verdict:
    """What a run does about one product, and why."""

    decision: Decision
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.reasons))


@dataclass(frozen=True)
class Basis:
    """What a product is made of: if neither part changes, the product does not.

    The code version covers the target too: engines round and sort differently.
    """

    code_version: str
    input_snapshots: Mapping[str, int | None]
    unprovable: str = ""
    """Why rows may change though neither part does, such as a read of the clock; or empty."""

    def is_of(self, entry: Mapping[str, Any]) -> bool:
        """Whether a publication was made from this."""
        return entry["code_version"] == self.code_version and not self.moved_since(entry)

    def may_be_of(self, entry: Mapping[str, Any]) -> bool:
        """Whether nothing proves that this differs from what a publication was made from.

        An upgrade may compute code versions in another way. Then only inputs are compared;
        otherwise every upgrade would undo rollbacks.
        """
        if scheme(entry["code_version"]) != scheme(self.code_version):
            return not self.moved_since(entry)
        return self.is_of(entry)

    def moved_since(self, entry: Mapping[str, Any]) -> tuple[str, ...]:
        """Inputs that differ from those of a publication, or that only one of the two has."""
        then, now = entry["input_snapshots"], self.input_snapshots
        return tuple(
            sorted(
                relation
                for relation in {*then, *now}
                if relation not in then or relation not in now or then[relation] != now[relation]
            )
        )


@dataclass(frozen=True)
class Facts:
    """What is known of one product of a domain before a run."""

    name: str
    basis: Basis
    history: Sequence[Mapping[str, Any]] = ()
    """Its ledger entries, oldest first."""
    is_inherited: bool = False
    """The entries are production's: the environment in use has never published it."""
    is_asked_for: bool = True
    """The run is about it; otherwise it only comes with a product that the run is about."""
    is_forced: bool = False
    changed_code: tuple[str, ...] = ()
    """What of its code differs from the current publication's, as far as that is known."""

    @property
    def standing(self) -> Mapping[str, Any] | None:
        """The publication that consumers see."""
        return next(reversed(standing_publications(self.history)), None)


def plan(
    products: Sequence[Facts],
    reads: Mapping[str, Collection[str]],
    own_inputs: Collection[str] = (),
) -> dict[str, Verdict]:
    """What a run does about each product of a domain, and why.

    A product is built because its code, inputs or history ask for it, or because a product that
    is built for such a reason reads it or is checked against it: what is published together is
    made from the same inputs.

    Args:
        products: what is known of each product in question.
        reads: product -> products of the domain that its SQL, tests or checks read.
        own_inputs: relations that the environment in use itself has.

    Returns:
        Name of each product -> decision and reasons.
    """
    own = {each.name: _own_reasons(each, own_inputs) for each in products}
    changed = {name: companions(reads, [name]) for name, reasons in own.items() if reasons}
    asked = {each.name: companions(reads, [each.name]) for each in products if each.is_asked_for}
    verdicts = {}
    for each in products:
        causes = changed if each.name not in changed else asked if each.name not in asked else {}
        others = tuple(name for name, reached in causes.items() if each.name in reached)
        reasons = [*own[each.name], *([Reason(Why.TOGETHER, others)] if others else [])]
        verdicts[each.name] = _verdict(each, reasons)
    return verdicts


def companions(reads: Mapping[str, Collection[str]], names: Iterable[str]) -> set[str]:
    """Products, those that they read, those that these read, and so on.

    A candidate is checked against what is published beside it: one that was built from newer
    events than its neighbours would be rejected for that alone.

    Args:
        reads: product -> products of the domain that its SQL, tests or checks read.
        names: of the products to start from.
    """
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        found |= waiting
        waiting = {other for name in waiting for other in reads.get(name, ())} - found
    return found


def _own_reasons(facts: Facts, own_inputs: Collection[str]) -> list[Reason]:
    """Why a product must be built for its own sake; empty if it need not.

    For a product not yet published in this environment, only a code change or a change of the
    environment's own inputs causes a build. Production keeps such a product up to date.
    """
    basis, standing = facts.basis, facts.standing
    if standing is not None and facts.is_inherited:
        then = standing["input_snapshots"]
        inputs = {
            relation: snapshot if relation in own_inputs else then.get(relation)
            for relation, snapshot in basis.input_snapshots.items()
        }
        # Production builds again what cannot be proved unchanged.
        basis = Basis(basis.code_version, inputs)
    if _decision(basis, facts) is not Decision.BUILD:
        return []
    found = [Reason(Why.FORCED)] if facts.is_forced else []
    if standing is None:
        return [*found, Reason(Why.NEVER_PUBLISHED)]
    if scheme(basis.code_version) != scheme(standing["code_version"]):
        found.append(Reason(Why.OTHER_SCHEME))
    elif basis.code_version != standing["code_version"]:
        found.append(Reason(Why.CODE, facts.changed_code))
    if moved := basis.moved_since(standing):
        found.append(Reason(Why.INPUTS, moved))
    if basis.unprovable:
        found.append(Reason(Why.UNPROVABLE, (basis.unprovable,)))
    return found


def _decision(basis: Basis, facts: Facts) -> Decision:
    """What follows from a product's own history, whatever happens to other products."""
    standing = facts.standing
    if facts.is_forced or standing is None:
        return Decision.BUILD
    if basis.is_of(standing) and not basis.unprovable:
        return Decision.UNCHANGED
    if any(basis.may_be_of(entry) for entry in rolled_back_publications(facts.history)):
        return Decision.WITHDRAWN
    return Decision.BUILD


def _verdict(facts: Facts, reasons: Sequence[Reason]) -> Verdict:
    decision = _decision(facts.basis, facts)
    if decision is Decision.WITHDRAWN:
        return Verdict(decision, (Reason(Why.ROLLED_BACK),))
    if decision is Decision.UNCHANGED:
        return Verdict(decision, (Reason(Why.SAME),))
    if not reasons:
        return Verdict(Decision.UNCHANGED, (Reason(Why.PRODUCTION),))
    return Verdict(decision, tuple(reasons))
