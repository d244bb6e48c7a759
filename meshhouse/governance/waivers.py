"""Which judged changes a run may publish, after waivers and confirmations.

Belongs here: matching waivers and confirmations with changes, consent, end dates. Not here: reading
`waivers.yml` (repository/waivers.py), judging a change (judgement.py), or waivers of policies
(policies/).

A waiver never changes a verdict or the smallest version step: it only lets a run publish. It covers
one publication: the next change of the same kind needs another waiver.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from meshhouse.governance.change import Change
from meshhouse.governance.contract import Contract
from meshhouse.heads import effective_publications
from meshhouse.repository.waivers import Confirmation, Waiver, Waivers

NOTHING: Mapping[Any, Any] = {}


@dataclass(frozen=True)
class Step:
    """What was compared: the published contract of a product, and its candidate."""

    product: str
    """`domain.model`."""
    version: int
    names: frozenset[str]
    """What waivers may call this version: `sales.orders`, `sales.orders.v2`, `sales.orders_v2`."""
    published: str
    """Hash of the published contract."""
    candidate: str
    """Hash of the candidate's contract; empty if the product was removed."""
    publication: int | None = None
    """Number of the current publication."""

    @property
    def name(self) -> str:
        """The shortest of the names, for commands and messages."""
        return min(self.names, key=lambda name: (len(name), name))

    @classmethod
    def of(cls, before: Contract, after: Contract | None, publication: int | None = None) -> Step:
        """The step from a published contract to a candidate's.

        Args:
            before: the published contract.
            after: the candidate's contract; None if the product was removed.
            publication: number of the current publication of the product.
        """
        name, version = before.product, before.version
        names = {f"{name}.v{version}", f"{name}_v{version}"}
        if version == int((after or before).get("latest_version", version)):
            names.add(name)
        return cls(
            name, version, frozenset(names), before.hash, after.hash if after else "", publication
        )


class Refusal(NamedTuple):
    """A change that a run must not publish."""

    change: Change
    because: str
    """What an existing waiver or confirmation lacks; empty if there is none."""


class Allowed(NamedTuple):
    """A change that may be published, and why."""

    change: Change
    by: Waiver | Confirmation


class AfterWaivers(NamedTuple):
    """What waivers and confirmations leave of a judgement."""

    refused: tuple[Refusal, ...]
    waived: tuple[Allowed, ...]
    """Also the changes that are confirmed."""
    expired: tuple[Waiver, ...]
    unused: tuple[Waiver | Confirmation, ...]
    """Those of this product that match no change: it is published, or was never made."""


def fingerprint(change: Change, step: Step) -> str:
    """Identifies one change of one candidate, for a confirmation.

    It covers both contracts, so a later edit of the candidate, or a later change of the same kind,
    asks again. If the contracts are equal, only rows changed: then it covers the publication that
    they were compared with. Otherwise new rows between a refused run and the next one would
    outdate every confirmation.
    """
    rows_only = step.published == step.candidate
    parts = [step.product, step.version, change.key, step.published, step.candidate]
    parts += [step.publication] if rows_only else []
    text = "\0".join(map(str, parts))
    # The letter keeps YAML from reading the digits as a number.
    return "c" + hashlib.sha256(text.encode()).hexdigest()[:12]


def record_of(by: Waiver | Confirmation) -> dict[str, Any]:
    """What a publication records of the waiver or confirmation that allowed a change."""
    record = {"place": by.place, "why": by.why, "owner": by.owner}
    return {**record, "until": by.until.isoformat()} if isinstance(by, Waiver) else record


def used_waivers(history: Iterable[Mapping[str, Any]]) -> dict[tuple[str, ...], int]:
    """The waivers that earlier publications used: what identifies one -> publication number.

    A publication that was rolled back does not count: its change is published once more under the
    same waiver.

    Args:
        history: the publications of one product, oldest first.
    """
    return {
        (change["change"], *(by[key] for key in ("why", "owner", "until"))): entry["number"]
        for entry in effective_publications(history)
        for change in entry.get("changes") or ()
        if (by := change.get("allowed_by")) and "until" in by
    }


def verdict_after(
    changes: Sequence[Change],
    waivers: Waivers,
    today: date,
    step: Step,
    used_before: Mapping[tuple[str, ...], int] = NOTHING,
) -> AfterWaivers:
    """Which changes of one product may be published.

    Args:
        changes: the judgement of the product.
        waivers: those of the provider's domain; others do not count.
        today: the day of the run, in UTC.
        step: what was compared.
        used_before: see `used_waivers`.
    """
    own = [each for each in waivers.waivers if each.change and each.product in step.names]
    confirmed = [each for each in waivers.confirmations if each.product in step.names]
    refused, waived, used = [], [], set()
    for change in changes:
        named = [each for each in (*own, *confirmed) if each.change == change.key]
        used.update(named)
        if not change.is_refused:
            continue
        lacks = {each: _lacks(change, each, today, step, used_before) for each in named}
        by = next((each for each, lack in lacks.items() if not lack), None)
        if by is not None:
            waived.append(Allowed(change, by))
        else:
            refused.append(Refusal(change, " ".join(dict.fromkeys(lacks.values()))))
    expired = tuple(each for each in own if each.until < today)
    unused = tuple(each for each in (*own, *confirmed) if each not in {*used, *expired})
    return AfterWaivers(tuple(refused), tuple(waived), expired, unused)


def _lacks(
    change: Change,
    by: Waiver | Confirmation,
    today: date,
    step: Step,
    used_before: Mapping[tuple[str, ...], int],
) -> str:
    """Why an entry does not allow a change; empty if it does."""
    place = by.place
    if isinstance(by, Confirmation):
        if not change.is_silent:
            return f"{place} confirms a change that needs a new version or a waiver."
        if by.fingerprint != fingerprint(change, step):
            return (
                f"The confirmation in {place} is for another change than this one: what is "
                "published or the candidate was different."
            )
        return ""
    if change.is_silent:
        return (
            f"{place} waives a silent change, which needs a confirmation: a waiver would also let "
            "later changes of the same kind pass until it ends."
        )
    if by.until < today:
        return f"The waiver in {place} ended on {by.until}."
    number = used_before.get((by.change, by.why, by.owner, by.until.isoformat()))
    if number is not None:
        return (
            f"The waiver in {place} was used by publication {number}; it does not cover a second "
            "change. Replace it with one that says why this change is acceptable."
        )
    if missing := missing_consent(change, by.consent):
        return f"The waiver in {place} lacks the consent of {', '.join(missing)}."
    return ""


def missing_consent(change: Change, consent: Iterable[str]) -> tuple[str, ...]:
    """Domains that a change would hit and that did not agree."""
    hit = {each.reader.partition(".")[0] for each in change.hits}
    return tuple(sorted(hit - set(consent)))
