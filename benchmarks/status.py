"""What `mesh status` reads after 100,000 publications, compared with 100.

Both lakes have the same products; only their histories differ. The figure is the time of the
platform's own work in one process, without the interpreter's start and imports.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.repository import Repository
from meshhouse.runs.status import product_statuses

MANY, FEW = 100_000, 100
REPEATED = 5


def main() -> None:
    """Measures, and prints one line for each."""
    repository = Repository.find()
    seconds = {count: measured(repository, count) for count in (FEW, MANY)}
    for count, each in seconds.items():
        print(f"{count:>7,} publications: {each * 1000:.0f} ms")
    print(f"ratio {seconds[MANY] / seconds[FEW]:.2f}, aim at most 1.5, and under 1 s")


def measured(repository: Repository, count: int) -> float:
    """Seconds of own work of one status after `count` publications, the fastest of a few."""
    with tempfile.TemporaryDirectory() as scratch:
        ledger = LakeLedger(Lake(Path(scratch)))
        publish_often(ledger, repository, count)
        product_statuses(repository, ledger)  # loads libraries
        times = []
        for _ in range(REPEATED):
            started = time.perf_counter()
            statuses = product_statuses(repository, ledger)
            times.append(time.perf_counter() - started)
        assert statuses
        assert all(each.published_at for each in statuses)
        return min(times)


def publish_often(ledger: LakeLedger, repository: Repository, count: int) -> None:
    """Records publications of all products in turn, in two commits."""
    products = [each for domain in repository.domains for each in domain.products]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    publications: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for number in range(count):
        product, at = products[number % len(products)], start + timedelta(minutes=number)
        common = {"domain": product.domain, "run_id": str(number), "finished_at": at}
        publications.append(
            {
                **common,
                "product": product.name,
                "publication_id": str(number),
                "kind": "publish",
                "version": product.version,
                "snapshot_id": number,
                "input_snapshots": {},
                "rows": number,
                "bytes": number,
                "score": Decimal(100),
            }
        )
        runs.append({**common, "outcome": "published", "products": {product.name: "published"}})
    last = len(products)
    ledger.commit([], {"publications": publications[:-last], "runs": runs[:-last]})
    ledger.commit([], {"publications": publications[-last:], "runs": runs[-last:]})


if __name__ == "__main__":
    main()
