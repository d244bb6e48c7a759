"""Which publications and rollbacks changed a product's contract, and what they changed.

Belongs here: joining what a publication recorded with what both contracts say. Not here: comparing
two contracts (comparisons.py), or which values a sentence may hold (sentences.py).

What was recorded counts, because it was judged with the rows and the readers of that day. Both
contracts add what no reader needed to know then, and what a rollback gives back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from meshhouse.catalog.documents import ChangedFacts, ContractChangeFacts
from meshhouse.catalog.gather.comparisons import Compared, Comparisons
from meshhouse.catalog.gather.known import Known
from meshhouse.catalog.gather.sentences import Shown, sentence_of
from meshhouse.governance.change import Change, Verdict, smallest_bump
from meshhouse.governance.returned import MEANING
from meshhouse.heads import Turn, turns_of

MOST = 5
"""Contract changes of one product that have a page: with 5,000 products, 25,000 pages."""
ROLLBACK = "rollback"
_CHECK = " (check "

Entry = Mapping[str, Any]


def contract_changes(
    known: Known, shown: Shown, comparisons: Comparisons
) -> tuple[tuple[ContractChangeFacts, ...], int]:
    """The newest contract changes of a product, newest first, and how many more there are.

    Args:
        known: the product.
        shown: columns whose values may be shown.
        comparisons: of the ledger's contracts.
    """
    found = [each for each in turns_of(known.history) if each.changes_contract]
    newest = found[: -MOST - 1 : -1]
    return tuple(_facts(each, known, shown, comparisons) for each in newest), len(found) - len(
        newest
    )


def given_back(turn: Turn, known: Known, shown: Shown, comparisons: Comparisons) -> tuple[str, ...]:
    """What a rollback does to columns, and what it undid, as sentences.

    Args:
        turn: of the rollback.
        known: the product.
        shown: columns whose values may be shown.
        comparisons: of the ledger's contracts.
    """
    compared = _compared(turn, known, comparisons)
    shown = _shown_then(shown, compared)
    columns = {each.column.lower(): each for each in compared.columns} if compared else {}
    found = [f"`{each.column}` {each.how}" for each in columns.values()]
    names = shown.columns | columns.keys()
    recorded = turn.before.get("changes") or ()
    for each in recorded:
        subject = str(each.get("change") or "").partition(":")[2]
        if subject.lower() in names - columns.keys():
            found.append(f"`{subject}` {MEANING}")
    found += [f"Undone: {sentence_of(each, known.contract, shown)}" for each in recorded]
    return tuple(dict.fromkeys(found))


def _facts(turn: Turn, known: Known, shown: Shown, comparisons: Comparisons) -> ContractChangeFacts:
    entry = turn.entry
    is_rollback = entry["kind"] == ROLLBACK
    compared = _compared(turn, known, comparisons)
    shown = _shown_then(shown, compared)
    recorded = () if is_rollback else tuple(entry.get("changes") or ())
    undone = tuple(turn.before.get("changes") or ()) if is_rollback else ()
    return ContractChangeFacts(
        number=int(entry["number"]),
        kind=str(entry["kind"]),
        at=entry["finished_at"],
        before=int(turn.before["number"]),
        version=int(turn.after["version"] or 1),
        owner=compared.owner if compared else "",
        bump=_bump(compared, recorded, is_rollback),
        parts=compared.parts if compared else (),
        is_kept=compared is not None,
        done_by=str(entry.get("done_by") or ""),
        rows=(turn.before.get("rows"), turn.after.get("rows")),
        back=given_back(turn, known, shown, comparisons) if is_rollback else (),
        changes=tuple(_changes(recorded, compared, known, shown, undone)),
    )


def _compared(turn: Turn, known: Known, comparisons: Comparisons) -> Compared | None:
    if not turn.changes_contract:
        return None
    return comparisons.of(known.product.domain, *turn.hashes, turn.entry["finished_at"].date())


def _shown_then(shown: Shown, compared: Compared | None) -> Shown:
    """What may be shown of a change. A column that is gone today may have been protected."""
    return replace(shown, columns=shown.columns.union(compared.names)) if compared else shown


def _bump(compared: Compared | None, recorded: Sequence[Entry], is_rollback: bool) -> str:
    """The smallest version step, by the verdicts that were recorded where there are any."""
    if compared is None or is_rollback:
        return ""
    verdicts = {str(each["change"]): str(each["verdict"]) for each in recorded}
    return str(smallest_bump(_judged_then(each, verdicts) for each in compared.changes))


def _judged_then(change: Change, verdicts: Mapping[str, str]) -> Change:
    verdict = verdicts.get(change.key)
    if verdict is None:
        return change
    return Change(change.row, change.subject, change.what, change.effect, _verdict(verdict),
                  change.hits, change.is_silent)  # fmt: skip


def _verdict(name: str) -> Verdict:
    return next((each for each in Verdict if str(each) == name), Verdict.MINOR)


def _changes(
    recorded: Sequence[Entry],
    compared: Compared | None,
    known: Known,
    shown: Shown,
    undone: Sequence[Entry],
) -> Iterator[ChangedFacts]:
    """The changes, worst first: as they were recorded, then what only the contracts show.

    Whom the undone publication hit in a column, its rollback hits as well.
    """
    hits: dict[str, list[str]] = {}
    for each in undone:
        subject = str(each["change"]).partition(":")[2].lower()
        hits.setdefault(subject, []).extend(map(str, each.get("hits") or ()))
    by_key = {each.key: each for each in compared.changes} if compared else {}
    keys = {str(each["change"]) for each in recorded}
    for each in sorted(recorded, key=lambda one: -_verdict(str(one["verdict"]))):
        same = by_key.get(str(each["change"]))
        yield _change(
            each, same.effect if same else "", bool(same and same.is_silent), known, shown
        )
    for change in compared.changes if compared else ():
        if change.key not in keys:
            entry = {
                "change": change.key, "what": change.what, "verdict": str(change.verdict),
                "hits": hits.get(change.subject.lower()) or None,
            }  # fmt: skip
            yield _change(entry, change.effect, change.is_silent, known, shown)


def _change(entry: Entry, effect: str, is_silent: bool, known: Known, shown: Shown) -> ChangedFacts:
    what = sentence_of(entry, known.contract, shown)
    key = str(entry["change"])
    is_whole = what == str(entry["what"])
    return ChangedFacts(
        # The subject can be the name of a check, which can hold a value.
        key=key if is_whole else key.partition(":")[0],
        verdict=str(entry["verdict"]),
        what=what,
        effect=effect if is_whole else "",
        is_silent=is_silent,
        hits=_hits(entry.get("hits")),
        allowed=_allowed(entry.get("allowed_by")),
    )


def _hits(recorded: Iterable[object] | None) -> tuple[str, ...] | None:
    if recorded is None:
        return None
    return tuple(sorted({without_check(str(each)) for each in recorded}))


def without_check(hit: str) -> str:
    """A column of a reader; names of checks can hold values of a protected column."""
    reader, mark, _ = hit.partition(_CHECK)
    return f"{reader} (a check)" if mark else reader


def _allowed(by: Mapping[str, Any] | None) -> str:
    if not by:
        return ""
    until = f" until {by['until']}" if by.get("until") else ""
    owner = f" by {by['owner']}" if by.get("owner") else ""
    return f"{'Waived' if until else 'Confirmed'}{owner}{until}, {by['place']}: {by['why']}"
