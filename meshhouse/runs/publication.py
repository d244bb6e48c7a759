"""Publication: make audited candidates what consumers see; rollback.

Belongs here: the one transaction that shows a domain's products with their ledger entries, and
the one that shows an earlier publication again. Not here: whether a product is built (plan.py),
how an engine stores tables (engines/), or what a check means (audit/).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Protocol

from meshhouse.audit import AuditResult
from meshhouse.engines import Candidate, Engine
from meshhouse.errors import MeshError
from meshhouse.heads import effective_publications, publications_of
from meshhouse.ledger import Ledger, Staged
from meshhouse.repository import Product
from meshhouse.runs.aliases import KEPT, followers
from meshhouse.runs.plan import Basis

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Promised(Protocol):
    """A contract as the ledger stores it, such as `governance.contract.Contract`."""

    @property
    def text(self) -> str:
        """Its canonical text."""
        ...

    @property
    def hash(self) -> str:
        """The hash of its text."""
        ...


def publish(
    ledger: Ledger,
    run_id: str,
    audited: Sequence[tuple[Candidate, AuditResult]],
    bases: Mapping[str, Basis],
    run_entry: Mapping[str, Any],
    others: Sequence[Staged] = (),
    contracts: Mapping[str, Promised] = NOTHING,
    statistics: Mapping[str, Mapping[str, Any]] = NOTHING,
    changes: Mapping[str, Sequence[Mapping[str, Any]]] = NOTHING,
    objectives: Sequence[Mapping[str, Any]] = (),
    moved: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Shows all candidates at once and records why, in one catalog transaction.

    Args:
        ledger: where it is recorded.
        run_id: the run that built them.
        audited: every candidate with the audit that it passed.
        bases: product relation -> what it was made from.
        run_entry: how the run ended, recorded in the same transaction.
        others: what changes with the products: their aliases, and private tables such as the
            history of dbt snapshots.
        contracts: product relation -> the contract that it is published with.
        statistics: product relation -> what was measured of the candidate.
        changes: product relation -> what changes for consumers, as JSON.
        objectives: ledger entries of the promises that the run measured.
        moved: ledger entries of names that show another version from now on.

    Returns:
        The new publications.

    Raises:
        Conflict: another process published one of the products meanwhile.
    """
    entries: dict[str, list[dict[str, Any]]] = {
        "audits": [], "publications": [], "contracts": [], "statistics": []
    }  # fmt: skip
    for candidate, result in audited:
        entry = audit_entry(run_id, candidate, result)
        relation = candidate.product.relation
        basis, promised = bases[relation], contracts.get(relation)
        common = {
            "run_id": run_id,
            "domain": candidate.product.domain,
            "product": candidate.product.name,
            "started_at": run_entry["started_at"],
            "finished_at": datetime.now(UTC),
        }
        publication_id = str(uuid.uuid4())
        entries["audits"].append(entry)
        entries["publications"].append(
            {
                **common,
                "publication_id": publication_id,
                "version": candidate.product.version,
                "kind": "publish",
                "snapshot_id": candidate.staged.snapshot_id,
                "input_snapshots": dict(basis.input_snapshots),
                "code_version": basis.code_version,
                "rows": candidate.rows,
                "bytes": candidate.bytes,
                "audit_id": entry["audit_id"],
                "score": entry["score"],
                "contract_hash": promised.hash if promised else None,
                "changes": list(changes[relation]) if changes.get(relation) else None,
            }
        )
        if promised:
            version = candidate.product.version
            stored = {"version": version, "hash": promised.hash, "contract": promised.text}
            entries["contracts"].append({**common, **stored})
        if relation in statistics:
            measured = {"publication_id": publication_id, "statistics": dict(statistics[relation])}
            entries["statistics"].append({**common, **measured})
    staged = [candidate.staged for candidate, _ in audited]
    published = entries["publications"]
    entries["publications"] = [*published, *map(dict, moved)]
    ledger.commit([*staged, *others], {**entries, "objectives": objectives, "runs": [run_entry]})
    return published


def audit_entry(run_id: str, candidate: Candidate, result: AuditResult) -> dict[str, Any]:
    """The ledger entry of an audit."""
    return {
        "run_id": run_id,
        "audit_id": str(uuid.uuid4()),
        "domain": candidate.product.domain,
        "product": candidate.product.name,
        "passed": result.passed,
        "score": Decimal(str(result.score)).quantize(Decimal("0.01")),
        "rows": candidate.rows,
        "checks": result.as_json(),
        "started_at": result.started_at,
        "finished_at": result.finished_at,
    }


def rollback(engine: Engine, ledger: Ledger, product: Product) -> Mapping[str, Any]:
    """Shows the previous publication of one product again, also under its aliases.

    Returns:
        The ledger entry of the publication that is shown now.

    Raises:
        MeshError: there is no publication before the one that is shown.
    """
    history = product_history(ledger, product)
    standing = effective_publications(history)
    if len(standing) < 2:
        count = "was never published" if not standing else "has only one publication"
        if engine.store.environment:
            count += f" in the environment {engine.store.environment}"
        raise MeshError(f"{product.relation} {count}, so there is nothing to go back to.")
    current, previous = standing[-1], standing[-2]
    if previous["version"] != current["version"]:
        raise MeshError(
            f"{product.relation} shows version {current['version']}, and the publication before "
            f"is of version {previous['version']}, whose columns may differ. Nothing was changed: "
            "a rollback stays within a version. To show the other version under this name, set "
            f"`latest_version: {previous['version']}` and run {product.domain}."
        )
    started_at = datetime.now(UTC)
    staged = engine.restore(product, previous["snapshot_id"])
    entry = {
        **{key: previous.get(key) for key in KEPT},
        "domain": product.domain,
        "product": product.name,
        "run_id": str(uuid.uuid4()),
        "publication_id": str(uuid.uuid4()),
        "kind": "rollback",
        "started_at": started_at,
        "finished_at": datetime.now(UTC),
    }
    ledger.commit([staged, *followers(engine, [(product, staged)])], {"publications": [entry]})
    return previous


def product_history(ledger: Ledger, product: Product) -> list[dict[str, Any]]:
    """Every publication and rollback of a product, oldest first."""
    return publications_of(ledger, product.domain).get(product.relation, [])
