"""`mesh check` finds each kind of mistake, and prints its place and its remedy."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from meshhouse.lint import check
from meshhouse.repository import Repository
from tests.conftest import ROOT, Mesh

SHOP = "domains/shop"
PRODUCTS = f"{SHOP}/models/products"
ORDERS, SQL = f"{PRODUCTS}/orders.yml", f"{PRODUCTS}/orders.sql"
CHECKS = f"{PRODUCTS}/orders.checks.yml"
TOPICS = f"{SHOP}/models/topics.yml"
STG_SALES = f"{SHOP}/models/staging/stg_sales.yml"
CRM_CUSTOMERS = "domains/crm/models/products/customers.sql"
CRM_STAGING = "domains/crm/models/staging/stg_shop__orders.sql"


@dataclass(frozen=True)
class Mistake:
    """One change to a mesh without findings, and the finding that it must produce."""

    file: str
    old: str
    new: str | None
    """None removes the file."""
    problem: str
    remedy: str = ""
    at: str | int = 1
    """The line of the finding: its number, or a text that only it has."""
    found_in: str = ""
    """The file of the finding, where it is another one."""


MISTAKES = {
    # YAML that cannot be used
    "no YAML": Mistake(
        ORDERS, "description: What was", "description: : What was", "this is not valid YAML", at=4
    ),
    "no YAML in checks": Mistake(
        CHECKS, "checks:\n  - schema:", "checks: [\n  - schema:", "this is not valid YAML", at=10
    ),
    "no mapping": Mistake(
        f"{SHOP}/models/domain.yml", "version: 2\ngroups:", "- version: 2\n- groups:",
        "the file must hold a mapping",
    ),
    "wrong project name": Mistake(
        f"{SHOP}/dbt_project.yml", "name: shop", "name: shops",
        "the dbt project must be named `shop`, like its folder; it says `shops`",
    ),
    "source without topic": Mistake(
        TOPICS, "topic: shop.sales, ", "", "source table `sales` names no topic",
        "", at="- name: sales",
    ),
    # Unknown keys
    "key of a properties file": Mistake(
        ORDERS, "models:", "modles:\n  - {}\nmodels:",
        "`modles` is not a key that the mesh knows in a dbt properties file",
        "Did you mean `models`?", at="modles",
    ),
    "key of a model": Mistake(
        ORDERS, "    description:", "    descripton: x\n    description:",
        "`descripton` is not a key that the mesh knows in a model",
        "Did you mean `description`?", at="descripton",
    ),
    "key of meta": Mistake(
        ORDERS, "promises:", "promise: {}\n        promises:",
        "`promise` is not a key that the mesh knows in config.meta of a model",
        "Did you mean `promises`?",
        at="promise: {}",
    ),
    "key of promises": Mistake(
        ORDERS, "refreshed_within_hours", "refreshed_in_hours",
        "`refreshed_in_hours` is not a key that the mesh knows in promises",
        "Did you mean `refreshed_within_hours`?",
        at="refreshed_in_hours",
    ),
    "key of a column": Mistake(
        ORDERS, "{name: sold_at, data_type", "{name: sold_at, type: x, data_type",
        "`type` is not a key that the mesh knows in a column", "", at="sold_at",
    ),
    "key of a source": Mistake(
        TOPICS, "    schema: shop_raw", "    schema: shop_raw\n    topic: x",
        "`topic` is not a key that the mesh knows in a source", "", at="    topic: x",
    ),
    "key of a source table": Mistake(
        TOPICS, "        config:\n", "        topic: x\n        config:\n",
        "`topic` is not a key that the mesh knows in a source table", "", at="        topic: x",
    ),
    "key of a raw table's meta": Mistake(
        TOPICS, "format: json", "fromat: json",
        "`fromat` is not a key that the mesh knows in config.meta of a source table",
        "Did you mean `format`?",
        at="fromat",
    ),
    "key of a raw column's meta": Mistake(
        TOPICS, "{name: amount,", "{name: amount, config: {meta: {require: true}},",
        "`require` is not a key that the mesh knows in config.meta of a column",
        "Did you mean `required`?",
        at="require: true}}, data",
    ),
    "key of a checks file": Mistake(
        CHECKS, "columns:", "dataset: x\ncolumns:",
        "`dataset` is not a key that the mesh knows in a checks file",
        "Known: checks, columns", at="dataset",
    ),
    "check of a column": Mistake(
        CHECKS, "      - missing:", "      - mising:",
        "`mising` is not a key that the mesh knows in the checks of a column",
        "Did you mean `missing`?", at="mising",
    ),
    "check of a product": Mistake(
        CHECKS, "  - schema:", "  - shema:",
        "`shema` is not a key that the mesh knows in the checks of a product",
        "Did you mean `schema`?", at="shema",
    ),
    "key of dependencies": Mistake(
        "domains/crm/dependencies.yml", "projects:", "project: []\nprojects:",
        "`project` is not a key that the mesh knows in dependencies.yml",
        "Did you mean `projects`?", at="project: []",
    ),
    # Required declarations of a product
    "no owner": Mistake(
        ORDERS, "      group: shop\n", "", "product shop.orders has no owner.",
        "Set config.group to a group of this domain", at="- name: orders",
    ),
    "owner of no such group": Mistake(
        ORDERS, "group: shop", "group: shops", "product shop.orders has no owner.",
        "Set config.group", at="- name: orders",
    ),
    "no contract": Mistake(
        ORDERS, "      contract: {enforced: true}\n", "", "product shop.orders has no contract.",
        "Set config.contract.enforced to true.", at="- name: orders",
    ),
    "contract not enforced": Mistake(
        ORDERS, "{enforced: true}", "{enforced: false}", "product shop.orders has no contract.",
        "Set config.contract.enforced to true.", at="- name: orders",
    ),
    "no grain": Mistake(
        ORDERS, "        grain: [order_id]\n", "", "product shop.orders states no grain.",
        "Set config.meta.grain", at="- name: orders",
    ),
    "no description": Mistake(
        ORDERS, "    description: What was bought. One row per order.\n", "",
        "product shop.orders has no description.", "end with the grain", at="- name: orders",
    ),
    "no SQL": Mistake(
        SQL, "", None, "product shop.orders has no SQL.", "Write the model beside its YAML",
        at="- name: orders", found_in=ORDERS,
    ),
    # Types
    "unknown type": Mistake(
        ORDERS, "name: customer_id, data_type: bigint", "name: customer_id, data_type: longint",
        "column `customer_id` of shop.orders: `longint` is not a known type. Types: bigint",
        at="longint",
    ),
    "decimal without precision": Mistake(
        ORDERS, '"decimal(12,2)"', "decimal",
        "column `amount` of shop.orders: `decimal` is not a known type", at="data_type: decimal",
    ),
    "unknown type of a raw column": Mistake(
        TOPICS, '"decimal(12,2)"', "money",
        "column `amount` of shop_raw.sales: `money` is not a known type", at="money",
    ),
    "raw column without type": Mistake(
        TOPICS, "{name: sold_at, data_type: timestamptz,", "{name: sold_at,",
        "column `sold_at` of shop_raw.sales: no data_type is given.", at="sold_at",
    ),
    # References between domains
    "reference outside staging": Mistake(
        CRM_CUSTOMERS, "ref('stg_shop__orders')", "ref('shop', 'orders')",
        "shop.orders is read outside models/staging/.",
        "Read it in models/staging/stg_shop__orders.sql and use ref('stg_shop__orders') here.",
        at="ref('shop', 'orders')",
    ),
    "reference to no product": Mistake(
        CRM_STAGING, "ref('shop', 'orders')", "ref('shop', 'order')",
        "shop publishes no product `order`. shop publishes: orders, totals. "
        "Did you mean ref('shop', 'orders')?", at="ref('shop', 'order')",
    ),
    "reference to a private model": Mistake(
        CRM_STAGING, "ref('shop', 'orders')", "ref('shop', 'stg_sales')",
        "`stg_sales` is a private model of shop", at="ref('shop'",
    ),
    "reference to a domain that is not named": Mistake(
        "domains/crm/dependencies.yml", "", None, "crm uses shop.orders without naming shop",
        at="ref('shop'", found_in=CRM_STAGING,
    ),
    "domain that names itself": Mistake(
        "domains/crm/dependencies.yml", "- name: shop", "- name: shop\n  - name: crm",
        "domain `crm` names itself as a dependency; remove the line.", at="- name: crm",
    ),
    "dependency on no domain": Mistake(
        "domains/crm/dependencies.yml", "- name: shop", "- name: shop\n  - name: stop",
        "there is no domain `stop`. Domains: shop, mesh.", at="- name: stop",
    ),
    "increments of another domain's product": Mistake(
        CRM_CUSTOMERS, "group by", "where {{ landed_since_last_build() }}\ngroup by",
        "landed_since_last_build() misses corrections of shop.orders, another domain's product",
        "Read all its rows, with materialized='table'.", at="landed_since",
    ),
    # Files that dbt would read
    # SQL, contract and checks that disagree
    "column that the contract lacks": Mistake(
        SQL, "select\n", "select\n    1 as extra,\n",
        "orders.sql selects `extra`, which the contract of shop.orders lacks.",
        "Add it to the columns, or drop it from the SQL.", at="- name: orders", found_in=ORDERS,
    ),
    "column that the SQL lacks": Mistake(
        SQL, "    cast(customer_id as bigint) as customer_id,\n", "",
        "the contract of shop.orders has `customer_id`, which orders.sql does not select.",
        "Select it, or drop it from the contract.", at="name: customer_id", found_in=ORDERS,
    ),
    "star": Mistake(
        f"{PRODUCTS}/totals.sql", "select\n", "select *,\n", "a product must not select `*`.",
        "List the columns of the product.",
    ),
    "Jinja that cannot be read": Mistake(
        SQL, "{{ ref('stg_sales') }}", "{{ ref('stg_sales' }}", "its Jinja cannot be read",
        at="ref(",
    ),
    "SQL that cannot be read": Mistake(
        SQL, "as sold_at\n", "as sold_at,, (\n", "its SQL cannot be read",
    ),
    "check of no column": Mistake(
        CHECKS, "- name: amount", "- name: amounts",
        "checks `amounts`, which is not a column of shop.orders.", "Name a column of the contract.",
        at="- name: amounts",
    ),
    "uniqueness of no column": Mistake(
        CHECKS, "  - schema:", "  - schema:\n  - duplicate: {columns: [order_id, till]}",
        "checks `till`, which is not a column of shop.orders.", "Name a column of the contract.",
        at="till",
    ),
    "grain of no column": Mistake(
        ORDERS, "grain: [order_id]", "grain: [order_id, till]",
        "the grain of shop.orders names `till`, which is not one of its columns.",
        "Name columns of the contract.", at="- name: orders",
    ),
}  # fmt: skip


def make(mesh: Mesh, mistake: Mistake) -> None:
    file = mesh.root / mistake.file
    if mistake.new is None:
        file.unlink()
    else:
        text = file.read_text()
        assert mistake.old in text
        file.write_text(text.replace(mistake.old, mistake.new, 1))


def line_of(mesh: Mesh, mistake: Mistake) -> int:
    if isinstance(mistake.at, int):
        return mistake.at
    lines = (mesh.root / (mistake.found_in or mistake.file)).read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if mistake.at in line)


REFUSED = {
    # Types that are missing, or mean something else, on some target -> what to declare instead.
    "float": "use `double`", "real": "use `double`", "FLOAT4": "use `double`",
    "double precision": "Use `double`",
    "integer[]": "as `array<integer>`", "list": "Use `array<type>`",
    "struct(a integer)": "as `struct<a integer>`", "row(a integer)": "as `struct<a integer>`",
    "map(varchar, integer)": "as `map<string, integer>`",
    "array<int not null>": "no table keeps a `not null`",
    "time": "Use `string`", "interval": "a whole number of days",
    "uuid": "Use `string`", "json": "holds the JSON text", "variant": "holds the JSON text",
    "object": "holds the JSON text", "binary": "hexadecimal", "blob": "hexadecimal",
    "varchar(10)": "valid_max_length", "char(3)": "valid_max_length",
    "smallint": "Use `integer`", "hugeint": "Use `decimal(p,s)`", "number(10,2)": "Use `decimal",
    "decimal": "Use `decimal(p,s)`", "decimal(40,2)": "at most 38", "numeric(10)": "Use `decimal",
    "datetime": "Use `timestamp`", "timestamp_ntz": "Use `timestamp`",
    "timestamp(3)": "every target keeps microseconds", "timestamp_ltz": "Use `timestamptz`",
    "bool": "Use `boolean`", "enum('a')": "Use `string`",
}  # fmt: skip


def test_a_type_that_not_every_target_has_is_refused_with_what_to_declare(mesh):
    for declared, instead in REFUSED.items():
        path = mesh.root / ORDERS
        kept = path.read_text()
        mesh.edit(ORDERS, "name: customer_id, data_type: bigint",
                  f'name: customer_id, data_type: "{declared}"')  # fmt: skip
        [finding] = check(mesh.repository)
        assert finding.path == path
        assert "customer_id" in path.read_text().splitlines()[finding.line - 1]
        assert f"`{declared}`" in finding.problem
        assert instead in finding.problem
        path.write_text(kept)


@pytest.mark.parametrize("name", MISTAKES)
def test_the_mistake_is_found_where_it_is_with_a_remedy(mesh, name):
    mistake = MISTAKES[name]
    make(mesh, mistake)
    place = mesh.root / (mistake.found_in or mistake.file)
    found = [
        each
        for each in check(mesh.repository)
        if mistake.problem in each.problem and each.path == place
    ]
    assert [each.line for each in found] == [line_of(mesh, mistake)]
    assert mistake.remedy in found[0].remedy


def test_a_mesh_without_mistakes_has_no_findings(mesh):
    assert check(mesh.repository) == []


def test_this_repository_has_no_findings():
    assert [str(each) for each in check(Repository(ROOT))] == []


def test_all_mistakes_are_found_at_once(mesh):
    names = ["no owner", "reference outside staging", "check of no column"]
    for name in names:
        make(mesh, MISTAKES[name])
    problems = " ".join(each.problem for each in check(mesh.repository))
    assert all(MISTAKES[name].problem in problems for name in names)


def test_one_broken_file_does_not_hide_the_findings_in_others(mesh):
    for name in ("no YAML in checks", "reference outside staging"):
        make(mesh, MISTAKES[name])
    problems = " ".join(each.problem for each in check(mesh.repository))
    assert "not valid YAML" in problems
    assert "read outside models/staging/" in problems


def test_a_circle_is_found_with_its_path(mesh):
    mesh.write("domains/shop/dependencies.yml", "projects:\n  - name: crm\n")
    [finding] = check(mesh.repository)
    assert finding.path == mesh.root / "domains/crm/dependencies.yml"
    assert "in a circle: crm -> shop -> crm. Remove one dependency." in finding.problem


def test_findings_are_lines_of_file_line_problem_and_remedy_and_the_exit_code_is_1(mesh):
    make(mesh, MISTAKES["no contract"])
    make(mesh, MISTAKES["star"])
    done = mesh.run("check", code=1)
    assert done.stdout.splitlines() == [
        f"{ORDERS}:3: product shop.orders has no contract. Set config.contract.enforced to true.",
        f"{PRODUCTS}/totals.sql:1: a product must not select `*`. List the columns of the product.",
    ]
    assert done.stderr.startswith("2 findings in 3 domains in ")


def test_findings_as_json(mesh):
    make(mesh, MISTAKES["no grain"])
    # Without a grain, the rule about its uniqueness check does not apply.
    [finding] = json.loads(mesh.run("check", "--json", code=1).stdout)
    assert finding == {
        "file": ORDERS,
        "line": 3,
        "problem": "product shop.orders states no grain.",
        "remedy": "Set config.meta.grain to the columns that identify a row.",
        "rule": None,
        "severity": "error",
    }


def test_no_findings_are_exit_code_0_and_nothing_on_standard_output(mesh):
    assert mesh.run("check", "--quiet").stdout == ""
    assert mesh.run("check").stderr.startswith("0 findings in 3 domains in ")
