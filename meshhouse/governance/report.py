"""A judged product as text, JSON, Markdown and SARIF.

Belongs here: how a judgement reads, and the ways out of a refusal. Not here: judging
(judgement.py), or printing (cli/diff.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any
from urllib.parse import quote as percent_encoded

from meshhouse.governance.change import Bump, Change, Verdict, smallest_bump
from meshhouse.governance.contract import Contract
from meshhouse.governance.waivers import AfterWaivers, Allowed, Step, fingerprint, record_of
from meshhouse.markdown import code, plain

_MOST_HITS = 5
LATEST = "Y6"
"""The name without a number shows another version: readers pin one first, and need no new one."""
PAGE = "docs/explanation/changes.md"
"""The page that explains each kind of change."""


@dataclass(frozen=True)
class Judged:
    """One product's step from what is published to a candidate, with its judgement."""

    relation: str
    before: Contract
    after: Contract | None
    step: Step
    changes: tuple[Change, ...]
    outcome: AfterWaivers
    file: str = ""
    """Where the product is declared, relative to the repository, with slashes."""
    line: int = 1

    @property
    def refused(self) -> tuple[Change, ...]:
        """Changes that a run must not publish."""
        return tuple(each.change for each in self.outcome.refused)

    @property
    def bump(self) -> Bump:
        """The smallest version step that all changes allow; waivers do not lower it."""
        return smallest_bump(self.changes)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict."""
        return max((each.verdict for each in self.changes), default=Verdict.HARMLESS)

    def ways_out(self, change: Change) -> tuple[str, ...]:
        """Commands that make a refused change legal, best first.

        The key of a change can hold names of checks, which are any text: a shell must not read it.
        """
        # Without a number, a waiver is about the version that will be the latest one.
        product = self.step.name
        key = quote(change.key)
        waive = f'mesh waive {product} {key} --because "..." --owner "..." --until DATE'
        domains = sorted({each.reader.partition(".")[0] for each in change.hits})
        waive += "".join(f" --consent {each}" for each in domains)
        if self.after is None:
            return (f"mesh retire {self.relation}", waive)
        if change.is_silent:
            mark = fingerprint(change, self.step)
            return (f'mesh confirm {product} {key} --fingerprint {mark} --because "..."',)
        if change.verdict is Verdict.BREAKING and change.row != LATEST:
            return (f"mesh new version {self.before.product}", waive)
        return (waive,)

    def as_entries(self) -> list[dict[str, Any]]:
        """The changes as the ledger keeps them, with what allowed them."""
        allowed = {each.change: each for each in self.outcome.waived}
        return [
            {
                "change": each.key,
                "what": each.what,
                "verdict": str(each.verdict),
                "hits": [str(hit) for hit in each.hits],
                "allowed_by": _allowed_by(allowed.get(each)),
            }
            for each in self.changes
            if each.verdict is not Verdict.HARMLESS
        ]

    def as_json(self) -> dict[str, Any]:
        """The judgement as JSON."""
        because = {each.change: each.because for each in self.outcome.refused}
        allowed = {each.change: each for each in self.outcome.waived}
        return {
            "product": self.relation,
            "version": self.before.version,
            "contract": {
                "published": self.before.hash,
                "candidate": self.after.hash if self.after else None,
            },
            "verdict": str(self.verdict),
            "bump": str(self.bump),
            "refused": bool(self.outcome.refused),
            "changes": [
                {
                    "change": each.key,
                    "kind": each.row,
                    "subject": each.subject,
                    "what": each.what,
                    "effect": each.effect,
                    "verdict": str(each.verdict),
                    "silent": each.is_silent,
                    "bump": str(each.bump),
                    "hits": [{"column": str(hit), "owner": hit.owner} for hit in each.hits],
                    "refused": each in because,
                    "because": because.get(each, ""),
                    "allowed_by": _allowed_by(allowed.get(each)),
                    "ways_out": list(self.ways_out(each)) if each in because else [],
                }
                for each in self.changes
            ],
        }


def _allowed_by(allowed: Allowed | None) -> dict[str, Any] | None:
    if allowed is None:
        return None
    return record_of(allowed.by)


def refusal(judged: Iterable[Judged]) -> str:
    """One sentence for each refused change, with the readers and the ways out; one paragraph."""
    sentences = [part for each in judged for refused in refusals(each) for part in refused]
    return " ".join(sentences)


def refusals(judged: Judged) -> Iterator[tuple[str, str]]:
    """For each refused change of a product: what is wrong with it, and what to do."""
    for change, because in judged.outcome.refused:
        ways = " or ".join(f"`{way}`" for way in judged.ways_out(change))
        parts = [
            f"{judged.relation}: {change.what}",
            f"{change.effect}",
            f"It is {change.verdict} ({change.row}); {_readers(change)}.",
            because,
        ]
        yield " ".join(part for part in parts if part), f"Undo it, or use {ways}."


def in_short(judged: Judged) -> str:
    """What the worst refused change would break for whom, without a full stop; one line."""
    change = judged.outcome.refused[0].change
    more = len(judged.outcome.refused) - 1
    breaks = "silently change" if change.is_silent else "break"
    whom = _named(change) if change.hits else "what was promised, which no known model reads"
    others = f" (and {more} more {'change' if more == 1 else 'changes'})" if more else ""
    return f"{judged.relation} would {breaks} {whom}: {change.what.rstrip('.')}{others}"


def _readers(change: Change) -> str:
    if not change.hits:
        return "no known model reads it"
    return f"it hits {_named(change)}"


def _named(change: Change) -> str:
    """The readers that a change would hit, with their owners."""
    shown = [_reader(hit.reader, hit.column, hit.owner) for hit in change.hits[:_MOST_HITS]]
    more = len(change.hits) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _reader(reader: str, column: str, owner: str) -> str:
    name = f"{reader} (lineage unknown)" if column == "?" else f"{reader}.{column}"
    return f"{name} of {owner}" if owner else name


def as_lines(judged: Judged) -> Iterator[str]:
    """The judgement for people: one line a product, and up to four for each change."""
    after = "removed" if judged.after is None else f"bump {judged.bump}"
    yield f"{judged.relation} (version {judged.before.version}): {judged.verdict}, {after}"
    because = {each.change: each.because for each in judged.outcome.refused}
    allowed = {each.change: each.by for each in judged.outcome.waived}
    for change in judged.changes:
        silent = ", silent" if change.is_silent else ""
        yield f"  {change.verdict!s:<9} {change.key}{silent}: {change.what}"
        if change.verdict >= Verdict.BREAKING or change.hits:
            yield f"            {change.effect} {_sentence(_readers(change))}"
        if change in allowed:
            by = allowed[change]
            yield f"            Allowed by {by.place}: {by.why}"
        if change in because:
            if because[change]:
                yield f"            {because[change]}"
            for way in judged.ways_out(change):
                yield f"            -> {way}"


def as_markdown(judged: Sequence[Judged]) -> str:
    """The judgements as a comment for a pull request."""
    shown = [each for each in judged if each.changes]
    if not shown:
        return "**No product changes for its consumers.**\n"
    refused = sum(len(each.outcome.refused) for each in shown)
    head = (
        f"**{refused} {'change' if refused == 1 else 'changes'} would be refused.**"
        if refused
        else "**Nothing here would be refused.**"
    )
    lines = [head, ""]
    for each in shown:
        lines += [
            f"### {plain(each.relation)}: {each.verdict}, version step {each.bump}",
            "",
            "| verdict | change | readers | way out |",
            "|---|---|---|---|",
        ]
        for change in each.changes:
            readers = ", ".join(code(str(hit)) for hit in change.hits) or "-"
            ways = "<br>".join(map(code, each.ways_out(change)))
            lines.append(
                f"| {change.verdict}{' (silent)' if change.is_silent else ''} "
                f"| `{change.row}` {plain(change.what)} | {readers} "
                f"| {ways if change in each.refused else '-'} |"
            )
        lines.append("")
    # Not a link: a comment's relative links do not lead into the repository.
    lines.append(f"`{PAGE}` explains the kinds of change.")
    return "\n".join(lines)


_LEVELS: Mapping[Verdict, str] = {
    Verdict.HARMLESS: "none",
    Verdict.MINOR: "note",
    Verdict.BREAKING: "error",
    Verdict.FORBIDDEN: "error",
}


def as_sarif(judged: Sequence[Judged]) -> dict[str, Any]:
    """The judgements in SARIF 2.1.0, which code hosts show beside the changed lines."""
    rows = sorted({change.row for each in judged for change in each.changes})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "mesh diff",
                        "rules": [
                            {"id": row, "help": {"text": f"{row} in {PAGE} explains it."}}
                            for row in rows
                        ],
                    }
                },
                "results": [
                    {
                        "ruleId": change.row,
                        "level": _LEVELS[change.verdict],
                        "message": {"text": _message(each, change)},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": percent_encoded(each.file)},
                                    "region": {"startLine": each.line},
                                }
                            }
                        ],
                        "partialFingerprints": {"change": f"{each.relation}/{change.key}"},
                        **_suppressed(each, change),
                    }
                    for each in judged
                    for change in each.changes
                ],
            }
        ],
    }


def _message(judged: Judged, change: Change) -> str:
    """One change as text, with its readers, and the ways out if it is refused.

    SARIF makes a link of `[text](address)` unless the brackets have backslashes.
    """
    parts = [f"{judged.relation}: {change.what} {change.effect} {_sentence(_readers(change))}"]
    if change in judged.refused:
        ways = " or ".join(f"`{way}`" for way in judged.ways_out(change))
        parts.append(f"Undo it, or use {ways}.")
    return re.sub(r"([\[\]])", r"\\\1", " ".join(parts))


def _suppressed(judged: Judged, change: Change) -> dict[str, Any]:
    """SARIF's mark of a finding that a waiver or a confirmation allows."""
    for each in judged.outcome.waived:
        if each.change == change:
            return {"suppressions": [{"kind": "external", "justification": each.by.why}]}
    return {}
