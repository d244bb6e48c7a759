"""A mesh of many small domains, and the same models and tests as one dbt project.

Belongs here: the generator. Not here: what is measured.

Every domain has ten products of one row with a contract and five checks. Most of what a run costs
is then the platform's own work.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from meshhouse.repository import Repository

PRODUCTS = 10
_CHECKS = """\
columns:
  - name: id
    checks:
      - missing:
          name: Every row has an id
      - duplicate:
          name: An id is there once
  - name: amount
    checks:
      - missing:
          name: Every row has an amount
checks:
  - schema:
      name: Columns are those of the contract
  - row_count:
      name: There are rows
      threshold:
        must_be_greater_than: 0
"""
_DBT_TESTS = """\
    data_tests:
      - there_are_rows
      - columns_are: {names: [id, amount]}
    columns:
      - name: id
        data_type: bigint
        description: The id.
        data_tests: [not_null, unique]
      - name: amount
        data_type: decimal(12,2)
        description: What was paid.
        data_tests: [not_null]
"""
_GENERIC_TESTS = """\
{% test there_are_rows(model) %}
select 1 as missing from (select count(*) as n from {{ model }}) as counted where n = 0
{% endtest %}

{% test columns_are(model, names) %}
select {{ names | join(', ') }} from {{ model }} where false
{% endtest %}
"""


def mesh_of(root: Path, domains: int, products: int = PRODUCTS) -> Repository:
    """Writes a mesh of so many domains, and returns it."""
    here = Repository.find(Path(__file__).parent).root
    shutil.copytree(here / "profiles", root / "profiles")
    _project(root, "mesh")
    (root / "domains").mkdir()
    for number in range(domains):
        name = f"d{number:03}"
        folder = root / "domains" / name
        _project(folder, name)
        models = folder / "models"
        models.mkdir()
        (models / "domain.yml").write_text(
            f"groups:\n  - name: {name}\n    owner: {{name: {name}, email: {name}@mesh.example}}\n"
        )
        for at in range(products):
            (models / f"p{at}.sql").write_text(_sql(at))
            (models / f"p{at}.checks.yml").write_text(_CHECKS)
            (models / f"p{at}.yml").write_text(
                f"models:\n  - name: p{at}\n    description: One row per id.\n    config:\n"
                f"      access: public\n      group: {name}\n      contract: {{enforced: true}}\n"
                "      meta: {grain: [id]}\n    columns:\n"
                "      - {name: id, data_type: bigint, description: The id.}\n"
                '      - {name: amount, data_type: "decimal(12,2)", description: What was paid.}\n'
            )
    return Repository(root)


def dbt_project_of(root: Path, domains: int) -> None:
    """Writes one dbt project with the same models; each check is a test."""
    root.mkdir(parents=True)
    (root / "dbt_project.yml").write_text(
        "name: plain\nversion: 1.0.0\nconfig-version: 2\nprofile: plain\n"
        "models: {plain: {+materialized: table}}\n"
    )
    (root / "profiles.yml").write_text(
        "plain:\n  target: local\n  outputs:\n"
        "    local: {type: duckdb, path: plain.duckdb, threads: 2}\n"
    )
    (root / "macros").mkdir()
    (root / "macros" / "tests.sql").write_text(_GENERIC_TESTS)
    for number in range(domains):
        models = root / "models" / f"d{number:03}"
        models.mkdir(parents=True)
        for at in range(PRODUCTS):
            name = f"d{number:03}_p{at}"
            (models / f"{name}.sql").write_text(_sql(at))
            (models / f"{name}.yml").write_text(
                f"models:\n  - name: {name}\n    description: One row per id.\n    config:\n"
                f"      contract: {{enforced: true}}\n{_DBT_TESTS}"
            )


def sqlmesh_project_of(root: Path, domains: int) -> None:
    """Writes one SQLMesh project with the same models as full models; each check is an audit."""
    root.mkdir(parents=True)
    (root / "config.yaml").write_text(
        "gateways:\n  local:\n    connection: {type: duckdb, database: plain.duckdb}\n"
        "default_gateway: local\nmodel_defaults: {dialect: duckdb, start: 2024-01-01}\n"
        "disable_anonymized_analytics: true\n"
    )
    (root / "audits").mkdir()
    (root / "audits" / "columns.sql").write_text(
        "AUDIT (name columns_are);\nselect id, amount from @this_model where false;\n"
    )
    for number in range(domains):
        models = root / "models" / f"d{number:03}"
        models.mkdir(parents=True)
        for at in range(PRODUCTS):
            (models / f"p{at}.sql").write_text(
                f"MODEL (\n  name d{number:03}.p{at},\n  kind FULL,\n  grain id,\n"
                "  columns (id bigint, amount decimal(12, 2)),\n"
                "  audits (not_null(columns := (id)), unique_values(columns := (id)),\n"
                "    not_null(columns := (amount)), columns_are,\n"
                "    number_of_rows(threshold := 0))\n);\n"
                f"{_sql(at)}"
            )


def _sql(at: int) -> str:
    return (
        "with given as (\n    select cast(1 as decimal(12, 2)) as amount\n)\n\n"
        f"select\n    cast({at} as bigint) as id,\n"
        "    cast(amount * 2 as decimal(12, 2)) as amount\nfrom given\n"
    )


def _project(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dbt_project.yml").write_text(
        f"name: {name}\nprofile: meshhouse\nmodels:\n  {name}:\n    +materialized: table\n"
    )
