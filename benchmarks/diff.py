"""`mesh diff`: the rows of a million keys, and the contracts of one domain in a mesh of 200.

The mesh is generated in a scratch folder: every domain has ten products and a ledger entry with a
contract for each. The figure beside is what dbt needs to parse the one domain.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb

from benchmarks.generated import mesh_of
from meshhouse import dbt
from meshhouse.engines import engine
from meshhouse.repository import Repository
from meshhouse.runs.contracts import DeclaredContracts
from meshhouse.runs.diff import declared_difference
from meshhouse.runs.parse import fresh_manifest
from meshhouse.runs.row_diff import compare_rows

ROWS, DOMAINS = 1_000_000, 200
_TABLE = (
    "select i as order_id, i % 1000 as customer_id, (i * 1.5)::decimal(14, 2) as amount, "
    "timestamp '2017-01-01' + to_seconds(i) as sold_at, 'text ' || i as note, i % 7 as kind "
    "from range({rows}) as t(i)"
)


def main() -> None:
    """Measures, and prints one line for each."""
    seconds, scan = row_seconds()
    print(
        f"{ROWS:,} rows, each with a changed value: {seconds:.1f} s, {seconds / scan:.0f} times a "
        "scan of both tables, aim under 10 s"
    )
    with tempfile.TemporaryDirectory() as scratch:
        seconds, own, parsing = contract_seconds(Path(scratch))
    print(
        f"contracts of one changed domain of {DOMAINS}: {seconds:.1f} s ({own:.1f} s of CPU), "
        f"dbt's parse of it {parsing:.1f} s, ratio {seconds / parsing:.1f}, aim under 5 s"
    )


def row_seconds() -> tuple[float, float]:
    """Seconds of a comparison, and of a scan of both tables."""
    connection = duckdb.connect(config={"memory_limit": "1GiB", "threads": 2})
    connection.execute(f"create table earlier as {_TABLE.format(rows=ROWS)}")
    changed = _TABLE.format(rows=ROWS).replace("1.5", "150")
    connection.execute(f"create table later as {changed}")

    def rows(sql: str) -> list[dict[str, object]]:
        cursor = connection.execute(sql)
        names = [each[0] for each in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    started = time.perf_counter()
    for table in ("earlier", "later"):
        rows(f"select max(hash(t)) from {table} as t")
    scan = time.perf_counter() - started
    started = time.perf_counter()
    found = compare_rows(rows, "earlier", "later", ["order_id"], ["order_id", "amount"])
    seconds = time.perf_counter() - started
    assert found.changed
    return seconds, scan


def contract_seconds(root: Path) -> tuple[float, float, float]:
    """Seconds for the contracts of one changed domain, CPU seconds, and of dbt's parse of it."""
    repository = mesh_of(root, DOMAINS)
    ledger = engine(repository).ledger
    domain = repository.domain("d000")
    contract = DeclaredContracts(repository, domain, fresh_manifest(repository, domain))
    texts = [contract.of(each) for each in domain.products]
    ledger.commit([], {"publications": [
        _publication(other, product.name, texts[at].hash)
        for other in repository.domain_names[:-1]
        for at, product in enumerate(domain.products)
    ], "contracts": [
        {"domain": other, "product": product.name, "version": 1, "hash": texts[at].hash,
         "contract": texts[at].text.replace("d000", other), "finished_at": _now(), "run_id": other}
        for other in repository.domain_names[:-1]
        for at, product in enumerate(domain.products)
    ]})  # fmt: skip
    sql = domain.products[0].sql_path
    sql.write_text(sql.read_text().replace("amount * 2", "amount * 3"))
    repository = Repository(root)
    started = time.perf_counter()
    dbt.parse(repository, "d000")
    parsing = time.perf_counter() - started
    repository = Repository(root)
    started, used = time.perf_counter(), time.process_time()
    found = declared_difference(repository, engine(repository), ["d000"])
    seconds, own = time.perf_counter() - started, time.process_time() - used
    assert found.judged
    assert not found.broken
    return seconds, own, parsing


def _publication(domain: str, product: str, contract_hash: str) -> dict[str, object]:
    return {
        "domain": domain, "product": product, "publication_id": f"{domain}.{product}",
        "run_id": domain, "finished_at": _now(), "kind": "publish", "version": 1, "snapshot_id": 1,
        "input_snapshots": {}, "rows": 1, "bytes": 1, "score": Decimal(100),
        "code_version": "before", "contract_hash": contract_hash,
    }  # fmt: skip


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
