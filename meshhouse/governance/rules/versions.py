"""Chapter 8: versions, deprecation and retirement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta

from meshhouse.governance.agreements import agreements_of, is_active
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.contract import Contract
from meshhouse.governance.readers import Read

_ABOUT_PEOPLE = frozenset({*(f"C{number}" for number in range(1, 12)), "P5", "A4", "A8", "A10"})
_ABOUT_VERSIONS = frozenset(f"Y{number}" for number in range(1, 12))


def deprecation(comparison: Comparison) -> Iterator[Change]:
    """Y1, Y2, Y3: the date after which the version is retired."""
    if comparison.after is None or _is_other_version(comparison):
        return
    old, new = _retired_on(comparison.before), _retired_on(comparison.after)
    if old == new:
        return
    notice = comparison.notice_days
    hits = comparison.readers.whole(_reads_version(comparison.before))
    if new is None or (old is not None and new > old):
        is_now = f"on {new} instead of {old}" if new else f"not on {old}"
        yield change(
            "Y3", "deprecation_date", f"The version is retired {is_now}.",
            "Readers have more time.", Verdict.HARMLESS,
        )  # fmt: skip
    elif old is not None:
        yield change(
            "Y2", "deprecation_date", f"The version is retired on {new} instead of {old}.",
            "Readers have less time than they were promised.", Verdict.BREAKING, hits,
        )  # fmt: skip
    elif new < comparison.today + timedelta(days=notice):
        yield change(
            "Y2", "deprecation_date",
            f"The version is retired on {new}, in less than the {notice} days of notice.",
            "Readers have no time to move.", Verdict.BREAKING, hits,
        )  # fmt: skip
    else:
        yield change(
            "Y1", "deprecation_date", f"The version is deprecated and retired on {new}.",
            "Readers must move to another version until then.", Verdict.MINOR, hits,
        )  # fmt: skip


def retirement(comparison: Comparison) -> Iterator[Change]:
    """Y4, Y7: a version is removed before its date, or while it is read."""
    before = comparison.before
    if comparison.after is not None:
        return
    ends, name = _retired_on(before), before.relation
    hits = comparison.readers.whole(_reads_version(before))
    if ends is not None and comparison.today < ends:
        yield change(
            "Y7", "", f"`{name}` is removed before its date, {ends}.",
            "Queries fail earlier than was announced.", Verdict.FORBIDDEN, hits,
        )  # fmt: skip
        return
    agreed = [
        each
        for each, agreement in agreements_of(before).items()
        if is_active(agreement, comparison.today)
        and agreement.get("version") in (None, before.version)
    ]
    reads = comparison.past.reads_in_30_days
    if not (hits or agreed or reads):
        yield change(
            "Y4", "", f"`{name}` is removed.", "No model, agreement or recent read needs it.",
            Verdict.MINOR,
        )  # fmt: skip
        return
    used = [f"{len({each.reader for each in hits})} models read it"] if hits else []
    used += [f"agreements exist with {', '.join(f'`{each}`' for each in agreed)}"] if agreed else []
    used += [f"it was read {reads} times in the last 30 days"] if reads else []
    yield change(
        "Y4", "", f"`{name}` is removed although {', and '.join(used)}.", "Queries fail.",
        Verdict.FORBIDDEN, hits,
    )  # fmt: skip


def numbers(comparison: Comparison) -> Iterator[Change]:
    """Y5, Y8, Y11: the candidate is another version than the published one."""
    before, after = comparison.before, comparison.after
    if after is None:
        return
    if (
        after.get("prerelease")
        and not before.get("prerelease")
        and not _is_other_version(comparison)
    ):
        yield change(
            "Y11", "version", f"The released version {before.version} becomes a pre-release.",
            "All that it promised may change.", Verdict.FORBIDDEN, comparison.readers.whole(),
        )  # fmt: skip
    known_versions = {before.version, after.version, *before.get("versions", ())}
    for number in after.get("versions", ()) if before.get("versions") else ():
        if number not in known_versions:
            yield _beside(number, before.version)
    if after.version == before.version:
        return
    known = comparison.past.hashes.get(after.version)
    if after.version < before.version:
        yield change(
            "Y11", "version", f"The version is {after.version} instead of {before.version}.",
            "Tools take the older of two versions for the newer.", Verdict.FORBIDDEN,
        )  # fmt: skip
    elif known is not None and known != after.hash:
        yield change(
            "Y8", "version",
            f"Version {after.version} was published before with another contract.",
            "Readers and caches take the new contract for the old one.", Verdict.FORBIDDEN,
        )  # fmt: skip
    else:
        yield _beside(after.version, before.version)


def _beside(new: int, old: int) -> Change:
    what = f"Version {new} is added beside version {old}."
    return change("Y5", "version", what, "Readers can move when they like.", Verdict.MINOR)


def latest(comparison: Comparison) -> Iterator[Change]:
    """Y6, Y10: the name without a number shows another version, or none."""
    before, after = comparison.before, comparison.after
    if after is None:
        return
    old, new = before.get("latest_version"), after.get("latest_version")
    was, is_now = bool(before.get("versioned")), bool(after.get("versioned"))
    hits = comparison.readers.whole(_is_unpinned(before))
    if was and is_now and old is not None and old != new:
        yield change(
            "Y6", "latest_version", f"`{before.product}` shows version {new} instead of {old}.",
            "Readers without a pinned version get the other contract; they can pin "
            f"`v={old}` or move first.",
            comparison.if_read(hits), hits,
        )  # fmt: skip
    elif not was and is_now:
        is_shown = new in (None, after.version) and after.version == before.version
        yield change(
            "Y10", "version",
            f"`{before.product}` gets versions"
            + (f" and still shows version {after.version}." if is_shown else f" and shows {new}."),
            "Nothing changes for readers." if is_shown else "Readers get another contract.",
            Verdict.MINOR if is_shown else Verdict.BREAKING, () if is_shown else hits,
        )  # fmt: skip
    elif was and not is_now:
        pinned = comparison.readers.whole(lambda read: not _is_unpinned(before)(read))
        yield change(
            "Y10", "version", f"`{before.product}` loses its versions: `{before.relation}` ends.",
            "Queries that pin a version fail.", Verdict.BREAKING, pinned,
        )  # fmt: skip


def enforcement(comparison: Comparison) -> Iterator[Change]:
    """Y9: the shape is no longer enforced."""
    after = comparison.after
    if after is not None and comparison.before.get("enforced") and not after.get("enforced"):
        yield change(
            "Y9", "enforced", "The contract is no longer enforced.",
            "A build with other columns or types is published.", Verdict.BREAKING,
            comparison.readers.whole(),
        )  # fmt: skip


def as_agreed(comparison: Comparison, each: Change) -> Change:
    """The verdict on a change for readers who agreed to it.

    Y12: readers of a pre-release agreed to any change, but the people in its data did not. A change
    between one version and a later one beside it reaches only readers who move.
    """
    after = comparison.after
    if comparison.before.get("prerelease") and each.row not in _ABOUT_PEOPLE:
        what = f"Within a pre-release: {each.what}"
        return change("Y12", each.key, what, each.effect, Verdict.HARMLESS, each.hits)
    is_beside = after is not None and after.version > comparison.before.version
    if is_beside and each.row not in _ABOUT_VERSIONS and each.verdict is Verdict.BREAKING:
        effect = f"{each.effect} Only readers who move to version {after.version} meet it."
        return replace(each, effect=effect, verdict=Verdict.MINOR, hits=())
    return each


def _retired_on(contract: Contract) -> date | None:
    value = contract.get("deprecation_date")
    return date.fromisoformat(str(value)[:10]) if value else None


def _is_other_version(comparison: Comparison) -> bool:
    after = comparison.after
    return after is not None and after.version != comparison.before.version


def _is_unpinned(before: Contract) -> Callable[[Read], bool]:
    """Which reads name the product without a version."""
    return lambda read: read.relation.lower() == before.product.lower()


def _reads_version(before: Contract) -> Callable[[Read], bool]:
    """Which reads get this version."""
    is_latest = before.get("latest_version", before.version) == before.version
    is_unpinned = _is_unpinned(before)
    return lambda read: is_latest or not is_unpinned(read)


RULES = (deprecation, retirement, numbers, latest, enforcement)
