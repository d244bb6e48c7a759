"""A small mesh that keeps every policy, and copies of it that are changed by an example.

Belongs here: what an example of a rule (`passes`, `fails`) means. Not here: the examples, which are
beside their rules (meshhouse/governance/policies/).

Places of an example, each with YAML that is merged into what the mesh declares; null removes:

    product        the entry of the product `sales.orders`
    column         its column `amount`
    topic          the entry of the raw table `sales_raw.sales`
    topic_column   its column `amount`
    group          the entry of the group `sales`
    published      the published contract of sales.orders
    checks, sql    the whole file of the product; empty removes it

Any other place is the path of a file below domains/sales/ with its whole text; empty removes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from meshhouse.governance.contract import Contract
from meshhouse.governance.policies.evaluation import Evaluation, Federation
from meshhouse.repository import Repository

TODAY = date(2026, 11, 30)

PRODUCT = """
name: orders
description: Orders of all stores, returns included. One row per order.
config:
  access: public
  group: sales
  materialized: table
  contract: {enforced: true}
  meta:
    grain: [order_id]
    promises: {refreshed_within_hours: 24, availability_percent: 99}
data_tests: [{unique: {column_name: order_id}}]
columns:
  - {name: order_id, data_type: bigint, description: The order.}
  - name: amount
    data_type: decimal(12,2)
    description: Net value, without tax.
    config: {meta: {unit: USD}}
"""
TOPIC = """
name: sales
description: One event for each sale.
config: {meta: {topic: sales.tills}}
columns:
  - {name: order_id, data_type: bigint, description: The order.}
  - name: amount
    data_type: decimal(12,2)
    description: What was paid.
    config: {meta: {required: true}}
"""
GROUP = "{name: sales, owner: {name: Sales team, email: sales@example.com, contact: '#sales'}}"
CHECKS = """
columns: [{name: amount, checks: [{invalid: {valid_min: 0}}]}]
checks:
  - row_count: {threshold: {must_be_greater_than: 0}}
  - duplicate: {columns: [order_id]}
"""
SQL = "select order_id, amount from {{ source('sales_raw', 'sales') }}"
PROJECT = "name: {name}\nprofile: meshhouse\nmodel-paths: [models]\n"
OTHER = """
models:
  - name: customers
    description: Customers of all stores. One row per customer.
    config: {access: public, group: crm, contract: {enforced: true},
             meta: {grain: [customer_id]}}
    columns: [{name: customer_id, data_type: bigint, description: The customer.}]
groups: [{name: crm, owner: {name: CRM team, email: crm@example.com}}]
"""


def make(root: Path, example: Mapping[str, str]) -> Repository:
    """Writes a mesh of two domains into a folder, changed by an example."""
    product, topic, group = (yaml.safe_load(text) for text in (PRODUCT, TOPIC, GROUP))
    merge(product, loaded(example, "product"))
    merge(product["columns"][1], loaded(example, "column"))
    merge(topic, loaded(example, "topic"))
    merge(topic["columns"][1], loaded(example, "topic_column"))
    merge(group, loaded(example, "group"))
    name = product["name"]
    source = {"name": "sales_raw", "schema": "sales_raw", "tables": [topic]}
    files = {
        "dbt_project.yml": PROJECT.format(name="sales"),
        "dependencies.yml": "projects: [{name: crm}]",
        ".dbtignore": "*.checks.yml",
        "README.md": "# Sales",
        "models/domain.yml": yaml.safe_dump({"groups": [group]}),
        "models/topics.yml": yaml.safe_dump({"sources": [source]}),
        f"models/products/{name}.yml": yaml.safe_dump({"models": [product]}, sort_keys=False),
        **{key: text for key, text in example.items() if "." in key},
    }
    for version in product.get("versions") or [{}]:
        stem = f"{name}_v{version['v']}" if version else name
        files[f"models/products/{stem}.checks.yml"] = example.get("checks", CHECKS)
        files[f"models/products/{stem}.sql"] = example.get("sql", SQL)
    write(root / "domains" / "sales", files)
    crm = {
        "dbt_project.yml": PROJECT.format(name="crm"),
        ".dbtignore": "*.checks.yml",
        "models/customers.yml": OTHER,
        "models/customers.sql": "select customer_id from somewhere",
        "models/customers.checks.yml": "checks: [{duplicate: {columns: [customer_id]}}]",
    }
    write(root / "domains" / "crm", crm)
    write(root, {"dbt_project.yml": PROJECT.format(name="mesh")})
    return Repository(root)


def evaluate(
    repository: Repository, example: Mapping[str, str], domain: str = "sales"
) -> Evaluation:
    """How a domain of the mesh keeps the rules of `policies.yml`."""
    published = {}
    if "published" in example:
        published["sales.orders"] = Contract(yaml.safe_load(example["published"]))
    return Federation(repository, TODAY, published).evaluate(repository.reading(domain))


def loaded(example: Mapping[str, str], place: str) -> Any:
    return yaml.safe_load(example.get(place, "{}")) or {}


def merge(place: dict[str, Any], edits: Mapping[str, Any]) -> None:
    """Merges mappings; other values replace, and null removes."""
    for key, value in edits.items():
        if isinstance(value, dict) and isinstance(place.get(key), dict):
            merge(place[key], value)
        elif value is None:
            place.pop(key, None)
        else:
            place[key] = value


def write(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        if text:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
