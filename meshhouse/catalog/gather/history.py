"""A product's publications, and the state that consumers find it in.

Belongs here: entries of the ledger as facts, and the worst state that holds. Not here: rules of
freshness (runs/status.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from meshhouse.catalog.documents import PublicationFacts
from meshhouse.catalog.gather.checks import failures
from meshhouse.catalog.gather.comparisons import Comparisons
from meshhouse.catalog.gather.contract_changes import ROLLBACK, given_back
from meshhouse.catalog.gather.known import NOT_DECLARED, Known
from meshhouse.catalog.gather.sentences import Shown, sentence_of
from meshhouse.heads import Turn, turns_of
from meshhouse.runs.retirement import Retired

_MOST = 90
_FAILED = ("failed", "rejected", "not published")
_MOST_NAMED = 3


def publications_of(
    known: Known, shown: Shown, comparisons: Comparisons, changed: Collection[int] = ()
) -> tuple[PublicationFacts, ...]:
    """The newest entries of a product's history, newest first.

    Args:
        known: the product.
        shown: columns whose values may be shown.
        comparisons: of the ledger's contracts.
        changed: numbers of those that have a page about their change of the contract.
    """
    turns = {int(each.entry["number"]): each for each in turns_of(known.history)
             if each.entry["kind"] == ROLLBACK}  # fmt: skip
    return tuple(
        PublicationFacts(
            number=int(each["number"]),
            kind=str(each["kind"]),
            at=each["finished_at"],
            version=int(each["version"] or 1),
            rows=each.get("rows"),
            bytes=each.get("bytes"),
            score=float(each["score"]) if each.get("score") is not None else None,
            run_id=str(each.get("run_id") or ""),
            done_by=str(each.get("done_by") or ""),
            changes=tuple(
                sentence_of(change, known.contract, shown) for change in each.get("changes") or ()
            ),
            has_page=int(each["number"]) in changed,
            **_rolled_back(turns.get(int(each["number"])), known, shown, comparisons),
        )
        for each in reversed(known.history[-_MOST:])
    )


def _rolled_back(
    turn: Turn | None, known: Known, shown: Shown, comparisons: Comparisons
) -> dict[str, Any]:
    """What is known of a rollback beside its entry."""
    if turn is None:
        return {}
    return {
        "shows": int(turn.after["number"]),
        "undid": int(turn.before["number"]),
        "back": given_back(turn, known, shown, comparisons),
    }


def state_of(
    known: Known,
    newest_audit: Mapping[str, Any] | None,
    shown: Shown,
    now: datetime,
    is_broken: bool,
) -> tuple[str, str]:
    """The worst state that holds, and why it is bad in one sentence.

    Args:
        known: the product.
        newest_audit: of any run, whether it published or not.
        shown: columns whose values may be shown.
        now: the time of the catalog.
        is_broken: whether the domain's declarations can be used; of those that cannot, nobody
            knows what they declare.
    """
    status = known.status
    if status.damage:
        return "damaged", status.damage
    if known.retired is not None:
        return "retired", _end(known.retired)
    if status.last_run in _FAILED:
        return "failed", _failure(known, newest_audit, shown)
    fresh = status.freshness(now)
    if status.published_at is None:
        return "never published", "No run has published it yet."
    if fresh == "late":
        assert status.promise is not None
        hours = status.promise.total_seconds() / 3600
        return "late", f"Its owner promises a refresh within {hours:g} hours."
    if status.state != "declared" or (not known.is_declared and not is_broken):
        return NOT_DECLARED, "No run publishes it any more."
    return fresh, ""


def _end(found: Retired) -> str:
    by = f" by {found.by}" if found.by else ""
    return f"It was retired on {found.at:%Y-%m-%d}{by}."


def _failure(known: Known, audit: Mapping[str, Any] | None, shown: Shown) -> str:
    because = {
        "failed": "The last run failed.",
        "rejected": "The last run rejected it.",
        "not published": "The last run did not publish it, because it rejected another product.",
    }[str(known.status.last_run)]
    if known.status.last_run == "rejected" and audit is not None and not audit["passed"]:
        named = failures(audit, shown)
        more = f"; and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        if named:
            because = f"The last run rejected it: {'; '.join(named[:_MOST_NAMED])}{more}."
    return because
