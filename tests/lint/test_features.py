"""Each forbidden feature of dbt is refused at the place where it is set, with a remedy."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from meshhouse.lint import check
from tests.conftest import Mesh

SHOP = "domains/shop"
PRODUCTS, STAGING = f"{SHOP}/models/products", f"{SHOP}/models/staging"
ORDERS, SQL = f"{PRODUCTS}/orders.yml", f"{PRODUCTS}/orders.sql"
STG_SALES = f"{STAGING}/stg_sales.sql"
PROJECT = f"{SHOP}/dbt_project.yml"
TABLE = "    +materialized: table\n"
IN_SQL = "select\n    cast(sale_id"


@dataclass(frozen=True)
class Feature:
    """One change to a mesh without findings, and the finding that it must produce."""

    file: str
    new: str
    """Written in place of `old`; a new file's text where `old` is empty."""
    problem: str
    remedy: str
    at: str
    """A text that only the line of the finding has."""
    old: str = ""
    found_in: str = ""
    target: str = "local"


def in_sql(setting: str, problem: str, remedy: str, file: str = SQL) -> Feature:
    """A setting in the SQL of a model, on a separate line."""
    text = "{{ config(\n    " + setting + "\n) }}\nselect\n"
    return Feature(file, text, problem, remedy, at=setting, old="select\n")


def in_project(lines: str, problem: str, remedy: str, at: str) -> Feature:
    return Feature(PROJECT, TABLE + lines, problem, remedy, at, old=TABLE)


def in_yaml(setting: str, problem: str, remedy: str) -> Feature:
    text = f"      group: shop\n      {setting}\n"
    return Feature(ORDERS, text, problem, remedy, at=setting, old="      group: shop\n")


def new(file: str, text: str, problem: str, remedy: str, at: str, **more: str) -> Feature:
    return Feature(file, text, problem, remedy, at, **more)


NOT_A_TABLE = "only a table can be published"
SET_TABLE = "Set `materialized` to table or incremental."
PRIVATE = "everything that a domain builds is in its own private schema"
HOOK = "neither reads nor writes to {{ this }}"

FEATURES = {
    "view in SQL": in_sql("materialized='view'", NOT_A_TABLE, SET_TABLE),
    "ephemeral in SQL": in_sql("materialized='ephemeral'", NOT_A_TABLE, SET_TABLE),
    "view in a dictionary": in_sql("{'materialized': 'view'}", NOT_A_TABLE, SET_TABLE),
    "view in YAML": in_yaml("materialized: view", NOT_A_TABLE, SET_TABLE),
    "view in dbt_project.yml": in_project(
        "    products:\n      +materialized: view\n", NOT_A_TABLE, SET_TABLE,
        "      +materialized: view\n    staging",
    ),
    "own materialization": in_sql(
        "materialized='external'", "materialized as `external`", "Use one of table, incremental",
        STG_SALES,
    ),
    "alias in SQL": in_sql("alias='purchases'", "has an alias", "Remove the alias"),
    "alias in YAML": in_yaml("alias: purchases", "has an alias", "Remove the alias"),
    "access in dbt_project.yml of a model without YAML": Feature(
        "domains/crm/dbt_project.yml", "    staging:\n      +access: public\n",
        "its YAML does not say so", "Set `access: public` in the model", "+access: public",
        "    staging:\n",
    ),
    "access in SQL": in_sql(
        "access='public'", "its YAML does not say so", "Set `access: public` in", STG_SALES
    ),
    "schema in SQL": in_sql("schema='mart'", PRIVATE, "Remove `schema`."),
    "schema in YAML": in_yaml("schema: mart", PRIVATE, "Remove `schema`."),
    "schema of a private model": in_sql("schema='mart'", PRIVATE, "Remove `schema`.", STG_SALES),
    "schema in dbt_project.yml": in_project(
        "    +schema: mart\n", PRIVATE, "Remove `schema`.", "+schema: mart"
    ),
    "database": in_sql("database='other'", PRIVATE, "Remove `database`."),
    "full_refresh false in SQL": in_sql("full_refresh=false", "that older code made", "Remove"),
    "full_refresh false in YAML": in_yaml("full_refresh: false", "older code made", "Remove"),
    "full_refresh false of all": in_project(
        "    +full_refresh: false\n", "that older code made", "Remove it", "+full_refresh"
    ),
    "microbatch": in_sql(
        "incremental_strategy='microbatch'", "land later than its lookback",
        "Use another strategy with landed_since_last_build()",
    ),
    "post-hook that writes elsewhere": in_sql(
        "post_hook='insert into log values (1)'", HOOK, "Write to {{ this }}"
    ),
    "hook that writes what it reads elsewhere": in_sql(
        "post_hook=['select 1', 'insert into log select count(*) from {{ this }}']", HOOK,
        "Write to {{ this }}",
    ),
    "hook that copies": in_sql(
        "post_hook=\"copy {{ this }} to 'orders.csv'\"", HOOK, "Write to {{ this }}"
    ),
    "hook that writes after with": in_sql(
        "post_hook='with a as (select 1) insert into log select * from a'", HOOK,
        "Write to {{ this }}",
    ),
    "hook that changes the session": in_sql(
        "pre_hook=\"set TimeZone = 'Asia/Tokyo'\"", HOOK, "Write to {{ this }}"
    ),
    "hook in a folder's list": in_project(
        "    +post-hook:\n      - install httpfs\n", HOOK, "Write to {{ this }}", "+post-hook"
    ),
    "pre-hook that writes elsewhere": in_yaml(
        "pre-hook: [\"delete from {{ this }} where false; copy x to 'y.csv'\"]", HOOK,
        "Write to {{ this }} only",
    ),
    "hook of a folder": in_project(
        "    +post-hook: {sql: drop table x}\n", HOOK, "Write to {{ this }} only", "+post-hook"
    ),
    "on-run-start": Feature(
        PROJECT, "on-run-start: [\"create table x (y int)\"]\nprofile",
        "`on-run-start` runs outside", "Use `pre_hook`", "on-run-start", old="profile",
    ),
    "on-run-end": Feature(
        PROJECT, "on-run-end: drop table x\nprofile", "`on-run-end` runs outside", "Use `pre_hook`",
        "on-run-end", old="profile",
    ),
    "own generate_schema_name in another folder": Feature(
        PROJECT, "macro-paths: [models]\nmodel-paths", "changes where", "Remove it",
        "generate_schema_name", old="model-paths", found_in=STG_SALES,
    ),
    "own generate_schema_name": new(
        f"{SHOP}/macros/names.sql",
        "\n{% macro generate_schema_name(name, node) %}x{% endmacro %}", "changes where",
        "Remove it", "generate_schema_name",
    ),
    "own generate_alias_name": new(
        f"{SHOP}/macros/names.sql",
        "{%- macro default__generate_alias_name(name, node) %}x{% endmacro %}", "changes where",
        "Remove it", "generate_alias_name",
    ),
    "own generate_database_name": new(
        "macros/names.sql", "{% macro generate_database_name(n, node) %}x{% endmacro %}",
        "changes where", "Remove it", "generate_database_name",
    ),
    "seed as a product": new(
        f"{SHOP}/seeds/regions.yml",
        "version: 2\nseeds:\n  - name: regions\n    config:\n      access: public\n",
        "only a model can be a product", "Select from ref('regions')", "access: public",
    ),
    "seed in a schema": new(
        f"{SHOP}/seeds/regions.yml",
        "version: 2\nseeds:\n  - name: regions\n    config: {schema: x}\n", PRIVATE,
        "Remove `schema`.", "schema: x",
    ),
    "Python product": new(
        f"{PRODUCTS}/orders.py", "def model(dbt, session): ...\n", "is a Python model",
        "select its columns in a product in SQL", "def model",
    ),
    "snapshot in a schema": new(
        f"{SHOP}/snapshots/history.yml",
        "snapshots:\n  - name: history\n    config:\n      target_schema: x\n", PRIVATE,
        "Remove `target_schema`.", "target_schema",
    ),
    "snapshot block in a schema": new(
        f"{SHOP}/snapshots/history.sql",
        "{% snapshot history %}\n{{ config(target_schema='x') }}\nselect 1\n{% endsnapshot %}\n",
        PRIVATE, "Remove `target_schema`.", "target_schema",
    ),
    "snapshot on Spark": new(
        f"{SHOP}/snapshots/history.yml", "snapshots:\n  - name: history\n    relation: ref('x')\n",
        "kept only on target `local`", "MESH_TARGET=local", "- name: history", target="spark",
    ),
    "snapshot on Snowflake": new(
        f"{SHOP}/snapshots/history.sql", "\n{% snapshot history %}select 1{% endsnapshot %}",
        "kept only on target `local`", "MESH_TARGET=local", "{% snapshot", target="snowflake",
    ),
    "snapshot that no product reads": new(
        f"{SHOP}/snapshots/history.yml", "snapshots:\n  - name: history\n    relation: ref('x')\n",
        "no product reads the snapshot `history`", "Select from it", "- name: history",
    ),
    "Python model on Spark": new(
        f"{STAGING}/stg_other.py", "def model(dbt, session): ...\n", "on target `local` only",
        "Write it in SQL", "def model", target="spark",
    ),
    "YAML in a parent folder": Feature(
        f"{SHOP}/models/totals.yml", "", "has no SQL", "Write the model beside its YAML",
        "- name: totals",
    ),
}  # fmt: skip

USABLE = {
    "table in YAML": in_yaml("materialized: table", "", ""),
    "incremental": in_sql("materialized='incremental', unique_key=['order_id']", "", ""),
    "alias of a private model": in_sql("alias='sales_as_landed'", "", "", STG_SALES),
    "ephemeral private model": in_sql("materialized='ephemeral'", "", "", STG_SALES),
    "setting that only Jinja knows": in_sql("materialized=var('how', 'table')", "", ""),
    "hook that writes to the model": in_sql(
        "post_hook=['delete from {{ this }} where amount < 0']", "", ""
    ),
    "hook that reads": in_sql("post_hook=\"select replace('a', 'b', 'c')\"", "", ""),
    "hook in capitals": in_sql("post_hook='UPDATE {{this}} set amount = 0 where false;'", "", ""),
    "hook that indexes": in_sql("post_hook='create index i on {{ this }} (order_id)'", "", ""),
    "hook by a macro": in_yaml("post_hook: \"{{ sort_rows(['order_id']) }}\"", "", ""),
    "access said twice": in_project("    products:\n      orders:\n        +access: public\n",
                                    "", "", ""),
    "sharing": Feature(
        ORDERS, "grain: [order_id]\n        shared: true", "", "", "", old="grain: [order_id]"
    ),
    "exposures and groups": new(
        f"{SHOP}/models/exposures.yml", "version: 2\nexposures: []\n", "", "", ""
    ),
    "seed": new(f"{SHOP}/seeds/regions.csv", "region\nnorth\n", "", "", ""),
    "snapshot": new(
        f"{STAGING}/h_read.sql",
        "{% snapshot h %}select 1{% endsnapshot %} select 1 from {{ ref('h') }}", "", "", "",
    ),
    "private Python model": new(
        f"{STAGING}/stg_other.py", "def model(dbt, session): ...\n", "", "", ""
    ),
}  # fmt: skip


def make(mesh: Mesh, feature: Feature) -> None:
    if feature.found_in == STG_SALES:
        mesh.edit(
            STG_SALES, "select", "{% macro generate_schema_name(n, node) %}x{% endmacro %}select"
        )
    if feature.old:
        mesh.edit(feature.file, feature.old, feature.new)
    elif feature.new:
        mesh.write(feature.file, feature.new)
    else:
        (mesh.root / PRODUCTS / "totals.yml").rename(mesh.root / feature.file)


@pytest.mark.parametrize("name", FEATURES)
def test_the_feature_is_refused_where_it_is_set_with_a_remedy(mesh, name, monkeypatch):
    feature = FEATURES[name]
    monkeypatch.setenv("MESH_TARGET", feature.target)
    make(mesh, feature)
    place = mesh.root / (feature.found_in or feature.file)
    text = place.read_text()
    line = text.count("\n", 0, text.index(feature.at)) + 1
    found = [
        each
        for each in check(mesh.repository)
        if each.path == place and feature.problem in each.problem
    ]
    assert {each.line for each in found} == {line}, [str(each) for each in check(mesh.repository)]
    assert feature.remedy in found[0].remedy


@pytest.mark.parametrize("name", USABLE)
def test_the_feature_is_usable(mesh, name):
    make(mesh, USABLE[name])
    assert [str(each) for each in check(mesh.repository)] == []
