"""The guide to nested fields works as written: its files, its commands, and what it promises."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from decimal import Decimal

from tests.conftest import Mesh
from tests.support.tiny import ROOT

PAGE = ROOT / "docs" / "guides" / "nested-fields.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CUSTOMER = "struct<id bigint, address struct<zip string, city string>>"
CART = {
    "cart_id": 1,
    "customer": {"id": 7, "address": {"zip": "04051", "city": "Basel"}},
    "lines": [{"sku": "a", "price": "1234567890.10", "tags": {"size": "L"}}, {"sku": "b"}],
    "payload": {"page": {"campaigns": ["spring"]}},
}


def follow(mesh: Mesh, page: str) -> list[str]:
    """Writes the files of a page; returns its commands."""
    commands: list[str] = []
    for kind, text in BLOCK.findall(page):
        if kind == "sh":
            commands += text.splitlines()
        else:
            path = re.match(r"(?:#|--) (\S+)\n", text)
            assert path, text
            mesh.write(path[1], text)
    return commands


def test_the_guide_runs_and_publishes_nested_columns(mesh):
    for path in ("products/orders", "products/totals", "staging/stg_sales"):
        for file in mesh.root.glob(f"domains/shop/models/{path}.*"):
            file.unlink()
    for folder in ("domains/crm", "models/overview", "models/staging"):
        shutil.rmtree(mesh.root / folder)
    mesh.write("dependencies.yml", "projects: []\n")
    commands = follow(mesh, PAGE.read_text())
    bad = {**CART, "cart_id": 3, "lines": [{"sku": "a", "price": 1.999}]}
    new = {**CART, "cart_id": 2, "customer": {"id": 8, "vip": True}}
    mesh.send("shop.carts", [(b"k", json.dumps(each).encode()) for each in (CART, new, bad)])
    done = [mesh.run(*shlex.split(each)[1:]) for each in commands]
    outputs = [each.stdout + each.stderr for each in done]
    assert "customer.vip" in outputs[1]
    [first, second] = mesh.rows("select cart_id, delivery, lines from shop.carts order by all")
    lines = [{"sku": "a", "price": Decimal("1234567890.10")}, {"sku": "b", "price": None}]
    assert first == (1, {"zip": "04051", "campaign": "spring"}, lines)
    assert second == (2, {"zip": None, "campaign": "spring"}, lines)
    rejected = mesh.run("rejected", "list", "shop_raw.carts").stdout
    assert "lines[0].price" in rejected
    assert "struct<zip string, campaign string>" in mesh.run("show", "shop.carts").stdout
    assert mesh.run("check", "--target", "all").returncode == 0
    staging = "domains/shop/models/staging/stg_carts.sql"
    macro = "{{ nested_field('customer', 'address.zip', 'string') }} as zip"
    cast = f"{{{{ dbt.cast('customer', '{CUSTOMER}') }}}} as whole"
    mesh.edit(staging, macro, f"customer.address.zip as zip,\n    {cast}")
    found = mesh.run("check", "--target", "all", code=1)
    assert re.search(
        r"stg_carts.sql:5: a field of a struct behind a dot is not the same.*nested_field",
        (found.stdout + found.stderr).replace("\n", " "),
    )
    assert "stg_carts.sql:6: a cast of a struct is not the same" in found.stdout + found.stderr
    mesh.edit(staging, f"customer.address.zip as zip,\n    {cast}", macro)
    mesh.edit(
        "domains/shop/models/products/carts.yml", "price decimal(12,2)>>", "price decimal(12,3)>>"
    )
    mesh.edit(
        "domains/shop/models/products/carts.sql", "price decimal(12,2)>", "price decimal(12,3)>"
    )
    diff = mesh.run("diff", "shop.carts", code=None).stdout
    assert "lines.price" in diff
