"""The code version covers everything that decides the rows, and nothing of another product."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from meshhouse.repository.manifest import Manifest
from meshhouse.repository.manifest_file import is_fresh
from meshhouse.repository.project import tool_versions
from meshhouse.runs.parse import fresh_manifest
from tests.conftest import Mesh

SHOP = "domains/shop"
TOTALS = """\
select
    cast(count(*) as bigint) as orders,
    cast(
        sum(o.amount * r.rate * {{
            var('factor')
        }} * {{\tenv_var('SHOP_FACTOR', '1') }})
        * {{ helpers.from_package() }} * {{
own_factor()
}} as decimal(18, 2)
    ) as amount
from {{ ref('orders') }} as o
inner join {{ ref('rates') }} as r on o.customer_id = r.customer_id
inner join {{ ref('history') }} as h on o.order_id = h.order_id
"""
SNAPSHOT = """\
snapshots:
  - name: history
    relation: ref('orders')
    config: {unique_key: order_id, strategy: check, check_cols: [amount]}
"""
ADDED = """
seed-paths: [data]
vars: {factor: 10, other: 1}
on-run-start: ["select 1"]
dispatch:
  - {macro_namespace: helpers, search_order: [shop, helpers]}
"""


def prepare(mesh: Mesh) -> None:
    """`totals` is made of all that can decide rows; `orders` and `plain` of none of it."""
    mesh.write(f"{SHOP}/models/products/totals.sql", TOTALS)
    mesh.write(f"{SHOP}/snapshots/history.yml", SNAPSHOT)
    mesh.write(f"{SHOP}/data/rates.csv", "customer_id,rate\n1,2\n")
    mesh.edit(f"{SHOP}/dbt_project.yml", "\nflags:", f"{ADDED}\nflags:")
    mesh.edit(f"{SHOP}/dbt_project.yml", "model-paths:", "macro-paths: [own]\nmodel-paths:")
    mesh.write(f"{SHOP}/own/own_factor.sql", macro("own_factor", "{{ deeper() }}"))
    mesh.write(f"{SHOP}/own/deeper.sql", macro("deeper", "3"))
    mesh.write("helpers/dbt_project.yml", "name: helpers\nversion: '1.0.0'\nvars: {inner: 1}\n")
    mesh.write("helpers/macros/helpers.sql", macro("from_package", "{{ var('inner') }}"))
    mesh.write(f"{SHOP}/packages.yml", "packages:\n  - local: ../../helpers\n")
    (mesh.root / SHOP / "dbt_packages").mkdir()
    (mesh.root / SHOP / "dbt_packages/helpers").symlink_to(mesh.root / "helpers")


def macro(name: str, text: str) -> str:
    return f"{{% macro {name}() %}}{text}{{% endmacro %}}\n"


def versions(mesh: Mesh) -> dict[str, str]:
    repository = mesh.repository
    shop = repository.domain("shop")
    manifest = fresh_manifest(repository, shop)
    assert is_fresh(repository, shop)
    return {product.name: manifest.code_version(product) for product in shop.products}


Change = Callable[[Mesh, pytest.MonkeyPatch], None]


def edit(path: str, old: str, new: str) -> Change:
    return lambda mesh, patch: mesh.edit(path, old, new)


def variable(name: str, value: str) -> Change:
    return lambda mesh, patch: patch.setenv(name, value)


def newer_dbt(mesh: Mesh, patch: pytest.MonkeyPatch) -> None:
    newer = {**tool_versions("duckdb"), "dbt-duckdb": "99"}
    for module in ("code", "project"):
        patch.setattr(f"meshhouse.repository.{module}.tool_versions", lambda adapter: newer)


PROJECT = f"{SHOP}/dbt_project.yml"
CHANGES: dict[str, tuple[Change, bool]] = {
    # Name -> the change, and whether it may also be of `orders`.
    "a seed": (edit(f"{SHOP}/data/rates.csv", "1,2", "1,3"), False),
    "a variable": (edit(PROJECT, "factor: 10", "factor: 20"), False),
    "a variable of a package": (edit("helpers/dbt_project.yml", "inner: 1", "inner: 2"), False),
    "an environment variable": (variable("SHOP_FACTOR", "2"), False),
    "a macro of a package": (edit("helpers/macros/helpers.sql", "{{ var", "1 + {{ var"), False),
    "a macro behind a macro": (edit(f"{SHOP}/own/deeper.sql", "3", "4"), False),
    "a snapshot": (edit(f"{SHOP}/snapshots/history.yml", "[amount]", "[customer_id]"), False),
    "a setting of a folder": (edit(PROJECT, "staging:", "products: {+tags: [x]}\n    staging:"),
                              True),
    "the words for a product": (edit(f"{SHOP}/models/products/totals.yml", "description: ",
                                     "description: In words, "), False),
    "the name of an owner": (edit(f"{SHOP}/models/domain.yml", "shop team", "till team"), True),
    "an owner's address": (edit(f"{SHOP}/models/domain.yml", "shop@", "till@"), True),
    "a hook around runs": (edit(PROJECT, '["select 1"]', '["select 2"]'), True),
    "the order of dispatch": (edit(PROJECT, "[shop, helpers]", "[helpers, shop]"), True),
    "a macro in place of one of dbt's": (
        lambda mesh, patch: mesh.write(f"{SHOP}/own/override.sql",
                                       macro("duckdb__get_binding_char", "?")), True),
    "a setting of the connection": (
        edit("profiles/profiles.yml", "TimeZone: UTC", "TimeZone: Europe/Berlin"), True),
    "the version of an adapter": (newer_dbt, True),
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(new_mesh: Callable[[], Mesh]) -> Mesh:
    mesh = new_mesh()
    prepare(mesh)
    return mesh


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_what_decides_the_rows_is_another_version(prepared, monkeypatch, name):
    change, is_for_all = CHANGES[name]
    before = versions(prepared)
    assert versions(prepared) == before
    change(prepared, monkeypatch)
    after = versions(prepared)
    assert after["totals"] != before["totals"]
    assert is_for_all or after["orders"] == before["orders"]


def test_a_seed_of_more_than_a_mebibyte_counts_by_its_content(prepared):
    # dbt's own checksum is of its path.
    rows = "\n".join(f"{number},1" for number in range(200_000))
    path = f"{SHOP}/data/rates.csv"
    prepared.write(path, f"customer_id,rate\n{rows}\n")
    before = versions(prepared)
    prepared.edit(path, "\n777,1\n", "\n777,2\n")
    assert versions(prepared)["totals"] != before["totals"]


def test_another_target_is_another_version(mesh, monkeypatch):
    """What one engine has computed must not stand under another's name."""
    repository = mesh.repository
    shop = repository.domain("shop")
    orders = shop.product("orders")
    manifest = fresh_manifest(repository, shop)
    before = manifest.code_version(orders)
    monkeypatch.setenv("MESH_TARGET", "spark")
    assert not is_fresh(repository, shop)
    manifest.content["metadata"]["adapter_type"] = "spark"
    assert manifest.code_version(orders) != before


def unprovable(mesh: Mesh, name: str = "totals") -> str:
    repository = mesh.repository
    shop = repository.domain("shop")
    return fresh_manifest(repository, shop).unprovable(shop.product(name))


STAGING = f"{SHOP}/models/staging/stg_sales.sql"


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        (STAGING, "-- now()\nselect 1 as sale_id, 'now()' as sold_at", ""),
        (STAGING, "select now() as sold_at", "stg_sales reads the clock (now())"),
        (STAGING, "select {{ moment() }} as sold_at", "stg_sales reads the clock (current_date)"),
        (STAGING, "{{ config(post_hook='insert into log select random()') }} select 1",
         "stg_sales reads a random number (random())"),
        (STAGING, "{{ config(meta={'every_run': true}) }} select 1",
         "stg_sales says config.meta.every_run"),
        (STAGING, "select * from read_csv('x.csv')", "stg_sales reads a file (read_csv())"),
        (f"{SHOP}/models/staging/stg_sales.py", "def model(dbt, session): return None",
         "stg_sales is written in Python"),
    ],
)  # fmt: skip
def test_what_no_version_can_prove_is_named_in_whatever_a_product_is_made_of(
    mesh, path, text, reason
):
    Path(mesh.root, STAGING).unlink()
    mesh.write(path, text)
    mesh.write("macros/moment.sql", macro("moment", "{{ inner_moment() }}"))
    mesh.write("macros/inner.sql", macro("inner_moment", "current_date"))
    mesh.write(f"{SHOP}/models/staging/stg_sales.yml", "version: 2\n")
    assert unprovable(mesh) == reason


def test_a_clock_in_a_value_of_jinja_is_named(mesh, monkeypatch):
    sql = "select {{ var('cutoff') }} as sold_at"
    mesh.edit(PROJECT, "\nflags:", "\nvars: {cutoff: current_date}\nflags:")
    mesh.write(STAGING, sql)
    assert unprovable(mesh) == "stg_sales reads the clock (current_date)"
    mesh.edit(PROJECT, "cutoff: current_date", "cutoff: 7 days")
    assert unprovable(mesh) == ""
    monkeypatch.setenv("SHOP_FROM", "now()")
    mesh.write(STAGING, sql.replace("var('cutoff')", "env_var('SHOP_FROM')"))
    assert unprovable(mesh) == "stg_sales reads the clock (now())"


def test_installed_packages_build_here_and_are_not_read_from_others(prepared):
    prepared.write("helpers/models/of_package.sql", "select 1 as order_id")
    prepared.edit(f"{SHOP}/models/products/totals.sql", "ref('history')", "ref('of_package')")
    before = versions(prepared)
    repository = prepared.repository
    shop = repository.domain("shop")
    assert Manifest(repository, shop).relations_read(shop.product("totals")) == ["shop_raw.sales"]
    prepared.edit("helpers/models/of_package.sql", "1 as", "2 as")
    assert versions(prepared)["totals"] != before["totals"]
