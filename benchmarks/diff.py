"""`mesh diff`: the rows of a million keys, and the contracts of one domain in a mesh of 200.

The mesh is generated in a scratch folder: every domain has ten products and a ledger entry with a
contract for each. The figure beside is what dbt needs to parse the one domain.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb

from meshhouse import dbt
from meshhouse.engines import engine
from meshhouse.repository import Repository
from meshhouse.runs.contracts import DeclaredContracts
from meshhouse.runs.diff import declared_difference
from meshhouse.runs.parse import fresh_manifest
from meshhouse.runs.row_diff import compare_rows

ROWS, DOMAINS, PRODUCTS = 1_000_000, 200, 10
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
    repository = generated(root)
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


def generated(root: Path) -> Repository:
    """A mesh of many domains, each with ten products over one topic."""
    here = Repository.find().root
    for name in ("macros", "profiles"):
        shutil.copytree(here / name, root / name)
    _project(root, "mesh")
    for number in range(DOMAINS):
        name = f"d{number:03}"
        folder = root / "domains" / name
        _project(folder, name)
        models = folder / "models"
        models.mkdir()
        (models / "domain.yml").write_text(
            f"groups:\n  - name: {name}\n    owner: {{name: {name}, email: {name}@mesh.example}}\n"
        )
        for at in range(PRODUCTS):
            (models / f"p{at}.sql").write_text(
                f"select cast({at} as bigint) as id, cast(amount * 2 as decimal(12, 2)) as amount\n"
                "from (select cast(1 as decimal(12, 2)) as amount) as given\n"
            )
            (models / f"p{at}.checks.yml").write_text("checks:\n  - schema:\n")
            (models / f"p{at}.yml").write_text(
                f"models:\n  - name: p{at}\n    description: One row per id.\n    config:\n"
                f"      access: public\n      group: {name}\n      contract: {{enforced: true}}\n"
                "      meta: {grain: [id]}\n    columns:\n"
                "      - {name: id, data_type: bigint, description: The id.}\n"
                '      - {name: amount, data_type: "decimal(12,2)", description: What was paid.}\n'
            )
    return Repository(root)


def _project(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    macros = "macros" if name == "mesh" else "../../macros"
    (folder / "dbt_project.yml").write_text(
        f"name: {name}\nversion: 1.0.0\nconfig-version: 2\nprofile: meshhouse\n"
        f"model-paths: [models]\nmacro-paths: [{macros}]\n"
        f"models:\n  {name}:\n    +materialized: table\n"
    )


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
