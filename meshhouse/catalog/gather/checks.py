"""Checks of a product, with the results of the audit of what consumers see.

Belongs here: joining a contract's checks with an audit's results. Not here: what a check means
(audit/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshhouse.catalog.documents import CheckFacts
from meshhouse.catalog.gather.sentences import Shown, called, may_name, safe_names
from meshhouse.governance.contract import Contract

_COUNTING = frozenset({"duplicate", "failed_rows", "freshness", "invalid", "missing", "row_count"})
"""Kinds of checks whose result is a number of rows or a time, and no value of a column."""
NOT_RECORDED = "not recorded"


def checks_of(
    contract: Contract | None, audit: Mapping[str, Any] | None, shown: Shown
) -> tuple[CheckFacts, ...]:
    """Every check of a publication.

    dbt's tests are part of the build: a product is only published after those have passed that
    stop a build. What the others found is not recorded.

    Args:
        contract: of the publication.
        audit: its audit, with the results of Soda's checks.
        shown: columns whose values may be shown.
    """
    results = {str(each["key"]): each for each in (audit or {}).get("checks") or ()}
    listed = list((contract.checks if contract else {}).items())
    ids = safe_names(each for _, each in listed)
    found = []
    for (name, check), safe in zip(listed, ids, strict=True):
        result = results.pop(_key(name, results), None)
        severity = str(check.get("severity", "error"))
        if result is not None:
            outcome, measured = _outcome(result), found_by(result, shown)
        elif check.get("source") == "soda":
            outcome, measured = "not run", ""
        else:
            outcome, measured = ("passed" if severity == "error" else NOT_RECORDED), ""
        is_named = may_name(check, shown)
        known_as = str(check.get("name") or (result or {}).get("name") or name)
        found.append(
            CheckFacts(
                id=name if is_named else safe,
                name=known_as if is_named else called(check),
                column=str(check.get("column") or ""),
                source=str(check.get("source", "")),
                severity=severity,
                result=outcome,
                found=measured,
            )
        )
    # Checks that follow from a promise are not in the contract: the promise is.
    for (key, result), safe in zip(results.items(), safe_names(results.values()), strict=True):
        is_named = may_name(result, shown)
        found.append(
            CheckFacts(
                id=key if is_named else safe,
                name=str(result["name"]) if is_named else called(result),
                column=str(result["column"] or ""),
                source="promise",
                severity="error",
                result=_outcome(result),
                found=found_by(result, shown),
            )
        )
    return tuple(found)


def counted(audit: Mapping[str, Any] | None) -> tuple[int, int]:
    """How many checks of an audit passed, and how many were run."""
    outcomes = [_outcome(each) for each in (audit or {}).get("checks") or ()]
    return outcomes.count("passed"), len(outcomes) - outcomes.count("not run")


def failures(audit: Mapping[str, Any], shown: Shown) -> Sequence[str]:
    """The checks that made an audit fail, each with what it found."""
    failed = [each for each in audit["checks"] or () if each["outcome"] not in ("passed", "warned")]
    return [
        ": ".join(filter(None, (_named(each, shown), found_by(each, shown)))) for each in failed
    ]


def found_by(result: Mapping[str, Any], shown: Shown) -> str:
    """What a check found, and what it allows; empty if the number may be a protected value."""
    column = str(result["column"] or "").lower()
    is_open = column in shown.measured if column else shown.is_everything
    if not is_open and result["kind"] not in _COUNTING:
        return ""
    value = "nothing" if result["value"] is None else f"{result['value']:g}"
    return f"found {value}, {result['threshold']}"


def _named(result: Mapping[str, Any], shown: Shown) -> str:
    return str(result["name"]) if may_name(result, shown) else called(result)


def _outcome(result: Mapping[str, Any]) -> str:
    outcome = str(result["outcome"])
    return "not run" if outcome == "not evaluated" else outcome


def _key(name: str, results: Mapping[str, Any]) -> str:
    """The key of a contract's check in an audit, which is like its id in ASCII."""
    from meshhouse.audit.contract import check_key

    return name if name in results else check_key(name, None, None)
