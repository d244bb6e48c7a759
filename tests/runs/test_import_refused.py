"""An import that cannot be done says why in one line, and leaves nothing."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meshhouse.errors import MeshError, UsageError
from meshhouse.lint.rules import check_domain
from meshhouse.repository.waivers import read_waivers
from meshhouse.runs import import_project as importing
from meshhouse.runs.import_project import import_project
from tests.conftest import Mesh
from tests.support.foreign import bikes, write
from tests.support.tiny import ROOT

PROJECT = "name: bikes\nprofile: x\n"
REFUSED = {
    "no project": ({"a.txt": ""}, UsageError, "has no dbt_project.yml"),
    "no name": ({"dbt_project.yml": "profile: x\n"}, UsageError, "gives the project no `name`"),
    "bad name": ({"dbt_project.yml": "name: My__Bikes\n"}, UsageError, "Give another name with"),
    "taken name": ({"dbt_project.yml": "name: shop\n"}, UsageError, "overwrites nothing"),
    "not YAML": ({"models/a.yml": ": no: ["}, UsageError, "models/a.yml:1: this is not valid YAML"),
    "models that are a number": (
        {"models/a.yml": "version: 2\nmodels: 3"}, UsageError, "models/a.yml:2: `models` must be",
    ),
    "a source without tables": (
        {"models/a.yml": "sources:\n  - name: x\n    tables: 3"},
        UsageError, "models/a.yml:3: `tables` must be a list of mappings",
    ),
    "tests that are a word": (
        {"seeds/a.yml": "seeds:\n  - name: x\n    columns:\n      - {name: a, tests: unique}"},
        UsageError, "seeds/a.yml:4: `tests` must be a list",
    ),
    "a config that is a list": (
        {"models/a.yml": "models:\n  - {name: a, config: [b]}"},
        UsageError, "models/a.yml:2: `config` must be a mapping",
    ),
    "another project": (
        {"models/a.sql": "select 1 as a from {{ ref('nowhere', 'b') }}"},
        MeshError, "there is neither a domain nor an installed package `nowhere`",
    ),
    "no product": (
        {"models/a.sql": "select 1 as a from {{ ref('shop', 'order') }}"},
        MeshError, "shop publishes no product `order`",
    ),
    "no package": (
        {"packages.yml": "packages:\n  - local: ../nowhere\n"},
        MeshError, "packages.yml: there is no dbt project in ../nowhere",
    ),
    "packages are not YAML": (
        {"packages.yml": "packages: ["}, UsageError, "packages.yml:1: this is not valid YAML",
    ),
    "no such version": (
        {"models/a.sql": "select 1 as a from {{ ref('shop', 'orders', v=7) }}"},
        MeshError, "reads version 7 of shop.orders, which is not published. Versions: none",
    ),
    "no plain version": (
        {"models/a.sql": "select 1 as a from {{ ref('shop', 'orders', v=newest) }}"},
        MeshError, "which version that is cannot be known",
    ),
    "no Jinja": (
        {"models/a.sql": "select {% if %}"}, MeshError, "models/a.sql:1: Expected an expression",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_says_why_and_leaves_nothing(mesh: Mesh, tmp_path: Path, name: str):
    files, kind, words = REFUSED[name]
    base = {} if name == "no project" else {"dbt_project.yml": PROJECT}
    project = write(tmp_path / "bikes", {**base, **files})
    with pytest.raises(MeshError) as caught:
        import_project(mesh.repository, project, None, None)
    assert type(caught.value) is kind or isinstance(caught.value, kind)
    assert words in str(caught.value)
    assert ".importing" not in str(caught.value)
    assert sorted(each.name for each in (mesh.root / "domains").iterdir()) == ["crm", "shop"]


def test_a_linked_folder_is_refused(mesh: Mesh, tmp_path: Path):
    outside = write(tmp_path / "outside", {"a.sql": "select 1 as a"})
    project = write(
        tmp_path / "bikes", {"dbt_project.yml": PROJECT, "models/b.sql": "select 1 as b"}
    )
    (project / "models/linked").symlink_to(outside)
    with pytest.raises(MeshError, match="models/linked is a link to a folder"):
        import_project(mesh.repository, project, None, None)


def test_a_killed_import_is_no_domain_and_the_next_one_works(mesh: Mesh, tmp_path: Path):
    project = bikes(tmp_path)
    stage = mesh.root / "domains" / ".importing"
    process = mesh.start("import", str(project))
    for _ in range(600):
        if stage.exists():
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert mesh.repository.domain_names == ("crm", "shop", "mesh")
    done = import_project(mesh.repository, project, None, ("Bikes", "bikes@tiny.example"))
    assert [each.model.name for each in done.products] == ["customers", "daily", "kinds"]
    assert not stage.exists()
    assert mesh.repository.domain("bikes").owner()["email"] == "bikes@tiny.example"


def test_an_import_in_another_workspace_waits_for_a_running_one(mesh, tmp_path, monkeypatch):
    project = write(tmp_path / "bikes", {"dbt_project.yml": PROJECT})
    copied = mesh.root / "domains/.importing/copied"
    waits = pytest.raises(MeshError, match=f"waiting for another import .process {os.getpid()}")

    def say(line: str) -> None:
        raise MeshError(line)

    def meanwhile(*_):
        assert not copied.exists(), "the other import did not wait"
        write(copied.parent, {copied.name: ""})
        monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))
        with waits:
            import_project(mesh.repository, project, "other", None, say)
        assert copied.exists()
        raise MeshError("the first import ends")

    monkeypatch.setattr(importing._Import, "run", meanwhile)
    with pytest.raises(MeshError, match="the first import ends"):
        import_project(mesh.repository, project, None, None)


def test_products_of_other_domains_are_read_through_staging(mesh: Mesh, tmp_path: Path):
    project = write(
        tmp_path / "of bikes",
        {
            "dbt_project.yml": PROJECT,
            "dependencies.yml": "projects:\n  - name: shop\n  - name: gone\n",
            "models/old/stg_shop__orders.sql": "select 1 as mine",
            "models/big.sql": "select order_id, amount from {{ ref('shop', 'orders') }}",
            "models/big.yml": "models:\n  - name: big\n    columns:\n"
            "      - {name: order_id, tests: [unique, not_null]}\n",
        },
    )
    done = import_project(mesh.repository, project, None, None)
    assert any("reads shop.orders through models/staging/" in each for each in done.decisions)
    domain = mesh.repository.domain("bikes")
    assert domain.upstream == ("shop",)
    [reference] = domain.references
    assert reference.path.name == "stg_shop__orders_2.sql"
    own = domain.path / "models/old/stg_shop__orders.sql"
    assert own.read_text() == "select 1 as mine"
    [product] = domain.products
    types = {each.name: each.data_type for each in product.columns}
    assert types == {"order_id": "bigint", "amount": "decimal(12,2)"}


def test_public_models_that_cannot_be_products_become_private(mesh: Mesh, tmp_path: Path):
    key = "columns: [{name: a, data_tests: [unique, not_null]}]"
    project = write(
        tmp_path / "public",
        {
            "dbt_project.yml": f"{PROJECT}models:\n  bikes:\n    marts:\n      +access: public\n",
            "models/marts/good.sql": "select 1 as a",
            "models/marts/keyless.sql": "select 1 as a",
            "models/marts/failing.sql": "{{ config(access='public') }}select nothing()",
            "models/other.sql": "select 1 as a",
            "models/marts/kept.sql": "select 1 as a",
            "models/marts/m.yml": f"models:\n  - name: good\n    access: public\n    {key}\n"
            "  - name: keyless\n    config: {access: public}\n"
            f"  - name: kept\n    access: protected\n    {key}\n",
        },
    )
    done = import_project(mesh.repository, project, None, None)
    assert [each.model.name for each in done.products] == ["good"]
    assert not [each for each in done.decisions if "mesh check" in each]
    domain = mesh.repository.domain("bikes")
    assert [each.relation for each in domain.products] == ["bikes.good"]
    assert [str(each) for each in check_domain(mesh.repository, domain)] == []


def test_rules_of_the_mesh_that_no_project_keeps_get_waivers_with_an_end(mesh: Mesh, tmp_path):
    mesh.write("policies.yml", (ROOT / "policies.yml").read_text())
    done = import_project(mesh.repository, bikes(tmp_path), None, ("Bikes", "bikes@tiny.example"))
    said = next(each for each in done.decisions if "have waivers until" in each)
    assert "column_descriptions" in said
    found = check_domain(mesh.repository, mesh.repository.domain("bikes"))
    assert [str(each) for each in found if not each.is_warning] == []
    waivers = read_waivers(mesh.root / "domains/bikes").waivers
    today = datetime.now(UTC).date()
    assert {each.owner for each in waivers} == {"Bikes <bikes@tiny.example>"}
    assert all(today < each.until <= today + timedelta(days=31) for each in waivers)
    assert "bikes.customers" in {each.product for each in waivers}


def test_an_address_that_is_none_is_blamed_on_the_option(mesh: Mesh, tmp_path: Path):
    said = mesh.run("import", str(tmp_path), "--owner", "Team <t@e.x>", code=2).stderr
    assert said.splitlines()[-1] == (
        "mesh: `--owner`: `t@e.x` is not an e-mail address, such as sales@example.com."
    )
