"""Gathering the documents of a catalog from a ledger with many products and long histories.

    python -m benchmarks.catalog_gather [--domains 20] [--products 10] [--publications 30]

Belongs here: a ledger written directly, and what reading it costs. Not here: what writing the site
costs (catalog.py). No table is published, so the look at the files of published tables is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.catalog import cpu
from benchmarks.generated import mesh_of
from meshhouse.catalog.build import Catalog
from meshhouse.catalog.gather import gather
from meshhouse.engines import engine
from meshhouse.garbage import look_seldom
from meshhouse.governance.contract import Contract
from meshhouse.ledger import Ledger
from meshhouse.repository import Product, Repository

COLUMNS, CHECKS = 20, 24
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
T = TypeVar("T")


def main() -> None:
    """Measures, and prints one line for each figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m benchmarks.catalog_gather"
    )
    parser.add_argument("--domains", type=int, default=20)
    parser.add_argument("--products", type=int, default=10, help="of each domain")
    parser.add_argument("--publications", type=int, default=30, help="of each product")
    asked = parser.parse_args()
    look_seldom()  # as `mesh` does
    with tempfile.TemporaryDirectory() as scratch:
        repository = mesh_of(Path(scratch, "mesh"), asked.domains, asked.products)
        ledger = engine(repository).ledger
        products = [each for domain in repository.domains for each in domain.products]
        record(ledger, products, asked.publications)
        chosen = engine(repository)

        def gathered() -> object:
            return gather(Repository(repository.root), chosen, now=NOW)

        measured("gathering, with what a process loads once", gathered)
        measured("gathering", gathered)
        catalog = Catalog(repository, chosen, folder=Path(scratch, "site"))
        measured("full build", catalog.build)
        # Declarations are only reused if their files were older than two seconds.
        measured("nothing changed", catalog.build)
        settle(repository.root)
        measured("nothing changed, files settled", catalog.build)
        publish(ledger, products[:1], asked.publications, datetime.now(UTC))
        built = measured("after one publication, same process", catalog.build)
        print(f"  {len(built.written)} files written")
        publish(ledger, products[:1], asked.publications + 1, datetime.now(UTC))
        command = [sys.executable, "-m", "meshhouse.cli.main", "catalog", "build"]
        command += ["-o", str(catalog.folder)]
        place = {**os.environ, "MESH_ROOT": str(repository.root)}

        def build_in_a_new_process() -> None:
            subprocess.run(command, env=place, check=True)

        measured("after one publication, `mesh catalog build`", build_in_a_new_process)


def settle(root: Path) -> None:
    """Makes all files an hour old: of files that changed just now, nothing is proved."""
    for path in root.rglob("*"):
        os.utime(path, (time.time() - 3600, time.time() - 3600))


def measured(name: str, work: Callable[[], T]) -> T:
    """Does something, and prints wall time and CPU time."""
    before, started = cpu(), time.perf_counter()
    found = work()
    print(f"{name}: {time.perf_counter() - started:.2f} s, CPU {cpu() - before:.2f} s", flush=True)
    return found


def record(ledger: Ledger, products: list[Product], publications: int) -> None:
    """Records publications of all products, each with its run, audit and measured promise."""
    for number in range(publications):
        publish(ledger, products, number, NOW - timedelta(hours=8 * (publications - number)))


def publish(
    ledger: Ledger,
    products: list[Product],
    number: int,
    at: datetime,
    description: str = "What happened. One row per id.",
    **publication: Any,
) -> None:
    """Records one publication of each product, in one commit.

    Args:
        ledger: where.
        products: what is published.
        number: of the publication, which makes its identity.
        at: when.
        description: of the contract.
        publication: other values of the entry.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    outcomes: dict[str, dict[str, str]] = {}
    for product in products:
        contract = contract_of(product, description)
        identity = f"{product.relation} {number}"
        common = {
            "run_id": f"run-{product.domain}-{number}", "domain": product.domain,
            "started_at": at, "finished_at": at, "done_by": "ci", "product": product.name,
        }  # fmt: skip
        outcomes.setdefault(product.domain, {})[product.name] = "published"
        entries = {
            "publications": {
                "publication_id": identity, "version": 1, "kind": "publish", "snapshot_id": number,
                "input_snapshots": {}, "code_version": "1", "rows": 1000 + number, "bytes": 10**6,
                "audit_id": identity, "score": Decimal(100), "contract_hash": contract.hash,
                **publication,
            },
            "audits": {
                "audit_id": identity, "passed": True, "score": Decimal(100), "rows": 1000,
                "checks": [
                    {"key": f"check_{each}", "name": f"Check {each}", "column": "id",
                     "kind": "missing", "outcome": "passed", "value": 0.0,
                     "threshold": "must be 0"}
                    for each in range(CHECKS)
                ],
            },
            "contracts": {"version": 1, "hash": contract.hash, "contract": contract.text},
            "statistics": {"publication_id": identity, "statistics": statistics()},
            "objectives": {
                "objective": "refreshed_within_hours", "target": 4.0, "measured": 0.5, "met": True,
            },
        }  # fmt: skip
        for name, entry in entries.items():
            rows.setdefault(name, []).append({**common, **entry})
    rows["runs"] = [
        {"run_id": f"run-{domain}-{number}", "domain": domain, "started_at": at, "finished_at": at,
         "done_by": "ci", "outcome": "published", "products": became,
         "milliseconds": dict.fromkeys(became, 1000)}
        for domain, became in outcomes.items()
    ]  # fmt: skip
    ledger.commit([], rows)


def contract_of(product: Product, description: str) -> Contract:
    """A contract with 20 columns, 24 checks, SQL, and a topic."""
    columns = ", ".join(f"cast(column_{each:02} as bigint) as column_{each:02}"
                        for each in range(COLUMNS))  # fmt: skip
    topic = f"{product.domain}_raw.events"
    return Contract(
        {
            "format": 2, "product": product.plain_relation, "domain": product.domain,
            "model": product.model, "version": 1, "versioned": False, "latest_version": 1,
            "relation": product.relation, "target": "local", "access": "public",
            "description": description, "enforced": True, "kind": "table",
            "owner": {"name": "Team", "email": "team@mesh.example"},
            "grain": {"columns": ["id"], "text": "One row per id."},
            "columns": [
                {"name": f"column_{each:02}", "type": "bigint", "description": "A number.",
                 "required": each < 3, "lineage": "known", "roots": [f"{topic}.column_{each:02}"]}
                for each in range(COLUMNS)
            ],
            "checks": [
                {"id": f"check_{each}", "kind": "missing", "column": "id", "severity": "error",
                 "source": "soda", "name": f"Check {each}"}
                for each in range(CHECKS)
            ],
            "promises": {"refreshed_within_hours": 24},
            "models": {product.model: {"sql": f"select {columns} from {topic}"}},
            "reads": [],
            "topics": {
                topic: {"raw_table": topic, "format": "json",
                        "fields": {f"column_{each:02}": {"type": "bigint"}
                                   for each in range(COLUMNS)}}
            },
        }
    )  # fmt: skip


def statistics() -> str:
    """What is measured of a published table."""
    top = [[word, 10] for word in ("a", "b", "c", "d", "e")]
    columns = {f"column_{each:02}": {"nulls": 1, "distinct": 5, "top": top}
               for each in range(COLUMNS)}  # fmt: skip
    return json.dumps({"rows": 1000, "columns": columns})


if __name__ == "__main__":
    main()
