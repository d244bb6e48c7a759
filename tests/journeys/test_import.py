"""A dbt project becomes a domain that builds and publishes, without an edit by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.conftest import Mesh
from tests.support import foreign

DOMAIN = "domains/cycling"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    return new_mesh()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign.bikes(tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def imported(mesh: Mesh, project: Path) -> dict:
    before = contents(project)
    done = mesh.run("import", str(project), "--as", "cycling", "--json")
    assert contents(project) == before
    return json.loads(done.stdout)


def declared(mesh: Mesh, file: str) -> dict:
    return yaml.safe_load((mesh.root / DOMAIN / file).read_text())


def test_marts_with_a_known_grain_become_products(imported: dict):
    assert imported["products"] == ["customers", "daily", "kinds"]


def test_a_source_that_the_project_has_as_a_seed_is_read_from_it(mesh: Mesh, imported: dict):
    assert imported["seeds"] == {"shop": ["raw_customers"]}
    sql = (mesh.root / DOMAIN / "models/staging/stg_customers.sql").read_text()
    assert sql.startswith("with source as (select * from {{ ref('raw_customers') }})")
    assert declared(mesh, "seeds/sources.yml")["seeds"] == [
        {"name": "raw_customers", "description": "One row per customer."}
    ]


def test_every_other_source_becomes_a_topic_with_types_of_the_mesh(mesh: Mesh, imported: dict):
    assert imported["topics"] == ["cycling.raw_rides", "cycling.weather"]
    [source] = declared(mesh, "models/topics.yml")["sources"]
    rides, weather = source["tables"]
    assert (source["schema"], rides["config"]["meta"]["topic"]) == (
        "cycling_raw", "cycling.raw_rides",
    )  # fmt: skip
    assert {each["name"]: each["data_type"] for each in rides["columns"]} == {
        "ride_id": "decimal(18,0)",
        "customer_id": "integer",
        "price_cents": "string",
        "ridden_at": "timestamptz",
    }
    assert rides["columns"][0]["tests"] == ["unique", "not_null"]
    assert {each["name"] for each in weather["columns"]} == {"day", "rain"}
    assert any("weather: `day`, `rain`." in each for each in imported["decisions"])


def test_tests_become_grain_and_constraints(mesh: Mesh, imported: dict):
    models = {each["name"]: each for each in declared(mesh, "models/marts/marts.yml")["models"]}
    customers = models["customers"]
    assert customers["config"]["meta"] == {"slack": "#bikes", "grain": ["customer_id"]}
    assert customers["config"]["materialized"] == "table"
    key, _, rides, paid = customers["columns"]
    assert key == {
        "name": "customer_id",
        "data_type": "integer",
        "description": "The customer.",
        "constraints": [{"type": "not_null"}],
    }
    assert rides["data_type"] == "bigint"
    assert rides["data_tests"] == [{"dbt_utils.at_least": {"least": 0}}]
    assert paid["data_type"] == "decimal(38,2)"
    assert models["daily"]["config"]["meta"]["grain"] == ["day", "customer_id"]
    assert models["kinds"]["config"]["meta"]["grain"] == ["kind"]
    assert "config" not in models["nobody_knows"]


@pytest.mark.parametrize(
    "words",
    [
        "Who owns the domain?",
        "`generate_schema_name` was left out",
        "`on-run-end` of dbt_project.yml was left out",
        "described `age`, which its SQL does not select",
        "`kinds`: say in `description`",
        "`nobody_knows` stays private: nothing says which columns identify a row",
        "`in_snowflake` does not build here",
        "Rows of the seed raw_customers.csv had fewer values",
        "The package ../packages/dbt_utils is outside the project",
    ],
)
def test_it_says_what_a_person_has_to_decide(imported: dict, words: str):
    assert [each for each in imported["decisions"] if words in each], imported["decisions"]


def test_what_is_not_part_of_the_project_is_not_copied(mesh: Mesh, imported: dict):
    folder = mesh.root / DOMAIN
    assert not [each for each in (".git", "out", "target", "logs") if (folder / each).exists()]
    assert not list((folder / "macros").glob("generate_schema_name*"))
    assert (folder / "README.md").read_text() == "# Bikes\n"
    assert sorted(each.name for each in folder.parent.iterdir()) == ["crm", "cycling", "shop"]


def test_check_finds_nothing_and_a_run_publishes(mesh: Mesh, imported: dict):
    rides = [
        {"ride_id": 1, "customer_id": 1, "price_cents": "250", "ridden_at": "2026-01-01T10:00:00Z"},
        {"ride_id": 2, "customer_id": 1, "price_cents": "199", "ridden_at": "2026-01-02T10:00:00Z"},
    ]
    mesh.send("cycling.raw_rides", [(b"1", json.dumps(each).encode()) for each in rides])
    mesh.run("topic", "create", "cycling.weather")
    assert mesh.run("check").stderr.startswith("0 findings")
    mesh.run("run", "cycling")
    assert mesh.rows("select customer_id, name, rides, paid::text from cycling.customers") == [
        (1, "Ana", 2, "4.49"),
        (2, "Bo", 0, None),
        (3, None, 0, None),
    ]
    assert mesh.rows('select customer_id, "order" from cycling.daily') == [(1, 1), (1, 1)]
    assert mesh.rows("select * from cycling.kinds") == [("city", 1.5)]


def test_a_second_import_overwrites_nothing(mesh: Mesh, project: Path, imported: dict):
    before = contents(mesh.root / DOMAIN)
    done = mesh.run("import", str(project), "--as", "cycling", code=2)
    assert "exists already, and an import overwrites nothing" in done.stderr
    assert contents(mesh.root / DOMAIN) == before
