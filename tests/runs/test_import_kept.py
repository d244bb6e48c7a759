"""What a dbt project says stays in the domain, or the import says that it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from meshhouse.runs.import_project import Imported, import_project
from tests.conftest import Mesh
from tests.support.foreign import write
from tests.support.versioned import version_files, version_orders

KEY = "{name: a, data_tests: [unique, not_null]}"
FILES = {
    "dbt_project.yml": "name: old\nprofile: x\nfunctions: {old: {+tags: [f]}}\nanalyses: {a: 1}\n"
    "restrict-access: false\n",
    ".dbtignore": "models/ignored/\nseeds/absent.csv\n",
    "models/ignored/broken.sql": "select {% if",
    "models/ignored/broken.yml": "models: [",
    "seeds/absent.csv": "a\n1\n",
    "models/.older/dim.sql": "select 1 as a",
    "seeds/.raw_b.csv": "a\n1\n",
    "seeds/logs/deep.csv": "a\n1\n",
    "seeds/raw_a.csv": "a,b\n1,2\n",
    "seeds/seeds.yml": "seeds:\n  - name: raw_a\n    description: Mine.\n"
    "    columns: [{name: A, data_tests: [unique]}]\n",
    "models/groups.yml": "groups:\n  - {name: team, owner: {name: Team, email: t@x.example}}\n"
    "  - {name: moved, owner: {name: Own, email: own@x.example}}\n",
    "models/staging/target/stg_a.sql": "{{ config(group='team', access='private') }}\n"
    "select a, b from {{ source('erp', 'raw_a') }}",
    "models/dim.yml": "models:\n  - name: dim\n    latest_version: 2\n"
    "    versions: [{v: 1}, {v: 2}]\n",
    "models/dim_v1.sql": "select 1 as a",
    "models/dim_v2.sql": "select 2 as a, 3 as b",
    "models/marts/product.sql": "select s.a, s.b from {{ ref('stg_a') }} as s\n"
    "join {{ ref('old', 'dim', v=1) }} as d using (a)",
    "models/marts/other.sql": "select 1 as a",
    "models/marts/broken.sql": "select nothing_like_this(1) as a",
    "models/marts/snake.py": "def model(dbt, session):\n"
    "    dbt.config(materialized='table', access='public')\n"
    "    return session.sql('select 1 as a')\n",
    "models/marts/m.yml": f"""
models:
-   name: product
    access: public
    group: team
    columns:
      - {{name: a, data_tests: [unique, not_null], constraints: [{{type: check, expression: a > 0}},
         {{type: foreign_key, to: "ref('dim')", to_columns: [a]}}]}}
-   name: other
    access: public
    columns: [{KEY}]
-   name: broken
    access: public
-   name: gone
    access: public
    config: {{enabled: false}}
""",
    "models/marts/gone.sql": "select 1 as a",
    "models/sources.yml": """
sources:
  - name: erp
    description: The ERP.
    tags: [raw]
    overrides: pkg
    freshness: {warn_after: {count: 1, period: day}}
    loaded_at_field: sentAt
    tables:
      - name: raw_a
        columns: [{name: a, data_tests: [not_null, unique]}, {name: b, data_tests: [not_null]}]
      - name: sent
        config: {freshness: {error_after: {count: 2, period: day}}, tags: [pii], event_time: sentAt,
          enabled: "{{ target.name != 'x' }}"}
        columns: [{name: orderId, data_type: integer}, {name: sentAt, data_type: timestamp}]
      - name: unwatched
        freshness: null
        columns: [{name: id, data_type: integer}]
      - name: absent
        columns: [{name: a, data_type: integer}]
""",
}


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    return new_mesh()


@pytest.fixture(scope="module")
def done(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    project = write(tmp_path_factory.mktemp("elsewhere") / "old", FILES)
    return import_project(mesh.repository, project, "moved", ("Bikes", "bikes@tiny.example"))


def declared(mesh: Mesh, file: str) -> dict:
    return yaml.safe_load((mesh.root / "domains/moved" / file).read_text())


def test_groups_stay_so_that_private_models_can_be_read(mesh: Mesh, done: Imported):
    domain = mesh.repository.domain("moved")
    assert domain.problems == ()
    assert {each.model: each.group for each in domain.products} == {
        "product": "team", "other": "moved",
    }  # fmt: skip
    assert domain.owners["moved"]["email"] == "own@x.example"
    assert any("`--owner` was not written" in each for each in done.decisions)


def test_a_ref_to_the_project_keeps_its_version(mesh: Mesh, done: Imported):
    sql = (done.folder / "models/marts/product.sql").read_text()
    assert "{{ ref('dim', v=1) }}" in sql


def test_only_what_dbtignore_names_and_hidden_files_are_not_copied(mesh: Mesh, done: Imported):
    assert (done.folder / "models/staging/target/stg_a.sql").exists()
    assert (done.folder / "seeds/logs/deep.csv").exists()
    assert not (done.folder / "models/ignored").exists()
    assert "absent" in done.topics
    assert any(".dbtignore names them: 3 files" in each for each in done.decisions)
    names = "begin with a dot: models/.older/dim.sql, seeds/.raw_b.csv. "
    assert any(names in each for each in done.decisions)


def test_tests_of_a_source_join_those_of_its_seed(mesh: Mesh, done: Imported):
    [seed] = declared(mesh, "seeds/seeds.yml")["seeds"]
    assert seed["description"] == "Mine."
    assert seed["columns"] == [
        {"name": "A", "data_tests": ["unique", "not_null"]},
        {"name": "b", "data_tests": ["not_null"]},
    ]
    assert any("`raw_a` was left out: these are seeds" in each for each in done.decisions)


def test_settings_of_a_source_stay_with_each_of_its_topics(mesh: Mesh, done: Imported):
    [source] = declared(mesh, "models/topics.yml")["sources"]
    assert source["description"] == "erp: The ERP."
    sent, unwatched, _ = source["tables"]
    assert [each["name"] for each in sent["columns"]] == ["orderId", "sentAt"]
    config = sent["config"]
    assert config["freshness"] == {
        "warn_after": {"count": 1, "period": "day"},
        "error_after": {"count": 2, "period": "day"},
    }
    assert (config["loaded_at_field"], config["event_time"]) == ("sentAt", "sentAt")
    assert config["tags"] == ["raw", "pii"]
    assert unwatched["config"]["freshness"] is None
    assert len([each for each in done.decisions if "have capitals" in each]) == 1
    assert any("sent: `orderId`, `sentAt`" in each for each in done.decisions)
    not_kept = "left out: `enabled` of erp.sent, `overrides` of erp."
    assert any(not_kept in each for each in done.decisions)


def test_settings_and_constraints_stay_or_are_named(mesh: Mesh, done: Imported):
    assert declared(mesh, "dbt_project.yml")["functions"] == {"moved": {"+tags": ["f"]}}
    said = "`analyses`, `restrict-access` of dbt_project.yml did not stay"
    assert any(each.startswith(said) for each in done.decisions)
    product = declared(mesh, "models/marts/m.yml")["models"][0]
    assert product["name"] == "product"
    assert product["columns"][0]["constraints"] == [
        {"type": "not_null"},
        {"type": "check", "expression": "a > 0"},
    ]
    assert any("`foreign_key` of `a`" in each for each in done.decisions)


@pytest.mark.parametrize(
    "words",
    [
        "`broken` does not build here, and stays private",
        "`snake` stays private, because it is written in Python",
        "`gone` is public in the project, but dbt does not build it",
    ],
)
def test_each_public_model_that_stays_private_is_named(done: Imported, words: str):
    assert [each for each in done.decisions if words in each], done.decisions


def test_a_public_setting_in_python_is_gone(done: Imported):
    text = (done.folder / "models/marts/snake.py").read_text()
    assert "dbt.config(materialized='table', )" in text


def test_a_version_of_another_domain_is_read_as_asked(mesh: Mesh, tmp_path: Path):
    version_orders(mesh)
    version_files(mesh)
    project = write(
        tmp_path / "reader",
        {
            "dbt_project.yml": "name: reader\nprofile: x\n",
            "models/first.sql": "select order_id from {{ ref('shop', 'orders', v=1) }}",
            "models/newest.sql": "select order_id from {{ ref('shop', 'orders') }}",
        },
    )
    done = import_project(mesh.repository, project, None, None)
    staging = done.folder / "models/staging"
    first = (staging / "stg_shop__orders_v1.sql").read_text()
    assert "    customer_id,\n" in first
    assert "{{ ref('shop', 'orders', v=1) }}" in first
    newest = (staging / "stg_shop__orders.sql").read_text()
    assert "    store_id\n" in newest
    assert "{{ ref('shop', 'orders') }}" in newest
    assert "ref('stg_shop__orders_v1')" in (done.folder / "models/first.sql").read_text()


def test_a_private_model_in_marts_stays_private(mesh: Mesh, tmp_path: Path):
    project = write(
        tmp_path / "quiet",
        {
            "dbt_project.yml": "name: quiet\nprofile: x\n",
            "models/marts/hidden.sql": "{{ config(group='team', access='private') }}select 1 as a",
            "models/marts/shown.sql": "select 1 as a",
            "models/marts/m.yml": "groups: [{name: team, owner: {name: T, email: t@x.example}}]\n"
            f"models:\n  - {{name: hidden, columns: [{KEY}]}}\n"
            f"  - {{name: shown, columns: [{KEY}]}}\n",
        },
    )
    done = import_project(mesh.repository, project, None, None)
    assert [each.model.name for each in done.products] == ["shown"]
