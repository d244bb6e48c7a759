"""Values that a declaration or a row holds of a protected column are in no file of a site."""

from __future__ import annotations

import re

import pytest

ORDERS = "domains/shop/models/products/orders"
PLANTED = re.compile("Ottilie|Zebediah|WebshopX|KioskstandX|BranchlaneX|Quillon|88776[0-9]")
"""Values of `first_name` and `channel`; those of accepted values, conditions and bounds."""

MODEL = """select
    cast(sale_id as bigint) as order_id,
    cast(customer_id as bigint) as customer_id,
    cast(amount as decimal(12, 2)) as amount,
    cast(sold_at as {{ type_timestamptz() }}) as sold_at,
    cast(case when sale_id = 1 then 'Ottilie' else 'Zebediah' end as varchar) as first_name,
    cast(case when amount = 887761 then 'KioskstandX' else 'WebshopX' end as varchar) as channel
from {{ ref('stg_sales') }}
where customer_id <> 887762
"""
CHECKS = """columns:
  - name: order_id
    checks:
      - missing:
      - duplicate:
  - name: amount
    checks:
      - invalid: {valid_min: 0, name: No negative amounts}
  - name: channel
    checks:
      - invalid: {valid_values: [WebshopX, KioskstandX], name: Only WebshopX or KioskstandX}
      - missing: {name: No Quillon, filter: "channel <> 'Quillon'"}
checks:
  - schema:
  - row_count: {threshold: {must_be_greater_than: 0}}
  - failed_rows: {name: Nobody is Quillon, qualifier: Quillon, expression: "channel = 'Quillon'"}
"""


@pytest.fixture(scope="module")
def planted(new_mesh):
    mesh = new_mesh()
    mesh.edit(
        f"{ORDERS}.yml",
        "      - {name: sold_at, data_type: timestamptz, description: When.}",
        "      - {name: sold_at, data_type: timestamptz, description: When.}\n"
        "      - {name: first_name, data_type: varchar, description: How people call the buyer.}\n"
        "      - {name: channel, data_type: varchar, description: Where.,"
        " config: {meta: {classification: confidential}}}",
    )
    (mesh.root / f"{ORDERS}.sql").write_text(MODEL)
    (mesh.root / f"{ORDERS}.checks.yml").write_text(CHECKS)
    mesh.sell(1, customer=5, amount=1.5)
    mesh.sell(2, customer=6, amount=2.5)
    mesh.run("run")
    mesh.edit(f"{ORDERS}.sql", "887762", "887763")
    mesh.edit(f"{ORDERS}.sql", "amount = 887761", "amount = 887764")
    mesh.edit(f"{ORDERS}.checks.yml", "[WebshopX, Ki", "[WebshopX, BranchlaneX, Ki")
    mesh.run("run")
    return mesh


@pytest.mark.parametrize("consumer", ["", "crm"])
def test_no_file_of_a_site_holds_values_of_protected_columns(planted, consumer):
    recorded = str(planted.history("shop.orders"))
    assert PLANTED.search(recorded), "the changes do not hold the values that this test is about"
    folder = planted.root / f"site-{consumer}"
    planted.run("catalog", "build", "-o", str(folder), *(["--for", consumer] if consumer else []))
    found = {
        f"{path.relative_to(folder)}: {each.group()}"
        for path in folder.rglob("*")
        if path.is_file()
        for each in PLANTED.finditer(path.read_text(errors="replace"))
    }
    assert not found
    page = (folder / "products/shop/orders.html").read_text()
    assert "No negative amounts" in page
    assert "A change of kind V2 of column" in page


def test_an_owner_sees_what_only_its_domain_may_see_and_no_names_of_people(planted):
    folder = planted.root / "site-shop"
    planted.run("catalog", "build", "-o", str(folder), "--for", "shop")
    page = (folder / "products/shop/orders.json").read_text()
    assert "BranchlaneX" in page
    assert not re.search("Ottilie|Zebediah", page)
