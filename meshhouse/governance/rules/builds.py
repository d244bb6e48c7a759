"""Chapter 9: code beside the SQL of models that decides their rows: hooks.

Belongs here: comparing hooks, and saying what older contracts do not keep. Not here: branches of
`is_incremental()`, whose SQL every rule looks at (../judgement.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from meshhouse.governance import growth
from meshhouse.governance.change import Change, Verdict, listed
from meshhouse.governance.comparison import Comparison, change, silent

Hook = Mapping[str, str]


def hooks(comparison: Comparison) -> Iterator[Change]:
    """M2: hooks are added, removed or changed."""
    after = comparison.after
    if after is None or not comparison.keeps_builds:
        return
    old, new = (each.get("hooks", {}) for each in (comparison.before, after))
    owners = sorted(each for each in {*old, *new} if old.get(each) != new.get(each))
    if not owners:
        return
    is_same = growth.is_same(comparison)
    texts = [text for each in owners for text in _difference(old.get(each), new.get(each))]
    yield silent(
        comparison, "M2", "",
        f"Hooks of {listed(owners)} differ: {'; '.join(texts)}.",
        "The values that were measured are equal." if is_same
        else "They run beside the model's SQL, and may change every figure.",
        Verdict.MINOR if is_same else Verdict.BREAKING,
    )  # fmt: skip


def not_kept(comparison: Comparison) -> Iterator[Change]:
    """M2: the published contract is older than the keys for hooks and later builds."""
    before, after = comparison.before, comparison.after
    if after is None or before.keeps_builds or not after.keeps_builds:
        return
    is_other_code = before.get("code") and before.get("code") != after.get("code")
    if is_other_code and (after.get("hooks") or after.get("later_builds")):
        yield change(
            "M2", "",
            "What is published was stored without hooks and without the SQL of later builds, so "
            "these are not compared this time.",
            "Look at them: they may change every figure.", Verdict.MINOR,
        )  # fmt: skip


def _difference(old: Sequence[Hook] | None, new: Sequence[Hook] | None) -> list[str]:
    before, after = ([str(each["sql"]) for each in hooks or ()] for hooks in (old, new))
    found = [f"new: `{_in_one_line(each)}`" for each in after if each not in before]
    found += [f"dropped: `{_in_one_line(each)}`" for each in before if each not in after]
    return found or ["they call other macros, or run at another time or in another order"]


def _in_one_line(sql: str) -> str:
    return " ".join(sql.split())


RULES = (hooks, not_kept)
