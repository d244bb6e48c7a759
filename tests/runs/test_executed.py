"""Which columns of other domains a run reads: with models, snapshots, later builds and tests."""

from __future__ import annotations

from meshhouse.governance.readers import Readers
from meshhouse.runs.contracts import DeclaredContracts
from meshhouse.runs.parse import fresh_manifest
from tests.conftest import Mesh

CRM = "domains/crm"
STAGING = f"{CRM}/models/staging/stg_shop__orders.sql"
CUSTOMERS = f"{CRM}/models/products/customers.sql"


def readers(mesh: Mesh) -> Readers:
    """Who reads `shop.orders`, as the declared contract of `crm.customers` says."""
    repository = mesh.repository
    crm = repository.domain("crm")
    made = DeclaredContracts(repository, crm, fresh_manifest(repository, crm))
    return Readers.of(("shop.orders",), [made.of(repository.product("crm.customers"))])


def of_sold_at(mesh: Mesh) -> list[str]:
    return sorted({str(each) for each in readers(mesh).hits("sold_at")})


def write(mesh: Mesh, path: str, text: str) -> None:
    file = mesh.root / CRM / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_nothing_reads_a_column_that_no_query_names(mesh):
    assert of_sold_at(mesh) == []


def test_a_condition_in_a_later_model(mesh):
    mesh.edit(CUSTOMERS, "group by", "where amount = 7\ngroup by")
    hits = readers(mesh).hits("amount", lambda read: "7" in read.literals)
    assert [each.reader for each in hits] == ["crm.customers"]


def test_the_later_builds_of_an_incremental_model(mesh):
    mesh.edit(STAGING, "select\n", "{{ config(materialized='incremental') }}\nselect\n")
    since = "{% if is_incremental() %}\nwhere sold_at > (select now())\n{% endif %}\n"
    file = mesh.root / STAGING
    file.write_text(file.read_text() + since)
    [hit] = of_sold_at(mesh)
    assert hit.startswith("crm.stg_shop__orders.")


def test_dbt_tests_and_a_model_that_only_a_test_reads(mesh):
    joined = (
        "select o.order_id from {{ ref('stg_shop__orders') }} as s "
        "join {{ %s }} as o using (order_id) where o.sold_at is null"
    )
    write(mesh, "tests/dated.sql", joined % "ref('shop', 'orders')")
    write(mesh, "tests/timed.sql", joined % "ref('only_tested')")
    write(
        mesh, "models/only_tested.sql", "select order_id, sold_at from {{ ref('shop', 'orders') }}"
    )
    write(
        mesh,
        "models/staging/stg.yml",
        """
version: 2
models:
  - name: stg_shop__orders
    columns:
      - name: order_id
        data_tests:
          - not_null
          - relationships: {name: sold, arguments: {to: "ref('shop', 'orders')", field: sold_at}}
      - name: amount
        data_tests:
          - accepted_values: {name: listed, arguments: {values: ["7"]}}
""",
    )
    assert of_sold_at(mesh) == [
        "crm.only_tested.sold_at",
        "crm.stg_shop__orders (check dated)",
        "crm.stg_shop__orders (check sold)",
    ]
    hits = readers(mesh).hits("amount", lambda read: "7" in read.literals)
    assert [str(each) for each in hits] == ["crm.stg_shop__orders (check listed)"]


def test_a_snapshot_of_a_product(mesh):
    write(
        mesh,
        "snapshots/kept.sql",
        """
{% snapshot kept %}
{{ config(unique_key='order_id', strategy='timestamp', updated_at='sold_at') }}
select order_id, customer_id, amount, sold_at from {{ ref('shop', 'orders') }}
{% endsnapshot %}
""",
    )
    file = mesh.root / STAGING
    file.write_text(
        "select order_id, customer_id, amount from {{ ref('kept') }} where dbt_valid_to is null\n"
    )
    assert of_sold_at(mesh) == ["crm.kept.sold_at"]


def test_a_test_that_does_not_compile_may_read_every_column(mesh):
    sql = "select 1 as a from {{ ref('shop', 'orders') }} as o join {{ ref('stg_shop__orders') }}"
    write(
        mesh,
        "tests/dated.sql",
        sql + " using (order_id) {% if execute %}{{ run_query('select 1') }}{% endif %}",
    )
    [hit] = of_sold_at(mesh)
    assert hit == "crm.stg_shop__orders (check dated)"
