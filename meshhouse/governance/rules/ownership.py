"""Chapters 5, 6 and 8: whom to ask, when, and where; and known bad data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from meshhouse.governance.change import Change, Verdict, listed
from meshhouse.governance.comparison import Comparison, change
from meshhouse.governance.contract import Contract

_ADDRESS = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
_PARTS = ("group", "name", "email")


def owner(comparison: Comparison) -> Iterator[Change]:
    """O1, O2: another owner, or nobody to ask."""
    before, after = comparison.before, comparison.after
    if after is None:
        return
    olds, news = (_parts(each) for each in (before, after))
    had_address = any(map(_ADDRESS.match, olds["email"]))
    if any(olds.values()) and not any(news.values()):
        yield change(
            "O2", "owner", f"The owner {before.owner} is removed.",
            "Readers have nobody to ask.", Verdict.FORBIDDEN,
        )  # fmt: skip
    elif had_address and not any(map(_ADDRESS.match, news["email"])):
        yield change(
            "O2", "owner", f"The owner has no valid mail address instead of "
            f"{listed(sorted(olds['email']))}.", "Readers cannot reach the owner.",
            Verdict.FORBIDDEN,
        )  # fmt: skip
    elif any(not olds[part] <= news[part] for part in _PARTS):
        gone = [f"{listed(sorted(news[part]))} instead of {listed(sorted(olds[part]))}"
                for part in _PARTS if not olds[part] <= news[part]]  # fmt: skip
        yield change(
            "O1", "owner", f"The owner is {', '.join(gone)}.",
            "Readers ask a different team.", Verdict.MINOR,
        )  # fmt: skip


def support(comparison: Comparison) -> Iterator[Change]:
    """O3, P15: a channel for questions is removed, or its hours are cut."""
    before, after = comparison.before, comparison.after
    if after is None:
        return
    gone = _texts(before.get("support.channel")) - _texts(after.get("support.channel"))
    if gone:
        yield change(
            "O3", "support.channel", f"The support channel {listed(sorted(gone))} is removed.",
            "Readers ask elsewhere.", Verdict.MINOR,
        )  # fmt: skip
        return
    old, new = before.get("support.hours"), after.get("support.hours")
    if old is not None and old != new and not _is_longer(old, new):
        yield change(
            "P15", "support.hours", f"The support hours are `{new or 'none'}` instead of `{old}`.",
            "Readers wait longer for help.", Verdict.MINOR,
        )  # fmt: skip


def _is_longer(old: Any, new: Any) -> bool:
    """Whether hours are more than before; hours in words are not compared."""
    return isinstance(old, int | float) and isinstance(new, int | float) and new > old


def moved(comparison: Comparison) -> Iterator[Change]:
    """O4: the product moves to another domain."""
    before, after = comparison.before, comparison.after
    if after is None or before.product.partition(".")[0] == after.product.partition(".")[0]:
        return
    has_alias = before.product in _texts(after.get("renamed_from"))
    yield change(
        "O4", "product", f"`{before.product}` moves to `{after.product}`.",
        f"`{before.product}` shows the same rows for {comparison.notice_days} days."
        if has_alias else "Queries and agreements with the old name fail.",
        Verdict.MINOR if has_alias else Verdict.BREAKING, comparison.readers.whole(),
    )  # fmt: skip


def known_failures(comparison: Comparison) -> Iterator[Change]:
    """V16: a waiver lets the candidate be published although a check fails."""
    if comparison.after is None:
        return
    known = [_waived(each) for each in comparison.before.get("waivers", ())]
    for waiver in comparison.after.get("waivers", ()):
        check = comparison.after.checks.get(_waived(waiver))
        if check is None or _waived(waiver) in known:
            continue
        until = f" until {waiver['until']}" if waiver.get("until") else ""
        yield change(
            "V16", str(check["id"]),
            f"A waiver lets check `{check.get('name') or check['id']}` fail{until}.",
            f"Readers get data that is known to be bad: {waiver.get('why', 'without a reason')}.",
            Verdict.MINOR,
        )  # fmt: skip


def _waived(waiver: Any) -> str:
    return str(waiver.get("check") or waiver.get("what") or "").removeprefix("check:")


def _parts(contract: Contract) -> dict[str, set[str]]:
    declared = contract.get("owner", {})
    return {part: _texts(declared.get(part)) for part in _PARTS}


def _texts(value: Any) -> set[str]:
    """A text, or a list of texts, as a set."""
    if value in (None, ""):
        return set()
    return {str(each) for each in ([value] if isinstance(value, str) else value)}


RULES = (owner, support, moved, known_failures)
