"""Chapter 12: the topics that feed a product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from meshhouse.governance.change import Change, Hit, Verdict
from meshhouse.governance.comparison import Comparison, change
from meshhouse.repository.types import DataType, parse_type

_WIDER = {
    ("integer", "bigint"), ("integer", "decimal"), ("integer", "double"), ("float", "double"),
}  # fmt: skip
_GUARANTEES = {
    "NONE": "", "BACKWARD": "b", "BACKWARD_TRANSITIVE": "bB", "FORWARD": "f",
    "FORWARD_TRANSITIVE": "fF", "FULL": "bf", "FULL_TRANSITIVE": "bBfF",
}  # fmt: skip
"""Compatibility of a registry -> what it guarantees; capitals: with all earlier schemas."""
_JUMP, _HOUR, _LASTING = 10, 3600, 3
"""A landing delay jumps if it is 10 times the usual one, over an hour, in 3 publications."""


def removed_fields(comparison: Comparison) -> Iterator[Change]:
    """I1: a field disappears from the events."""
    for topic, old, new in _topics(comparison):
        for name in old.get("fields", {}).keys() - new.get("fields", {}).keys():
            yield _field(
                comparison, "I1", topic, name,
                f"Field `{name}` disappears from topic `{topic}`",
                "gets nulls",
            )  # fmt: skip


def new_fields(comparison: Comparison) -> Iterator[Change]:
    """I4: a field is new."""
    for topic, old, new in _topics(comparison):
        for name in sorted(new.get("fields", {}).keys() - old.get("fields", {}).keys()):
            yield change(
                "I4", f"{topic}:{name}", f"Topic `{topic}` has a new field `{name}`.",
                "Nobody is hurt; the product can use it.", Verdict.HARMLESS,
            )  # fmt: skip


def changed_fields(comparison: Comparison) -> Iterator[Change]:
    """I2, I3, I12, I15, I16: a field has another type, may be missing, or has other values."""
    for topic, old, new in _topics(comparison):
        for name, field in old.get("fields", {}).items():
            other = new.get("fields", {}).get(name)
            if other is not None:
                yield from _changed_field(comparison, topic, name, field, other)


def formats(comparison: Comparison) -> Iterator[Change]:
    """I5: another payload format."""
    for topic, old, new in _topics(comparison):
        if old.get("format") and old.get("format") != new.get("format"):
            yield _topic(
                comparison, "I5", topic,
                f"Topic `{topic}` has format {new.get('format')} instead of {old.get('format')}.",
                "Landing stops at the first event of the new format.", Verdict.BREAKING,
            )  # fmt: skip


def compatibility(comparison: Comparison) -> Iterator[Change]:
    """I6: the registry guards less."""
    for topic, old, new in _topics(comparison):
        before, after = (str(each.get("compatibility") or "").upper() for each in (old, new))
        lost = {*_GUARANTEES.get(before, "")} - {*_GUARANTEES.get(after, "")}
        if lost and before != after:
            yield _topic(
                comparison, "I6", topic,
                f"The registry guards topic `{topic}` with {after or 'nothing'} instead of "
                f"{before}.",
                "A producer can break the product, and nothing refuses it.", Verdict.FORBIDDEN,
            )  # fmt: skip


def keys(comparison: Comparison) -> Iterator[Change]:
    """I7: events have another key."""
    for topic, old, new in _topics(comparison):
        if old.get("key") is not None and old.get("key") != new.get("key"):
            yield _topic(
                comparison, "I7", topic,
                f"Events of topic `{topic}` have the key `{new.get('key')}` instead of "
                f"`{old['key']}`.",
                "Events of one thing lose their order, and compaction keeps others.",
                Verdict.BREAKING,
            )  # fmt: skip


def partitions(comparison: Comparison) -> Iterator[Change]:
    """I8: a topic has more partitions."""
    for topic, old, new in _topics(comparison):
        before = int(old.get("partitions") or 0)
        after = max(
            int(new.get("partitions") or 0), int(_landed(comparison, topic).get("partitions") or 0)
        )
        if before and after > before:
            yield _topic(
                comparison, "I8", topic,
                f"Topic `{topic}` has {after} partitions instead of {before}.",
                "Keys move to other partitions once, so their events can change order.",
                Verdict.MINOR,
            )  # fmt: skip


def retention(comparison: Comparison) -> Iterator[Change]:
    """I9: events are kept for less time than landing may need."""
    for topic, _, new in _topics(comparison):
        kept, lag = new.get("retention_hours"), _landed(comparison, topic).get("worst_lag_hours")
        if kept is not None and lag is not None and 0 <= float(kept) < float(lag):
            yield _topic(
                comparison, "I9", topic,
                f"Topic `{topic}` keeps events for {kept} hours; landing was {lag} hours behind.",
                "Events are lost before they land.", Verdict.FORBIDDEN,
            )  # fmt: skip


def compaction(comparison: Comparison) -> Iterator[Change]:
    """I10: compaction is switched on."""
    for topic, old, new in _topics(comparison):
        if new.get("compaction") and not old.get("compaction"):
            yield _topic(
                comparison, "I10", topic, f"Topic `{topic}` is compacted now.",
                "Earlier events of a key vanish, and deletions appear.", Verdict.BREAKING,
            )  # fmt: skip


def event_times(comparison: Comparison) -> Iterator[Change]:
    """I11: the event time means something else."""
    for topic, old, new in _topics(comparison):
        before, after = old.get("event_time"), new.get("event_time")
        delays = _landed(comparison, topic).get("delay_seconds")
        if before is not None and before != after:
            what = f"The event time of topic `{topic}` is `{after}` instead of `{before}`."
        elif isinstance(delays, Sequence) and _jumps(delays):
            what = (
                f"Events of topic `{topic}` land {delays[-1]:g} s after their time, before "
                f"{median(delays[:-_LASTING]):g} s."
            )
        else:
            continue
        yield _topic(
            comparison, "I11", topic, what, "Freshness and days of readers are wrong.",
            Verdict.FORBIDDEN, is_silent=True,
        )  # fmt: skip


def rejects(comparison: Comparison) -> Iterator[Change]:
    """I13: more events are rejected than the topic allows."""
    for topic, _, new in _topics(comparison):
        most = new.get("max_rejected_percent")
        share = _landed(comparison, topic).get("rejected_percent")
        if most is not None and share is not None and float(share) > float(most):
            yield _topic(
                comparison, "I13", topic,
                f"{share} % of the events of topic `{topic}` are rejected; {most} % are allowed.",
                "Readers miss rows.", Verdict.FORBIDDEN,
            )  # fmt: skip


def recreated(comparison: Comparison) -> Iterator[Change]:
    """I14: the topic is another one with the same name."""
    for topic, old, new in _topics(comparison):
        before, after = old.get("topic_id"), new.get("topic_id")
        if before and after and before != after:
            yield _topic(
                comparison, "I14", topic, f"Topic `{topic}` was created again.",
                "The offsets of landed events mean other events.", Verdict.FORBIDDEN,
            )  # fmt: skip


def _changed_field(
    comparison: Comparison,
    topic: str,
    name: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
) -> Iterator[Change]:
    where = f"Field `{name}` of topic `{topic}`"
    row = _retyped(old, new)
    if row:
        yield _field(
            comparison, row, topic, name,
            f"{where} is {_described(new)} instead of {_described(old)}",
            "gets wrong values" if row == "I16" else "loses the rows of rejected events",
        )  # fmt: skip
    if old.get("required") and not new.get("required"):
        # Without the key nobody says whether it can be missing: our own declaration lost it.
        row = "I3" if new.get("required") is False else "I12"
        what = "can be missing" if row == "I3" else "is not required any more by the topic's file"
        yield _field(comparison, row, topic, name, f"{where} {what}", "gets nulls")
    added = [each for each in new.get("values") or () if each not in (old.get("values") or ())]
    if old.get("values") and added:
        texts = ", ".join(f"`{each}`" for each in added)
        yield _field(
            comparison, "I15", topic, name, f"{where} has new values {texts}",
            "gets values that readers do not know",
        )  # fmt: skip


def _retyped(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The row of a changed type; empty if it is equal or only wider."""
    before, after = _type(old), _type(new)
    if isinstance(before, str) or isinstance(after, str):
        return "I2" if str(before) != str(after) else ""
    units = [each.get("time_unit") for each in (old, new)]
    if before.kind == after.kind:
        if before.scale != after.scale or units[0] != units[1]:
            return "I16"
        return "I2" if after.precision < before.precision else ""
    return "" if (before.kind, after.kind) in _WIDER else "I2"


def _type(field: Mapping[str, Any]) -> DataType | str:
    text = str(field.get("type") or "")
    if "precision" in field and "(" not in text:
        text = f"{text}({field['precision']},{field.get('scale', 0)})"
    try:
        return parse_type(text)
    except ValueError:
        return text.lower()


def _described(field: Mapping[str, Any]) -> str:
    kind = _type(field)
    unit = field.get("time_unit")
    return f"{kind} in {unit}" if unit else str(kind)


def _topics(
    comparison: Comparison,
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """The topics of both contracts: name, before, after."""
    if comparison.after is None:
        return
    after = comparison.after.get("topics", {})
    for name, topic in comparison.before.get("topics", {}).items():
        if name in after:
            yield name, topic or {}, after[name] or {}


def _landed(comparison: Comparison, topic: str) -> Mapping[str, Any]:
    found = comparison.past.landing.get(topic)
    return found if isinstance(found, Mapping) else {}


def _jumps(delays: Sequence[float]) -> bool:
    """Whether the last delays are all much longer, and alike: an outage shortens soon."""
    usual, last = delays[:-_LASTING], delays[-_LASTING:]
    if len(usual) < _LASTING:
        return False
    is_long = min(last) > max(_JUMP * median(usual), _HOUR) and min(last) > max(usual)
    is_steady = max(last) <= 2 * min(last)
    return (is_long and is_steady) or (max(last) < 0 <= min(usual))


def _fed(comparison: Comparison, topic: str, field: str | None = None) -> list[str]:
    """The columns that a topic or one of its fields fills; those with unknown roots count."""
    wanted = f"{topic}:{field}" if field else f"{topic}:"
    found = []
    for name, column in comparison.before.columns.items():
        roots = column.get("roots")
        if roots is None or any(
            str(each) == wanted or (field is None and str(each).startswith(wanted))
            for each in roots
        ):
            found.append(name)
    return found


def _hits(comparison: Comparison, columns: Sequence[str]) -> list[Hit]:
    return sorted({hit for each in columns for hit in comparison.readers.hits(each)})


def _field(
    comparison: Comparison, row: str, topic: str, name: str, what: str, effect: str
) -> Change:
    """A change of a field: it matters if readers use columns that it fills."""
    columns = _fed(comparison, topic, name)
    hits = _hits(comparison, columns)
    verdict = comparison.if_read(hits)
    if row == "I16":
        verdict = Verdict.FORBIDDEN
    names = ", ".join(f"`{each}`" for each in columns)
    return change(
        row, f"{topic}:{name}", f"{what}.",
        f"{names} {effect}." if names else "No column of the product uses it.",
        verdict, hits, is_silent=row == "I16",
    )  # fmt: skip


def _topic(
    comparison: Comparison,
    row: str,
    topic: str,
    what: str,
    effect: str,
    verdict: Verdict,
    is_silent: bool = False,
) -> Change:
    hits = _hits(comparison, _fed(comparison, topic))
    return change(row, topic, what, effect, verdict, hits, is_silent)


RULES = (
    removed_fields, new_fields, changed_fields, formats, compatibility, keys, partitions,
    retention, compaction, event_times, rejects, recreated,
)  # fmt: skip
