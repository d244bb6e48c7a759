"""The guide to change events works as written: rows follow the database, deletions included."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tests.conftest import Mesh
from tests.support.tiny import ROOT

PAGE = ROOT / "docs" / "guides" / "debezium.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def change(op: str, number: int, lsn: int, **state: Any) -> tuple[bytes, bytes]:
    row = {"id": number, "email": "a@example.com", "credit": 10.5, "born_on": 8905,
           "changed_at": 1712917800000001, **state}  # fmt: skip
    source = {"connector": "postgresql", "ts_ms": 1712917800000, "table": "customers", "lsn": lsn}
    before, after = (row, None) if op == "d" else (None, row)
    envelope = {"before": before, "after": after, "source": source, "op": op, "ts_ms": 1}
    return json.dumps({"id": number}).encode(), json.dumps(envelope).encode()


def test_the_guide_runs_and_rows_follow_the_database(mesh: Mesh):
    for path in ("products/orders", "products/totals", "staging/stg_sales"):
        for file in mesh.root.glob(f"domains/shop/models/{path}.*"):
            file.unlink()
    for folder in ("domains/crm", "models/overview", "models/staging"):
        shutil.rmtree(mesh.root / folder)
    mesh.write("dependencies.yml", "projects: []\n")
    commands: list[str] = []
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "sh":
            commands += text.splitlines()
        else:
            path = re.match(r"(?:#|--) (\S+)\n", text)
            assert path, text
            mesh.write(path[1], text)
    deleted, tombstone = change("d", 2, 12), (b'{"id": 2}', None)
    mesh.send("shop.public.customers", [
        change("r", 1, 10), change("r", 2, 10), change("r", 3, 10), change("u", 1, 11, credit=7),
        deleted, tombstone, (b'{"id": 9}', b'{"flat": 1}'),
    ])  # fmt: skip
    for each in commands:
        mesh.run(*shlex.split(each)[1:])
    at = datetime(2024, 4, 12, 10, 30, 0, 1)  # noqa: DTZ001
    born = date(1994, 5, 20)
    assert mesh.rows("select * from shop.customers order by id") == [
        (1, Decimal("7.00"), born, at), (3, Decimal("10.50"), born, at),
    ]  # fmt: skip
    assert "is not a Debezium envelope" in mesh.run("rejected", "list", "shop_raw.customers").stdout

    # A second connector repeats an old state behind the newer one.
    mesh.send("shop.public.customers", [change("c", 2, 13, credit=1), change("u", 1, 9, credit=99)])
    mesh.edit(
        "domains/shop/models/staging/stg_customers.sql",
        "source('shop_raw', 'customers'))", "source('shop_raw', 'customers'), '__position')",
    )  # fmt: skip
    mesh.run("land", "shop")
    mesh.run("run", "shop", "--confirm", "the position decides", code=None)
    rows = mesh.rows("select id, credit from shop.customers order by id")
    assert rows == [(1, Decimal("7.00")), (2, Decimal("1.00")), (3, Decimal("10.50"))]
