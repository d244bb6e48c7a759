"""What a failed check shows: rows without personal data, as text; and how to go on."""

from __future__ import annotations

from meshhouse.dagster.checks import as_code
from tests.conftest import Mesh

YAML = "domains/shop/models/products/orders.yml"
SQL = "domains/shop/models/products/orders.sql"
CHECKS = "domains/shop/models/products/orders.checks.yml"


def test_a_product_that_loses_rows_rightly_is_published_as_the_message_says(mesh: Mesh) -> None:
    mesh.sell(*range(20))
    mesh.run("run", "shop")
    mesh.edit(SQL, "from {{ ref('stg_sales') }}", "from {{ ref('stg_sales') }}\nwhere sale_id < 10")
    said = mesh.run("run", "shop", code=1).stderr
    assert "found 50, must be at least 90 (if fewer rows are right, run `mesh run shop" in said
    assert "`mesh rollback shop.orders`" in said
    mesh.run("run", "shop", "--confirm", "only the first ten were sold")
    assert mesh.row("select count(*) from shop.orders") == (10,)


def test_sample_rows_are_text_without_personal_values(mesh: Mesh) -> None:
    mesh.sell(1, customer=4711)
    mesh.edit(
        YAML,
        "data_type: bigint, description: Who bought.}",
        "data_type: bigint, description: Who bought., config: {meta: {classification: personal}}}",
    )
    mesh.write(
        CHECKS,
        (mesh.root / CHECKS).read_text()
        + """
  - failed_rows:
      name: Nothing hides
      qualifier: hides
      query: select order_id, customer_id, customer_id as who, amount from shop.orders
      threshold: {must_be: 0}
""",
    )
    said = mesh.run("run", "shop", code=1).stderr
    assert "order_id=1, customer_id=***, who=***, amount=1.50" in said
    assert "4711" not in said


def test_sample_rows_hide_personal_columns_of_other_products(mesh: Mesh) -> None:
    """The consumer declares the same column as not personal; the owner's word counts."""
    mesh.sell(1, customer=4711, amount=1.5)
    mesh.run("run", "shop")
    text = (mesh.root / YAML).read_text()
    personal = "description: Who bought., config: {meta: {classification: sensitive}}}"
    mesh.edit(YAML, "description: Who bought.}", personal)
    queries = {
        "joined": "select c.orders, c.customer_id, o.customer_id as who, c.spent as paid "
        'from crm.customers c join "SHOP" . /* */ "Orders" o using (customer_id)',
        "alone": "select orders, customer_id, spent as paid from crm.customers",
    }
    checks = "domains/crm/models/products/customers.checks.yml"
    mesh.write(
        checks,
        (mesh.root / checks).read_text()
        + "".join(
            f"""
  - failed_rows:
      name: {name}
      qualifier: {name}
      query: |
        {query}
      threshold: {{must_be: 0}}
"""
            for name, query in queries.items()
        ),
    )
    said = mesh.run("run", "crm", code=1).stderr
    assert "orders=1, customer_id=***, who=***, paid=***" in said
    assert "orders=1, customer_id=4711, paid=1.50" in said

    mesh.write(YAML, text + "\nmodels: [")  # nobody can say now which columns are personal
    said = mesh.run("run", "crm", code=1).stderr
    assert "orders=***, customer_id=***, who=***, paid=***" in said
    assert "orders=1, customer_id=4711, paid=1.50" in said


def test_rows_in_markdown_stay_inside_their_block() -> None:
    row = {"a": "```<b>|", "b": "\x1b[31m\u202e\n# no title"}
    first, shown, last = as_code([row]).splitlines()
    assert first == last == "````"
    assert all(each.isprintable() for each in shown)
