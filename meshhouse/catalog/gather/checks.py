"""Checks of a product, with the results of the audit of what consumers see.

Belongs here: joining a contract's checks with an audit's results. Not here: what a check means
(audit/).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from meshhouse.catalog.documents import CheckFacts
from meshhouse.governance.contract import Contract

_COUNTING = frozenset({"duplicate", "failed_rows", "freshness", "invalid", "missing", "row_count"})
"""Kinds of checks whose result is a number of rows or a time, and no value of a column."""
NOT_RECORDED = "not recorded"


def checks_of(
    contract: Contract | None, audit: Mapping[str, Any] | None, clear: Collection[str]
) -> tuple[CheckFacts, ...]:
    """Every check of a publication.

    dbt's tests are part of the build: a product is only published after those have passed that
    stop a build. What the others found is not recorded.

    Args:
        contract: of the publication.
        audit: its audit, with the results of Soda's checks.
        clear: columns whose values may be shown, in lower case.
    """
    results = {str(each["key"]): each for each in (audit or {}).get("checks") or ()}
    found = []
    for name, check in (contract.checks if contract else {}).items():
        result = results.pop(_key(name, results), None)
        column = str(check.get("column") or "")
        severity = str(check.get("severity", "error"))
        if result is not None:
            outcome, measured = _outcome(result), found_by(result, clear)
        elif check.get("source") == "soda":
            outcome, measured = "not run", ""
        else:
            outcome, measured = ("passed" if severity == "error" else NOT_RECORDED), ""
        found.append(
            CheckFacts(
                id=name,
                name=str(check.get("name") or (result or {}).get("name") or name),
                column=column,
                source=str(check.get("source", "")),
                severity=severity,
                result=outcome,
                found=measured,
            )
        )
    # Checks that follow from a promise are not in the contract: the promise is.
    found += [
        CheckFacts(
            id=key,
            name=str(result["name"]),
            column=str(result["column"] or ""),
            source="promise",
            severity="error",
            result=_outcome(result),
            found=found_by(result, clear),
        )
        for key, result in results.items()
    ]
    return tuple(found)


def counted(audit: Mapping[str, Any] | None) -> tuple[int, int]:
    """How many checks of an audit passed, and how many were run."""
    outcomes = [_outcome(each) for each in (audit or {}).get("checks") or ()]
    return outcomes.count("passed"), len(outcomes) - outcomes.count("not run")


def failures(audit: Mapping[str, Any], clear: Collection[str]) -> Sequence[str]:
    """The checks that made an audit fail, each with what it found."""
    failed = [each for each in audit["checks"] or () if each["outcome"] not in ("passed", "warned")]
    return [": ".join(filter(None, (str(each["name"]), found_by(each, clear)))) for each in failed]


def found_by(result: Mapping[str, Any], clear: Collection[str]) -> str:
    """What a check found, and what it allows; empty if the number may be a protected value."""
    column = str(result["column"] or "").lower()
    if column and column not in clear and result["kind"] not in _COUNTING:
        return ""
    value = "nothing" if result["value"] is None else f"{result['value']:g}"
    return f"found {value}, {result['threshold']}"


def _outcome(result: Mapping[str, Any]) -> str:
    outcome = str(result["outcome"])
    return "not run" if outcome == "not evaluated" else outcome


def _key(name: str, results: Mapping[str, Any]) -> str:
    """The key of a contract's check in an audit, which is like its id in ASCII."""
    from meshhouse.audit.contract import check_key

    return name if name in results else check_key(name, None, None)
