"""Runs a product's Soda contract on its candidate, in this process.

Belongs here: the only use of Soda, and the verdict. Not here: loading Soda (soda.py), the content
of the contract (contract.py), or what follows from the verdict (runs/publication.py).

Soda's `is_ok` is true even if a check was not evaluated. Here a candidate passes only if every
declared check was evaluated and each of them passed or warned.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import yaml

from meshhouse.audit.contract import DATA_SOURCE, check_key, soda_contract
from meshhouse.audit.derived import ROWS_AGAINST_PREVIOUS
from meshhouse.audit.samples import Readable, sample_rows
from meshhouse.engines.protocol import Reader
from meshhouse.errors import MeshError
from meshhouse.repository import Product, display_path

_LOST_ROWS = check_key("metric", None, ROWS_AGAINST_PREVIOUS)
_LOCK = threading.Lock()  # Soda shares one YAML parser between threads


@dataclass(frozen=True)
class CheckResult:
    """One check and its result."""

    key: str
    """The key of the check, unique within its product; see `contract.check_key`."""
    name: str
    kind: str
    column: str | None
    outcome: str
    """`passed`, `warned`, `failed` or `not evaluated`."""
    value: float | None
    threshold: str
    samples: tuple[Mapping[str, Any], ...] = ()
    """Some of the rows that made the check fail."""

    @property
    def ok(self) -> bool:
        """Whether the check lets the candidate pass."""
        return self.outcome in ("passed", "warned")

    def describe(self) -> str:
        """One line for people: the check, the number it found, the number it allows."""
        value = "nothing" if self.value is None else f"{self.value:g}"
        return f"{self.name}: found {value}, {self.threshold}"


@dataclass(frozen=True)
class AuditResult:
    """The verdict on one candidate."""

    product: Product
    checks: tuple[CheckResult, ...]
    started_at: datetime
    finished_at: datetime

    @property
    def passed(self) -> bool:
        """Whether the candidate may be published."""
        checked = bool(self.checks) and all(check.ok for check in self.checks)
        return checked and not self.is_below_threshold

    @property
    def has_only_lost_rows(self) -> bool:
        """Whether it fails, and for nothing but having too few rows beside what is published."""
        failed = {check.key for check in self.checks if not check.ok}
        return failed == {_LOST_ROWS}

    def with_lost_rows(self) -> AuditResult:
        """The result after an owner has confirmed that the rows are meant to be fewer."""
        checks = (
            replace(check, outcome="warned") if check.key == _LOST_ROWS and not check.ok else check
            for check in self.checks
        )
        return replace(self, checks=tuple(checks))

    @property
    def is_below_threshold(self) -> bool:
        """Whether the product's owner demands a higher score."""
        return self.score < self.product.threshold

    @property
    def score(self) -> float:
        """Percent of the checks that passed without a warning, by their weights."""
        weights = [(self._weight(check), check.outcome == "passed") for check in self.checks]
        total = sum(weight for weight, _ in weights)
        passed = sum(weight for weight, is_passed in weights if is_passed)
        return round(100.0 * passed / total, 2) if total else 0.0

    def _weight(self, check: CheckResult) -> float:
        weights = self.product.weights
        return weights.get(check.key, weights.get(check.kind, 1.0))

    def as_json(self) -> list[dict[str, Any]]:
        """The checks as the ledger stores them, without sample rows, which contain data."""
        return [
            {
                "key": check.key,
                "name": check.name,
                "kind": check.kind,
                "column": check.column,
                "outcome": check.outcome,
                "value": check.value,
                "threshold": check.threshold,
            }
            for check in self.checks
        ]

    def with_samples(self) -> list[dict[str, Any]]:
        """The same, with the sample rows of each check."""
        return [
            {**stored, "samples": check.samples}
            for stored, check in zip(self.as_json(), self.checks, strict=True)
        ]


def audit(
    product: Product,
    reader: Reader,
    readable: Readable,
    only: Collection[str] | None = None,
) -> AuditResult:
    """Verifies every check of a product, or some of them.

    Args:
        product: the product that the candidate belongs to.
        reader: reads the candidate as `<domain>.<product>`.
        readable: other relations that checks may read; sample rows mask their personal data.
        only: keys of the checks to verify; None for all. A verdict needs all of them.

    Raises:
        MeshError: the checks cannot be run; the message says why.
    """
    started_at = datetime.now(UTC)
    contract = soda_contract(product, reader)
    if only is not None:
        contract = _only(only, contract, _declared_names(product, reader))
    with _LOCK:
        results, errors = _verify(contract, reader)
    declared = _declared(contract)
    if errors or len(results) != declared:
        detail = "; ".join(dict.fromkeys(errors)) or (
            f"{declared} checks are declared, {len(results)} were evaluated"
        )
        path = product.checks_path if product.checks_path.exists() else product.path
        raise MeshError(
            f"The checks of {product.relation} could not be run: {detail}. "
            f"See {display_path(path)}."
        )
    checks = tuple(_check_result(each, product, reader, contract, readable) for each in results)
    return AuditResult(product, checks, started_at, datetime.now(UTC))


def _only(
    keys: Collection[str], contract: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    """A contract without the checks of other keys; with all columns, which `schema` compares."""

    def chosen(column: str | None, checks: Iterable[Mapping[str, Any]]) -> list[Any]:
        return [
            check
            for check in checks
            for kind, body in check.items()
            if check_key(kind, column, (body or {}).get("qualifier")) in keys
        ]

    def with_checks(part: Mapping[str, Any], checks: list[Any]) -> dict[str, Any]:
        without = {key: value for key, value in part.items() if key != "checks"}
        return {**without, "checks": checks} if checks else without  # Soda refuses an empty list

    columns = [
        with_checks(each, chosen(names.get(each["name"], each["name"]), each.get("checks") or []))
        for each in contract["columns"]
    ]
    return with_checks({**contract, "columns": columns}, chosen(None, contract["checks"]))


def _declared_names(product: Product, reader: Reader) -> dict[str, str]:
    """A column's name on the engine -> as it is declared."""
    return {reader.column(each.name): each.name for each in product.columns}


def _verify(contract: Mapping[str, Any], reader: Reader) -> tuple[list[Any], list[str]]:
    # Takes 0.4 s, which a run that changes nothing does without.
    from meshhouse.audit.soda import ContractVerificationSession, ContractYamlSource

    text = yaml.safe_dump(json.loads(json.dumps(contract, default=str)), sort_keys=False)
    source = reader.data_source(DATA_SOURCE)
    with _soda_off_the_terminal():
        try:
            session = ContractVerificationSession.execute(
                contract_yaml_sources=[ContractYamlSource.from_str(text)],
                data_source_impls=[source],
                variables={},
            )
        except Exception as error:  # noqa: BLE001 - Soda raises bare exceptions on bad YAML
            return [], [_one_line(str(error))]
    errors = [_one_line(message) for message in session.get_errors()]
    results = [
        check for result in session.contract_verification_results for check in result.check_results
    ]
    return results, errors


class _soda_off_the_terminal:  # noqa: N801 - reads as a phrase where it is used
    """Keeps Soda's report off the terminal.

    Only the handlers get a filter. Soda collects its own errors from records that reach the
    root logger, so the level and propagation of its logger must not change.
    """

    def __enter__(self) -> None:
        self._silenced = []
        for handler in logging.getLogger().handlers:
            handler.addFilter(_not_soda)
            self._silenced.append(handler)

    def __exit__(self, *error: object) -> None:
        for handler in self._silenced:
            handler.removeFilter(_not_soda)


def _not_soda(record: logging.LogRecord) -> bool:
    return not record.name.startswith("soda")


def _declared(contract: Mapping[str, Any]) -> int:
    in_columns = sum(len(column.get("checks") or []) for column in contract["columns"])
    return in_columns + len(contract.get("checks") or [])


_OUTCOMES = {
    "PASSED": "passed",
    "WARN": "warned",
    "FAILED": "failed",
    "NOT_EVALUATED": "not evaluated",
    "EXCLUDED": "not evaluated",
}


def _check_result(
    result: Any,
    product: Product,
    reader: Reader,
    contract: Mapping[str, Any],
    readable: Readable,
) -> CheckResult:
    check = result.check
    outcome = _OUTCOMES[result.outcome.name]
    samples: tuple[Mapping[str, Any], ...] = ()
    if outcome == "failed":
        samples = sample_rows(product, check, contract, reader, readable)
    declared = _declared_names(product, reader)
    column = declared.get(check.column_name, check.column_name)
    where = f" (column {column})" if column else ""
    value = result.threshold_value
    return CheckResult(
        key=check_key(check.type, column, check.qualifier),
        name=f"{check.name or check.type}{where}",
        kind=check.type,
        column=column,
        outcome=outcome,
        value=float(value) if isinstance(value, int | float | Decimal) else None,
        threshold=_threshold(check.threshold),
        samples=samples,
    )


def _threshold(threshold: Any) -> str:
    if threshold is None:
        return "must match the contract"
    words = {
        "must_be_greater_than": "must be more than",
        "must_be_greater_than_or_equal": "must be at least",
        "must_be_less_than": "must be less than",
        "must_be_less_than_or_equal": "must be at most",
        "must_be": "must be",
        "must_not_be": "must not be",
    }
    bounds = [
        f"{phrase} {getattr(threshold, key):g}"
        for key, phrase in words.items()
        if getattr(threshold, key, None) is not None
    ]
    return " and ".join(bounds) or "must match the contract"


def _one_line(text: str) -> str:
    return " ".join(text.split())
