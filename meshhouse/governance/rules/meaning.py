"""Chapter 9: what declarations say of meaning, and codes and labels.

Not here: figures (figures.py).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

from meshhouse.governance import growth
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison, change, silent

_NEAR = 0.05
"""How far shares of labels may differ: new rows move them a little."""
_SHARE = 0.2
"""Share of rows whose values vanish from which on a code list counts as another one."""
_WORDS = re.compile(
    r"\d+(?:[.,]\d+)*|[%$€£¥]|\b(?:not|no|never|none|without|except|excluding|excludes?|incl|excl"
    r"|including|includes?|only|net|gross|before|after|per|cents?|thousands?|millions?|billions?"
    r"|percent|usd|eur|gbp|chf|jpy|dollars?|euros?|pounds?|kg|g|lbs?|km|miles?|meters?|metres?"
    r"|hours?|minutes?|seconds?|days?|weeks?|months?|years?|utc|local)\b"
)
"""Words of a description that may change what a value means."""


def code_lists(comparison: Comparison) -> Iterator[Change]:
    """M5: codes are those of another list or release."""
    after = comparison.after
    if after is None:
        return
    measured = growth.columns(comparison)
    for name, column in comparison.before.columns.items():
        old, new = column.get("code_list"), after.columns.get(name, {}).get("code_list")
        if not old or name not in after.columns:
            continue
        if old != new:
            what = f"The code list of `{name}` is {f'`{new}`' if new else 'not stated'}"
            what += f" instead of `{old}`."
        elif name in measured and _vanished(*measured[name]) >= _SHARE:
            share = _vanished(*measured[name])
            what = f"Codes of {share:.0%} of the rows vanished from `{name}` (`{old}`)."
        else:
            continue
        yield silent(
            comparison, "M5", name, what, "Groups and filters on codes find other rows.",
            Verdict.BREAKING,
        )  # fmt: skip


def languages(comparison: Comparison) -> Iterator[Change]:
    """M7: the labels of a column are in another language, each as common as before."""
    for name, (before, after) in growth.columns(comparison).items():
        old, new = before.get("top"), after.get("top")
        if not old or not new or len(old) < 2 or len(old) != len(new):
            continue
        if not all(_is_label(value) for value, _ in (*old, *new)):
            continue
        is_disjoint = not {value for value, _ in old} & {value for value, _ in new}
        if is_disjoint and _are_as_common(old, new):
            hits = comparison.readers.hits(name, lambda read: bool(read.literals))
            yield change(
                "M7", name,
                f"The labels of `{name}` are others, such as `{new[0][0]}` instead of "
                f"`{old[0][0]}`, and as common as before.",
                "Filters on a label find nothing.",
                comparison.if_read(hits), hits, is_silent=True,
            )  # fmt: skip


def descriptions(comparison: Comparison) -> Iterator[Change]:
    """M8: a description is removed; M9: a new text has other numbers, units or negations."""
    after = comparison.after
    if after is None:
        return
    texts = [("", comparison.before.document, after.document)] + [
        (name, column, after.columns[name])
        for name, column in comparison.before.columns.items()
        if name in after.columns
    ]
    for name, column, other in texts:
        old, new = (str(each.get("description") or "").strip() for each in (column, other))
        subject = f"`{name}`" if name else "the product"
        if old and not new:
            yield silent(
                comparison, "M8", name, f"The description of {subject} is removed.",
                "Readers do not know any more what it means.", Verdict.MINOR,
            )  # fmt: skip
        changed = _changed_words(old, new)
        if new and changed:
            yield silent(
                comparison, "M9", name,
                f"The description of {subject} changes in {', '.join(changed)}: `{old}` is now "
                f"`{new}`.",
                "Confirm that it means the same.", Verdict.MINOR,
            )  # fmt: skip


def terms(comparison: Comparison) -> Iterator[Change]:
    """M10: a column is linked to another term of the glossary."""
    for name, column in comparison.before.columns.items():
        other = comparison.after.columns.get(name) if comparison.after is not None else None
        old = column.get("term")
        if other is not None and old and old != other.get("term"):
            new = other.get("term")
            yield silent(
                comparison, "M10", name,
                f"`{name}` is linked to {f'the term `{new}`' if new else 'no term'} instead of "
                f"`{old}`.",
                "Search and assistants find something else.", Verdict.MINOR,
            )  # fmt: skip


def metrics(comparison: Comparison) -> Iterator[Change]:
    """M11: a metric is defined otherwise, or removed."""
    if comparison.after is None:
        return
    after = comparison.after.get("metrics", {})
    for name, definition in comparison.before.get("metrics", {}).items():
        if _definition(definition) != _definition(after.get(name)):
            yield change(
                "M11", name,
                f"The metric `{name}` is defined otherwise." if name in after
                else f"The metric `{name}` is removed.",
                "Dashboards show other figures under the same name.",
                Verdict.BREAKING, is_silent=True,
            )  # fmt: skip


def _vanished(before: growth.Column, after: growth.Column) -> float:
    """The share of rows whose values are not among the later ones; 0 if all or none are."""
    old, new = before.get("top"), after.get("top")
    if not old or not new:
        return 0
    kept = {value for value, _ in new}
    gone = sum(count for value, count in old if value not in kept)
    return gone / sum(count for _, count in old)


def _is_label(value: object) -> bool:
    """Whether a value is a word, and not a code."""
    text = str(value)
    return len(text) > 3 and any(each.isalpha() for each in text) and not text.isupper()


def _are_as_common(old: list[list[object]], new: list[list[object]]) -> bool:
    shares = []
    for top in (old, new):
        counts = sorted((int(str(count)) for _, count in top), reverse=True)
        shares.append([count / sum(counts) for count in counts])
    return all(abs(one - other) <= _NEAR for one, other in zip(*shares, strict=True))


def _changed_words(old: str, new: str) -> list[str]:
    before, after = (Counter(_WORDS.findall(each.casefold())) for each in (old, new))
    if not old:
        return []
    return sorted({f"`{each}`" for each in (before - after) + (after - before)})


def _definition(definition: object) -> str:
    return " ".join(json.dumps(definition, sort_keys=True, default=str).split())


RULES = (code_lists, languages, descriptions, terms, metrics)
