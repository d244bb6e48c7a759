"""Chapter 8: who may read a product, for what, by which ways, and which rows and values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from meshhouse.governance.agreements import (
    Agreement,
    agreements_of,
    has_ended,
    is_active,
    is_approved,
    of_consumer,
)
from meshhouse.governance.change import Change, Hit, Verdict, listed
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.contract import Contract
from meshhouse.governance.predicates import is_implied
from meshhouse.repository.classes import is_personal

_OPEN = ("private", "protected", "public")
"""dbt's levels of access, from the narrowest."""


def level(comparison: Comparison) -> Iterator[Change]:
    """A1: other domains can no longer read the product."""
    if comparison.after is None:
        return
    old, new = (str(each.get("access", "public")) for each in (comparison.before, comparison.after))
    if old != new and (new not in _OPEN or _OPEN.index(new) < _OPEN.index("public")):
        yield change(
            "A1", "access", f"The access is `{new}` instead of `{old}`.",
            "Models of other domains can no longer read the product.", Verdict.BREAKING,
            comparison.readers.whole(),
        )  # fmt: skip


def removed_readers(comparison: Comparison) -> Iterator[Change]:
    """A2, A6: a role, a consumer or a grant is removed."""
    before, after = comparison.before, comparison.after
    if after is None:
        return
    for role in sorted(_names(before.get("roles")) - _names(after.get("roles"))):
        yield change(
            "A2", f"roles.{role}", f"The role `{role}` is removed.",
            "People and tools with this role can no longer read the product.", Verdict.BREAKING,
        )  # fmt: skip
    kept = agreements_of(after)
    for name, old in agreements_of(before).items():
        if name not in kept and is_active(old, comparison.today):
            yield change(
                "A2", f"agreements.{name}", f"The agreement with `{name}` is removed.",
                "This consumer can no longer read the product.", Verdict.BREAKING,
                _hits(comparison, old),
            )  # fmt: skip
    old_grants, new_grants = before.get("grants", {}), after.get("grants", {})
    for privilege in sorted({*old_grants, *new_grants}):
        old, new = _names(old_grants.get(privilege)), _names(new_grants.get(privilege))
        yield from _grants(privilege, old, new)


def _grants(privilege: str, old: set[str], new: set[str]) -> Iterator[Change]:
    subject = f"grants.{privilege}"
    if gone := old - new:
        yield change(
            "A6", subject, f"The grant of {privilege} to {listed(sorted(gone))} is removed.",
            "These roles can no longer read the table in the warehouse.", Verdict.BREAKING,
        )  # fmt: skip
    elif added := new - old:
        yield change(
            "A6", subject, f"The privilege {privilege} is granted to {listed(sorted(added))}.",
            "These roles read the table without an agreement.", Verdict.MINOR,
        )  # fmt: skip


def terms(comparison: Comparison) -> Iterator[Change]:
    """A3, A4, A5: the purposes that are allowed, or who approves requests."""
    before, after = comparison.before, comparison.after
    if after is None:
        return
    old, new = (_allowed(each) for each in (before, after))
    if new is not None and (old is None or old - new):
        yield _narrowed(comparison, old, new)
    if old is not None and (new is None or new - old):
        added = f"also for {listed(sorted(new - old))}" if new is not None else "for any purpose"
        is_about_people = any(map(is_personal, after.columns.values()))
        yield change(
            "A4", "terms.purposes", f"The product may be used {added}.",
            "People accepted other purposes." if is_about_people else "More uses are possible.",
            Verdict.FORBIDDEN if is_about_people else Verdict.MINOR,
        )  # fmt: skip
    approvers = [each.get("terms.approver") for each in (before, after)]
    if approvers[0] and approvers[0] != approvers[1]:
        now = f"`{approvers[1]}`" if approvers[1] else "not named"
        yield change(
            "A5", "terms.approver", f"The approver is {now} instead of `{approvers[0]}`.",
            "Requests for access go elsewhere.", Verdict.MINOR,
        )  # fmt: skip


def _narrowed(comparison: Comparison, old: set[str] | None, new: set[str]) -> Change:
    outside = [
        each
        for each in agreements_of(comparison.before).values()
        if is_active(each, comparison.today)
        and each.get("purpose")
        and str(each["purpose"]) not in new
        and (old is None or str(each["purpose"]) in old)
    ]
    hits = sorted({hit for each in outside for hit in _hits(comparison, each)})
    gone = (
        f"no longer for {listed(sorted(old - new))}"
        if old is not None
        else f"only for {listed(sorted(new))}"
    )
    return change(
        "A3", "terms.purposes", f"The product may be used {gone}.",
        f"Agreements with {listed(sorted(str(each['consumer']) for each in outside))} have another "
        "purpose." if outside else "The purposes of all agreements stay allowed.",
        Verdict.BREAKING if outside else Verdict.MINOR, hits,
    )  # fmt: skip


def _allowed(contract: Contract) -> set[str] | None:
    """The purposes that the terms allow; None if they allow any."""
    found = contract.get("terms.purposes")
    return set(map(str, found)) if found else None


def rows_and_values(comparison: Comparison) -> Iterator[Change]:
    """A7, A8, A10: a consumer sees fewer rows, more rows, or a masked column in clear."""
    before, after = comparison.before, comparison.after
    if after is None:
        return
    olds = agreements_of(before)
    for name, new in agreements_of(after).items():
        if has_ended(new, comparison.today):
            continue
        old = olds.get(name)
        if old is not None:
            yield from _row_filter(comparison, name, old, new)
        yield from _in_clear(after, name, old or {}, new)


def _row_filter(
    comparison: Comparison, name: str, old: Agreement, new: Agreement
) -> Iterator[Change]:
    before, after = (str(each.get("row_filter") or "") for each in (old, new))
    if is_implied(before, after) and is_implied(after, before):
        return
    what = f"The row filter for `{name}` is {_or_none(after)} instead of {_or_none(before)}."
    subject = f"agreements.{name}.row_filter"
    if is_implied(after, before):
        yield change(
            "A7", subject, what, "This consumer silently gets fewer rows.", Verdict.BREAKING,
            _hits(comparison, new),
        )  # fmt: skip
    else:
        yield change(
            "A8", subject, what, "This consumer can see rows that were hidden from it.",
            Verdict.FORBIDDEN,
        )  # fmt: skip


def _in_clear(after: Contract, name: str, old: Agreement, new: Agreement) -> Iterator[Change]:
    columns = {each.lower(): column for each, column in after.columns.items()}
    had = {str(each).lower() for each in old.get("clear") or ()}
    for column in sorted({str(each).lower() for each in new.get("clear") or ()} - had):
        declared = columns.get(column, {})
        if not declared.get("mask") and not is_personal(declared):
            continue
        approved = is_approved(new)
        # An agreement that is new and approved is the ordinary way to a clear value.
        if approved and not old:
            continue
        by = f"`{new.get('approver')}` approved it." if approved else "Nobody else approved it."
        yield change(
            "A10", f"agreements.{name}.clear.{column}",
            f"Consumer `{name}` gets column `{column}` in clear.",
            f"It reads values of people that were masked. {by}",
            Verdict.MINOR if approved else Verdict.FORBIDDEN,
        )  # fmt: skip


def ports(comparison: Comparison) -> Iterator[Change]:
    """A9: a way to read the product is removed."""
    if comparison.after is None:
        return
    old, new = (_names(each.get("ports")) for each in (comparison.before, comparison.after))
    for port in sorted(old - new):
        yield change(
            "A9", f"ports.{port}", f"The output port `{port}` is removed.",
            "Its readers get nothing.", Verdict.BREAKING,
        )  # fmt: skip


def _names(items: Iterable[Any] | None) -> set[str]:
    if isinstance(items, str):
        return {items}
    return {str(each["name"] if isinstance(each, Mapping) else each) for each in items or ()}


def _or_none(text: str) -> str:
    return f"`{text}`" if text else "empty"


def _hits(comparison: Comparison, agreement: Agreement) -> tuple[Hit, ...]:
    return comparison.readers.whole(of_consumer(str(agreement["consumer"])))


RULES = (level, removed_readers, terms, rows_and_values, ports)
