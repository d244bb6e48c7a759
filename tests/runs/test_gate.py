"""A run refuses to publish what would surprise a consumer, and says who, what and the ways out.

The changes are those that the mesh once published with a score of 100: a dropped column, a narrowed
decimal, a number as text, another grain, figures times 100.
"""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime, timedelta

import pytest

from meshhouse.governance.contract import Contract
from meshhouse.runs.contracts import DeclaredContracts
from meshhouse.runs.gate import Gate
from meshhouse.runs.parse import fresh_manifest
from tests.conftest import Mesh
from tests.support.engines_help import run_local
from tests.support.kept import Kept

ORDERS = "domains/shop/models/products/orders"
SQL, YAML, CHECKS = f"{ORDERS}.sql", f"{ORDERS}.yml", f"{ORDERS}.checks.yml"
TOTALS_SQL = "domains/shop/models/products/totals.sql"
AMOUNT = '      - {name: amount, data_type: "decimal(12,2)", description: What was paid.}\n'
UNIT_TEST = re.compile(r"unit_tests:.*", re.DOTALL)


@pytest.fixture(scope="module")
def published(new_mesh) -> Kept:
    """Two domains: shop publishes orders, crm reads them."""
    mesh = new_mesh()
    for number in range(150):
        mesh.sell(number, customer=number % 7, amount=number + 0.5)
    mesh.run("run", "crm", "shop")
    # Unit tests of the product would stop some of these edits before the gate does.
    file = mesh.root / YAML
    file.write_text(UNIT_TEST.sub("", file.read_text()))
    return Kept(mesh.root)


@pytest.fixture
def mesh(published: Kept) -> Mesh:
    return Mesh(published.restored())


def refused(mesh: Mesh, *arguments: str) -> str:
    """The message of a refused run, after which consumers see what they saw before."""
    before = shown(mesh)
    done = json.loads(mesh.run("run", "shop", "--json", *arguments, code=1).stdout)
    assert done["published"] == []
    assert shown(mesh) == before
    [failure] = done["failed"]
    assert failure["message"].startswith("Not published; consumers keep what they had.")
    return failure["message"]


def refine_grain(mesh: Mesh) -> None:
    """Declares a finer grain, with the check that verifies it."""
    mesh.edit(YAML, "grain: [order_id]", "grain: [order_id, customer_id]")
    check = "  - duplicate: {columns: [order_id, customer_id]}\n"
    mesh.edit(CHECKS, "checks:\n  - schema:\n", f"checks:\n{check}  - schema:\n")


def contract_of(mesh: Mesh) -> Contract:
    """The contract of `shop.orders` as it is declared now."""
    repository = mesh.repository
    domain = repository.domain("shop")
    made = DeclaredContracts(repository, domain, fresh_manifest(repository, domain))
    return made.of(repository.product("shop.orders"))


def shown(mesh: Mesh) -> list[tuple]:
    return mesh.rows("select * from shop.orders order by all")


def test_a_dropped_column_is_refused_with_the_reader_and_two_ways_out(mesh):
    mesh.edit(SQL, "    cast(amount as decimal(12, 2)) as amount,\n", "")
    mesh.edit(YAML, AMOUNT, "")
    mesh.edit(CHECKS, "  - name: amount\n    checks:\n", "")
    mesh.edit(CHECKS, "      - invalid: {valid_min: 0, name: No negative amounts}\n", "")
    mesh.edit(TOTALS_SQL, "sum(amount)", "sum(order_id)")
    message = refused(mesh)
    assert "Column `amount`" in message
    assert "crm.stg_shop__orders.amount of crm team <crm@tiny.example>" in message
    assert "`mesh new version shop.orders`" in message
    assert "mesh waive shop.orders S2:amount" in message
    assert "--consent crm" in message


def test_a_narrowed_decimal_is_refused(mesh):
    mesh.edit(SQL, "decimal(12, 2)", "decimal(12, 1)")
    mesh.edit(YAML, '"decimal(12,2)"', '"decimal(12,1)"')
    assert "(T5)" in refused(mesh)


def test_a_waiver_lets_a_run_publish_once_every_reader_consents(mesh):
    mesh.edit(SQL, "decimal(12, 2)", "decimal(12, 1)")
    mesh.edit(YAML, '"decimal(12,2)"', '"decimal(12,1)"')
    ways = re.findall(r"`mesh (waive shop\.orders [^`]*)`", refused(mesh))
    soon = str(datetime.now(UTC).date() + timedelta(days=7))
    for way in ways:
        words = shlex.split(way.replace("DATE", soon))
        at = words.index("--consent")
        assert words[at + 1] == "crm"
        mesh.run(*words[:at])
    assert "lacks the consent of crm" in refused(mesh)
    (mesh.root / "domains/shop/waivers.yml").unlink()
    for way in ways:
        mesh.run(*shlex.split(way.replace("DATE", soon)))
    mesh.run("run", "shop")
    [change] = [each for each in mesh.history("shop.orders")[0]["changes"] if each["allowed_by"]]
    assert change["change"] == "T5:amount"
    mesh.edit(SQL, "decimal(12, 1)", "decimal(12, 0)")
    mesh.edit(YAML, '"decimal(12,1)"', '"decimal(12,0)"')
    assert re.search(r"was used by publication \d+; it does not cover", refused(mesh))


def test_a_number_that_becomes_text_is_refused(mesh):
    mesh.edit(SQL, "cast(customer_id as bigint)", "cast(customer_id as string)")
    mesh.edit(
        YAML, "{name: customer_id, data_type: bigint", "{name: customer_id, data_type: string"
    )
    message = refused(mesh)
    assert "(T7)" in message
    assert "crm.stg_shop__orders.customer_id" in message


def test_another_grain_is_refused(mesh):
    refine_grain(mesh)
    assert "(K3)" in refused(mesh)


def test_figures_times_100_ask_for_a_confirmation_that_is_recorded(mesh):
    mesh.edit(SQL, "cast(amount as decimal(12, 2))", "cast(amount * 100 as decimal(12, 2))")
    message = refused(mesh)
    assert "(M1)" in message
    confirm = next(each for each in re.findall(r"`(mesh confirm shop\.orders M1[^`]*)`", message))
    assert "--fingerprint c" in confirm
    mesh.run("run", "shop", "--confirm", "amounts are in cents from now on")
    entry = mesh.history("shop.orders")[0]
    [change] = [each for each in entry["changes"] if each["change"].startswith("M1")]
    assert change["allowed_by"]["why"] == "amounts are in cents from now on"


def test_the_printed_confirmation_lets_the_next_run_publish(mesh):
    mesh.edit(SQL, "from {{ ref('stg_sales') }}", "from {{ ref('stg_sales') }}\nwhere sale_id > 9")
    message = refused(mesh)
    for product, change, mark in re.findall(
        r"`mesh confirm (\S+) (\S+) --fingerprint (\S+) --because", message
    ):
        mesh.run(
            "confirm", product, change, "--fingerprint", mark, "--because", "tests are left out"
        )
    mesh.run("run", "shop")
    assert len(shown(mesh)) == 140


INCREMENTAL = """{{{{ config(materialized='incremental', on_schema_change='append_new_columns') }}}}
{sql}
where true
{{% if is_incremental() %}}
and {filter}sale_id > (select max(order_id) from {{{{ this }}}})
{{% endif %}}
"""


def test_a_filter_in_the_branch_for_later_builds_asks_for_a_confirmation(mesh):
    """Otherwise rows vanish, beginning with the next events, and nobody learns of it."""
    file = mesh.root / SQL
    sql = file.read_text()
    file.write_text(INCREMENTAL.format(sql=sql, filter=""))
    mesh.run("run", "shop")
    file.write_text(INCREMENTAL.format(sql=sql, filter="customer_id <> 3 and "))
    assert "D2" in mesh.run("diff", "shop", code=None).stdout
    message = refused(mesh)
    assert "In later builds: Filters differ: new: `" in message
    assert "crm.stg_shop__orders" in message
    assert "`mesh confirm shop.orders D2 --fingerprint" in message


@pytest.mark.parametrize("place", ["the model", "the project"])
def test_a_hook_that_changes_figures_asks_for_a_confirmation(mesh, place):
    hook = "update {{ this }} set amount = amount * 1.3 where order_id % 4 = 0"
    if place == "the model":
        mesh.edit(
            YAML, "      access: public\n", f'      access: public\n      post_hook: "{hook}"\n'
        )
    else:
        project = "domains/shop/dbt_project.yml"
        at = "    +materialized: table\n"
        mesh.edit(project, at, f'{at}    products:\n      orders:\n        +post-hook: "{hook}"\n')
    message = refused(mesh)
    assert f"Hooks of `orders` differ: new: `{hook}`." in message
    assert "`mesh confirm shop.orders M2 --fingerprint" in message


def test_a_macro_that_replaces_a_test_of_dbt_asks_for_a_confirmation(mesh):
    mesh.edit(YAML, AMOUNT, AMOUNT.replace("}", ", data_tests: [not_null]}"))
    mesh.run("run", "shop")
    file = mesh.root / "domains/shop/macros/own.sql"
    file.parent.mkdir()
    file.write_text(
        "{% test not_null(model, column_name) %}select 1 as x where false{% endtest %}\n"
    )
    message = refused(mesh)
    assert "(V11)" in message
    assert "was dbt's own, and now runs a macro of the domain" in message


@pytest.mark.parametrize("where", ["a branch for later builds", "a hook", "another model's hook"])
def test_code_that_the_first_build_does_not_run_is_other_code(mesh, where):
    """Otherwise silent changes would count as those of ordinary events."""
    before = contract_of(mesh)
    if where == "a branch for later builds":
        later = "{% if is_incremental() %}where true{% endif %}"
        mesh.edit(SQL, "{{ ref('stg_sales') }}", f"{{{{ ref('stg_sales') }}}}\n{later}")
    else:
        hook = "{{ config(post_hook='update {{ this }} set sale_id = 1') }}\n"
        path = SQL if where == "a hook" else "domains/shop/models/staging/stg_sales.sql"
        file = mesh.root / path
        file.write_text(hook + file.read_text())
    after = contract_of(mesh)
    assert before.get("models") == after.get("models")
    assert before.get("code") != after.get("code")


def test_a_clock_in_a_template_does_not_change_the_contract(mesh):
    """Otherwise every run would be refused, for another code than the one that was confirmed."""
    clocks = [
        "run_started_at",
        "run_started_at.strftime('%Y-%m-%d %H:%M:%S.%f')",
        "invocation_id",
        "modules.datetime.datetime.now()",
        "modules.datetime.date.today()",
    ]
    for clock in clocks:
        text = f" and '{{{{ {clock} }}}}' <> ''"
        where = "where true" if clock == clocks[0] else "and true"
        after = "from {{ ref('stg_sales') }}\n" if clock == clocks[0] else "-- more\n"
        mesh.edit(SQL, after, f"{after}{where}{text}\n-- more\n")
        file = mesh.root / SQL
        file.write_text(file.read_text().replace("-- more\n-- more\n", "-- more\n"))
    assert contract_of(mesh).hash == contract_of(mesh).hash


def test_new_events_alone_are_never_refused(mesh):
    mesh.sell(*range(150, 160), customer=3, amount=1.0)
    mesh.run("run", "shop")
    assert len(shown(mesh)) == 160


def test_a_description_or_a_reformatted_query_is_not_refused(mesh):
    mesh.edit(YAML, "description: What was bought.", "description: What customers bought.")
    mesh.edit(SQL, "from {{ ref('stg_sales') }}", "from {{ ref('stg_sales') }} as sales")
    done = json.loads(mesh.run("run", "shop", "--json").stdout)
    assert "shop.orders" in str(done["published"])


def test_a_contract_is_the_same_in_every_environment(mesh, monkeypatch):
    """Else a confirmation that a pull request makes would not count in production."""
    contracts = {}
    for environment in ("", "pr_7"):
        monkeypatch.setenv("MESH_ENV", environment)
        repository = mesh.repository
        for name in ("shop", "crm"):
            domain = repository.domain(name)
            made = DeclaredContracts(repository, domain, fresh_manifest(repository, domain))
            for product in domain.products:
                contracts.setdefault(product.relation, set()).add(made.of(product).hash)
    assert {len(hashes) for hashes in contracts.values()} == {1}


def test_a_contract_stores_the_same_sql_on_every_target(mesh, monkeypatch):
    """Else a product that moves to another engine would seem to change."""
    stored = {}
    for target in ("local", "spark"):
        monkeypatch.setenv("MESH_TARGET", target)
        repository = mesh.repository
        shop = repository.domain("shop")
        made = DeclaredContracts(repository, shop, fresh_manifest(repository, shop))
        for product in shop.products:
            contract = made.of(product)
            stored.setdefault(product.relation, []).append(
                {
                    key: contract.get(key)
                    for key in ("models", "later_builds", "columns", "checks", "reads", "hooks")
                }
            )
    for first, second in stored.values():
        assert first == second


def test_an_environment_tries_a_change_before_it_is_confirmed(mesh):
    mesh.edit(SQL, "cast(amount as decimal(12, 2))", "cast(amount * 100 as decimal(12, 2))")
    mesh.run("run", "shop", environment={"MESH_ENV": "pr_7"})
    refused(mesh)


def test_lost_rows_fail_in_an_environment_too_until_they_are_confirmed(mesh):
    mesh.edit(SQL, "from {{ ref('stg_sales') }}", "from {{ ref('stg_sales') }}\nwhere sale_id > 99")
    trial = {"MESH_ENV": "pr_7"}
    done = json.loads(mesh.run("run", "shop", "--json", code=1, environment=trial).stdout)
    [failure] = done["failed"]
    assert 'run `mesh run shop --confirm "why"`' in failure["message"]
    mesh.run("run", "shop", "--confirm", "the first 100 sales were tests", environment=trial)
    assert len(shown(mesh)) == 150


def test_after_a_refusal_the_domains_that_read_this_one_do_not_run(mesh):
    refine_grain(mesh)
    done = json.loads(mesh.run("run", "shop", "crm", "--force", "--json", code=1).stdout)
    assert [each["domain"] for each in done["failed"]] == ["shop"]
    assert (done["not_run"], done["published"]) == (["crm"], [])
    status = {each["product"]: each for each in json.loads(mesh.run("status", "--json").stdout)}
    assert status["shop.orders"]["last_run"] == "rejected"
    assert status["shop.totals"]["last_run"] == "not published"


def test_lost_rows_are_confirmed_though_what_is_published_has_no_contract(mesh, monkeypatch):
    """As older versions have published it. Otherwise the product could never be published."""
    monkeypatch.setattr(Gate, "judge", lambda *arguments: None)
    mesh.edit(SQL, "from {{ ref('stg_sales') }}", "from {{ ref('stg_sales') }}\nwhere sale_id > 99")
    done = run_local(mesh, "shop", confirmed="")
    assert 'run `mesh run shop --confirm "why"`' in done.message
    assert run_local(mesh, "shop", confirmed="the first 100 sales were tests").ok
    assert len(shown(mesh)) == 50
    [change] = mesh.history("shop.orders")[0]["changes"]
    assert change["change"] == "D1"
    assert change["allowed_by"]["why"] == "the first 100 sales were tests"


def test_lost_rows_are_published_when_an_owner_confirms_them(mesh):
    mesh.edit(SQL, "from {{ ref('stg_sales') }}", "from {{ ref('stg_sales') }}\nwhere sale_id > 99")
    message = refused(mesh)
    assert 'run `mesh run shop --confirm "why"`' in message
    mesh.run("run", "shop", "--confirm", "the first 100 sales were tests")
    assert len(shown(mesh)) == 50
    changes = mesh.history("shop.orders")[0]["changes"]
    assert {"D1", "D2"} <= {each["change"].partition(":")[0] for each in changes}


CUSTOMERS = "domains/crm/models/products/customers"


def drop_sold_at(mesh: Mesh) -> None:
    """Removes a column that no model of another domain reads."""
    mesh.edit(SQL, "    cast(amount as decimal(12, 2)) as amount,\n    cast(sold_at as "
              "{{ type_timestamptz() }}) as sold_at\n",
              "    cast(amount as decimal(12, 2)) as amount\n")  # fmt: skip
    mesh.edit(YAML, "      - {name: sold_at, data_type: timestamptz, description: When.}\n", "")


def test_a_column_that_only_checks_of_a_consumer_read_is_not_dropped(mesh):
    check = (
        "  - failed_rows:\n      qualifier: dated\n      query: select 1 from crm.customers join"
        " shop.orders using (customer_id) where sold_at is null\n      threshold: {must_be: 0}\n"
    )
    mesh.edit(
        f"{CUSTOMERS}.checks.yml", "checks:\n  - failed_rows:", f"checks:\n{check}  - failed_rows:"
    )
    tests = mesh.root / "domains/crm/tests"
    tests.mkdir()
    (tests / "orders_have_a_time.sql").write_text(
        "select s.order_id from {{ ref('stg_shop__orders') }} as s "
        "join {{ ref('shop', 'orders') }} as o on o.order_id = s.order_id where o.sold_at is null"
    )
    (mesh.root / "domains/crm/models/staging/stg_shop__orders.yml").write_text(
        "version: 2\nmodels:\n  - name: stg_shop__orders\n    columns:\n      - name: order_id\n"
        "        data_tests:\n          - relationships:\n"
        "              arguments: {to: \"ref('shop', 'orders')\", field: order_id}\n"
        "              config: {where: order_id in (select order_id from shop.orders"
        " where sold_at is not null)}\n"
    )
    mesh.run("run", "crm")
    drop_sold_at(mesh)
    message = refused(mesh)
    assert "(S2)" in message
    assert "crm.customers (check failed_rows__dated) of crm team <crm@tiny.example>" in message
    assert "crm.stg_shop__orders (check orders_have_a_time)" in message
    assert "--consent crm" in message


def test_a_value_that_only_a_later_model_of_a_consumer_names_is_not_withdrawn(mesh):
    mesh.edit(SQL, "    cast(amount as decimal(12, 2)) as amount,\n",
              "    cast(amount as decimal(12, 2)) as amount,\n"
              "    cast(case when amount > 50 then 'paid' else 'open' end as "
              "{{ type_string() }}) as status,\n")  # fmt: skip
    mesh.edit(
        YAML,
        AMOUNT,
        f"{AMOUNT}      - {{name: status, data_type: string, description: How far.}}\n",
    )
    values = "valid_values: [paid, open, back]"
    mesh.edit(
        CHECKS,
        "  - name: amount\n",
        f"  - name: status\n    checks:\n      - invalid: {{{values}}}\n  - name: amount\n",
    )
    mesh.run("run", "shop")
    mesh.edit(
        "domains/crm/models/staging/stg_shop__orders.sql",
        "    amount\n",
        "    amount,\n    status\n",
    )
    mesh.edit(
        f"{CUSTOMERS}.sql",
        "group by",
        "where status in ('back', 'paid') or status = 'open'\ngroup by",
    )
    mesh.run("run", "crm")
    mesh.edit(CHECKS, values, "valid_values: [paid, open]")
    message = refused(mesh)
    assert "(V1)" in message
    assert "crm.customers." in message
