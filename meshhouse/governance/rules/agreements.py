"""Chapter 13: agreements, between a provider and one consumer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meshhouse.governance.agreements import Agreement, agreements_of, is_active, of_consumer
from meshhouse.governance.change import Change, Hit, Verdict
from meshhouse.governance.comparison import Comparison, change

_REVOKED = "revoked"
_PERSONAL = "personal"


def ends(comparison: Comparison) -> Iterator[Change]:
    """G1: an agreement ends earlier."""
    for consumer, old, new in _kept(comparison):
        before, after = old.get("until"), new.get("until")
        is_earlier = after is not None and (before is None or str(after) < str(before))
        if is_earlier and not _is_revoked(new):
            yield change(
                "G1", consumer,
                f"The agreement with {consumer} ends on {after} instead of "
                f"{before or 'no date'}.",
                "Its reads are denied from then on.",
                Verdict.BREAKING, _of(comparison, consumer),
            )  # fmt: skip


def revoked(comparison: Comparison) -> Iterator[Change]:
    """G2: an agreement is revoked."""
    for consumer, old in agreements_of(comparison.before).items():
        new = _current(comparison).get(consumer)
        if comparison.after is None or not is_active(old, comparison.today):
            continue
        if _is_revoked(new):
            yield change(
                "G2", consumer, f"The agreement with {consumer} is revoked.",
                "Its next read is denied.", Verdict.MINOR, _of(comparison, consumer),
            )  # fmt: skip


def masked(comparison: Comparison) -> Iterator[Change]:
    """G3: a consumer no longer gets a column in clear."""
    for consumer, old, new in _kept(comparison):
        for column in _names(old, "clear") - _names(new, "clear"):
            hits = _of(comparison, consumer, column)
            yield change(
                "G3", f"{consumer}.{column}",
                f"{consumer} does not get `{column}` in clear any more.",
                "It gets masked values.", comparison.if_read(hits), hits,
            )  # fmt: skip


def purposes(comparison: Comparison) -> Iterator[Change]:
    """G4: the purpose is rewritten."""
    for consumer, old, new in _kept(comparison):
        before, after = (" ".join(str(each.get("purpose") or "").split()) for each in (old, new))
        if before.casefold() != after.casefold():
            is_signed = _is_signed(old, new)
            yield change(
                "G4", consumer,
                f"The purpose of {consumer} is `{after}` instead of `{before}`.",
                "Both sides signed it." if is_signed
                else "The people in the data agreed to another purpose; both sides must sign.",
                Verdict.MINOR if is_signed else Verdict.FORBIDDEN,
            )  # fmt: skip


def denied(comparison: Comparison) -> Iterator[Change]:
    """G5: a new column is not part of an agreement that lists its columns."""
    if comparison.after is None:
        return
    known = {name.lower() for name in comparison.before.columns}
    added = [name for name in comparison.after.columns if name.lower() not in known]
    for consumer, agreement in _current(comparison).items():
        for name in added:
            if agreement.get("columns") and name.lower() not in _names(agreement, "columns"):
                yield change(
                    "G5", f"{consumer}.{name}", f"{consumer} does not get the new column `{name}`.",
                    "Its agreement lists its columns.", Verdict.HARMLESS,
                )  # fmt: skip


def widened(comparison: Comparison) -> Iterator[Change]:
    """G6: an agreement reaches personal columns."""
    if comparison.after is None:
        return
    personal = {
        name.lower() for name, column in comparison.after.columns.items() if _is_personal(column)
    }
    for consumer, old, new in _kept(comparison):
        added = {
            column
            for key in ("columns", "clear")
            if old.get(key) is not None  # without a list it had all columns
            for column in (_names(new, key) - _names(old, key)) & personal
        }
        if new.get("columns") is None and old.get("columns") is not None:
            added |= personal - _names(old, "columns")
        is_marked = bool(new.get(_PERSONAL)) and not old.get(_PERSONAL)
        if (added or is_marked) and not _is_signed(old, new):
            texts = ", ".join(f"`{each}`" for each in sorted(added)) or "personal columns"
            yield change(
                "G6", consumer, f"The agreement with {consumer} reaches {texts}.",
                "People did not agree to it; the owner must approve.", Verdict.FORBIDDEN,
            )  # fmt: skip


def outside(comparison: Comparison) -> Iterator[Change]:
    """G7: the product reads what its own agreement with another provider does not grant."""
    grants = comparison.past.grants
    found = {
        (read["relation"], read["column"])
        for read in _reads(comparison)
        if read["relation"] in grants and not _is_granted(read, grants[read["relation"]])
    }
    for relation, column in sorted(found):
        yield change(
            "G7", f"{relation}.{column}",
            f"The product reads `{column}` of `{relation}`, which its agreement does not grant.",
            "The provider did not allow it: ask for a wider agreement.", Verdict.FORBIDDEN,
        )  # fmt: skip


def self_approved(comparison: Comparison) -> Iterator[Change]:
    """G8: one person asked for an agreement and approved it."""
    before = agreements_of(comparison.before)
    for consumer, new in _current(comparison).items():
        people = [str(new.get(each) or "").strip().lower() for each in ("requester", "approver")]
        if people[0] and people[0] == people[1] and new != before.get(consumer):
            yield change(
                "G8", consumer,
                f"{people[0]} asked for the agreement with {consumer} and approved it.",
                "Nobody else looked at it.", Verdict.FORBIDDEN,
            )  # fmt: skip


def pinned(comparison: Comparison) -> Iterator[Change]:
    """G9: an agreement is about a version that is retired."""
    before, after = comparison.before, comparison.after
    live = {int(each) for each in after.get("versions", (after.version,))} if after else set()
    agreements = agreements_of(after if after is not None else before)
    for consumer, agreement in agreements.items():
        version = agreement.get("version")
        if version is not None and int(version) not in live and not _is_revoked(agreement):
            yield change(
                "G9", consumer,
                f"The agreement with {consumer} is about version {version}, which is retired.",
                "It keeps a right to something that is gone: agree on another version.",
                Verdict.FORBIDDEN, _of(comparison, consumer),
            )  # fmt: skip


def republished(comparison: Comparison) -> Iterator[Change]:
    """G10: the product republishes personal columns of another provider."""
    if comparison.after is None:
        return
    own = {name.lower() for name in comparison.after.columns}
    for read in _reads(comparison):
        personal = _names(comparison.past.grants.get(read["relation"], {}), _PERSONAL)
        into = sorted({str(each).lower() for each in read.get("into", ())} & own)
        if read["column"] in personal and into and _is_of_product(comparison, read):
            yield change(
                "G10", into[0],
                f"`{into[0]}` republishes the personal column `{read['column']}` of "
                f"`{read['relation']}`.",
                "People agreed that the provider publishes it, not this product.",
                Verdict.FORBIDDEN,
            )  # fmt: skip


def dangling(comparison: Comparison) -> Iterator[Change]:
    """G11: the consumer's domain is gone or renamed."""
    domains = comparison.past.domains
    for consumer, agreement in _current(comparison).items():
        if domains and _domain(consumer) not in domains and not _is_revoked(agreement):
            yield change(
                "G11", consumer, f"The mesh has no domain `{_domain(consumer)}` any more.",
                "Its rights remain without an owner: move or revoke the agreement.",
                Verdict.FORBIDDEN,
            )  # fmt: skip


def _current(comparison: Comparison) -> dict[str, Agreement]:
    return agreements_of(comparison.after) if comparison.after is not None else {}


def _kept(
    comparison: Comparison,
) -> Iterator[tuple[str, Agreement, Agreement]]:
    after = _current(comparison)
    for consumer, old in agreements_of(comparison.before).items():
        if consumer in after:
            yield consumer, old, after[consumer]


def _names(agreement: Agreement, key: str) -> set[str]:
    value = agreement.get(key)
    return {str(each).lower() for each in value} if isinstance(value, list | tuple) else set()


def _is_revoked(agreement: Agreement | None) -> bool:
    return agreement is None or agreement.get("status") == _REVOKED


def _domain(consumer: str) -> str:
    return consumer.partition(" (")[0].partition(".")[0]


def _is_signed(old: Agreement, new: Agreement) -> bool:
    """Whether both sides signed the new text: on a later day than the old one."""
    return str(new.get("signed_on") or "") > str(old.get("signed_on") or "")


def _is_personal(column: Mapping[str, Any]) -> bool:
    found = column.get("classification")
    return _PERSONAL in ([found] if isinstance(found, str) else found or ())


def _of(comparison: Comparison, consumer: str, column: str | None = None) -> Sequence[Hit]:
    """Hits of one consumer's models; the consumer itself if none of its models is known."""
    name = consumer.partition(" (")[0]
    hits = comparison.readers.hits(column, of_consumer(name))
    found = [each for each in hits if _is_of(each, name)]
    return found or ([Hit(name, "*")] if column is None else [])


def _is_of(hit: Hit, consumer: str) -> bool:
    """Whether a hit is the consumer's; reads with unknown lineage are those of any reader."""
    return hit.reader == consumer or hit.reader.partition(".")[0] == consumer


def _reads(comparison: Comparison) -> Sequence[Mapping[str, Any]]:
    return comparison.after.get("reads", ()) if comparison.after is not None else ()


def _is_granted(read: Mapping[str, Any], grant: Agreement) -> bool:
    granted = _names(grant, "columns")
    # Unknown lineage is the provider's risk, so that it does not count as granted.
    return not grant.get("columns") or str(read["column"]).partition(".")[0] in {*granted, ""}


def _is_of_product(comparison: Comparison, read: Mapping[str, Any]) -> bool:
    reader = str(read.get("reader", "")).partition(".")[2]
    models = {str(comparison.before.document.get("model")), *comparison.before.get("models", {})}
    return reader in models


RULES = (
    ends, revoked, masked, purposes, denied, widened, outside, self_approved, pinned, republished,
    dangling,
)  # fmt: skip
