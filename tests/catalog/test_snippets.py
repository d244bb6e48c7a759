"""What a reader copies from the page of a product runs as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from meshhouse.catalog.documents import ColumnFacts
from meshhouse.catalog.pages.snippets import reference, snippets
from tests.support.catalog_mesh import full_mesh
from tests.support.catalog_site import Site
from tests.support.snowflake_here import needs_snowflake

PRODUCT = "shop.orders"


def run(command: list[str], mesh, **variables: str) -> str:
    """Runs a command as a reader would in the repository; returns what it printed."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**mesh.environment, "PATH": tools, **variables}
    done = subprocess.run(
        command, cwd=mesh.root, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def of_kind(site: Site, *kinds: str) -> dict[str, str]:
    """Page -> its block of some kinds."""
    return {page: text for (page, kind), text in site.blocks().items() if kind in kinds}


def test_every_block_of_the_site_is_of_a_kind_that_a_test_below_runs(real_site):
    kinds = {kind for _, kind in real_site.blocks()}
    assert kinds == {"sql", "ledger", "shell", "python", "dependencies", "dbt", "pyspark"}


def test_the_sql_of_every_page_runs(real_site):
    """Products and the ledger."""
    assert sorted(row[0] for row in real_site.mesh.rows(real_site.block(PRODUCT, "sql"))) == [
        1,
        2,
        3,
    ]
    found = of_kind(real_site, "sql", "ledger")
    assert "ledger.html" in found
    for page, text in found.items():
        assert real_site.mesh.rows(text), page


def test_the_lines_for_the_terminal_run(real_site):
    shown = run(["sh", "-c", real_site.block(PRODUCT, "shell")], real_site.mesh)
    assert "order_id" in shown
    assert "1.50" in shown
    for text in of_kind(real_site, "shell").values():
        run(["sh", "-c", text], real_site.mesh)


def test_the_python_runs(real_site):
    shown = run([sys.executable, "-c", real_site.block(PRODUCT, "python")], real_site.mesh)
    assert "order_id" in shown
    # One process for the others: the imports take a second.
    together = "\n".join(of_kind(real_site, "python").values())
    run([sys.executable, "-c", together], real_site.mesh)


def test_the_model_for_dbt_builds_in_a_domain_that_did_not_read_the_product(real_site):
    mesh = real_site.mesh
    mesh.write(
        "domains/fresh/dbt_project.yml",
        (mesh.root / "domains/crm/dbt_project.yml").read_text().replace("crm", "fresh"),
    )
    mesh.write(
        "domains/fresh/models/domain.yml",
        (mesh.root / "domains/crm/models/domain.yml").read_text().replace("crm", "fresh"),
    )
    named = [yaml.safe_load(text) for text in of_kind(real_site, "dependencies").values()]
    projects = [each for one in named for each in one["projects"]]
    unique = {each["name"]: each for each in projects}
    mesh.write("domains/fresh/dependencies.yml", yaml.safe_dump({"projects": [*unique.values()]}))
    models = of_kind(real_site, "dbt")
    for page, text in models.items():
        name = page.removeprefix("products/").removesuffix(".html").replace("/", "__")
        mesh.write(f"domains/fresh/models/staging/stg_{name}.sql", text)
    done = mesh.dbt("fresh", "build")
    assert f"PASS={len(models)}" in done.stdout
    mesh.run("check")


@pytest.mark.server
def test_the_block_for_spark_runs(real_site, tmp_path):
    """In a new process without network: Spark finds its packages in a folder."""
    from meshhouse.engines.spark.session import iceberg_jars, sparks_java

    for jar in iceberg_jars():
        name, _, version = jar.stem.rpartition("-")
        kept = tmp_path / "jars" / name / version
        kept.mkdir(parents=True)
        (kept / jar.name).symlink_to(jar)
    pattern = f"{tmp_path}/jars/[module]/[revision]/[artifact]-[revision].[ext]"
    (tmp_path / "ivy.xml").write_text(
        f'<ivysettings><settings defaultResolver="kept"/><caches defaultCacheDir="{tmp_path}/ivy"/>'
        f'<resolvers><filesystem name="kept"><artifact pattern="{pattern}"/></filesystem>'
        "</resolvers></ivysettings>"
    )
    (tmp_path / "spark-defaults.conf").write_text(
        f"spark.jars.ivySettings {tmp_path}/ivy.xml\nspark.ui.enabled false\n"
    )
    block = real_site.block(PRODUCT, "pyspark")
    java = str(sparks_java().resolve().parent.parent)
    shown = run([sys.executable, "-c", block], real_site.mesh,
                SPARK_CONF_DIR=str(tmp_path), JAVA_HOME=java)  # fmt: skip
    assert "order_id" in shown


@needs_snowflake
def test_the_sql_runs_in_a_warehouse(mesh, chosen, tmp_path):
    from meshhouse.catalog.build import Catalog
    from meshhouse.engines.snowflake.session import connect
    from meshhouse.landing import land_table
    from meshhouse.runs.run import run_domain

    mesh.sell(1, 2, 3)
    repository = mesh.repository
    shop = repository.domain("shop")
    for raw in shop.raw_tables:
        land_table(repository, chosen.store, raw)
    assert run_domain(repository, chosen, shop).outcome == "published"
    built = Catalog(repository, chosen, folder=tmp_path / "site").build()
    site = Site(mesh, built.folder)
    rows = connect().rows(site.block(PRODUCT, "sql"))
    assert sorted(row[0] for row in rows) == [1, 2, 3]
    variables = {
        name: value for name, value in os.environ.items()
        if name.startswith(("SNOWFLAKE_", "MESH_TARGET"))
    }  # fmt: skip
    assert "order_id" in run(["sh", "-c", site.block(PRODUCT, "shell")], mesh, **variables).lower()


def test_an_older_version_is_named_in_the_reference():
    product = replace(
        full_mesh().products[0], is_latest=False, version=2, relation="shop.orders_v2"
    )
    assert reference(product) == "'shop', 'orders', v=2"
    text = next(each.text for each in snippets(product, "lake") if each.kind == "dbt")
    assert "{{ ref('shop', 'orders', v=2) }}" in text


@pytest.mark.parametrize("name", ["{{ evil() }}", "a'b", "x\ny", 'a"b', "é" * 3, "n" * 500])
def test_a_column_that_is_more_than_a_name_is_not_copied_into_dbt(name):
    product = replace(full_mesh().products[0], columns=(ColumnFacts(name, "bigint"),))
    text = next(each.text for each in snippets(product, "lake") if each.kind == "dbt")
    assert text == "select\n    *\nfrom {{ ref('shop', 'orders') }}"


def test_a_reserved_word_is_quoted_for_dbt():
    product = replace(full_mesh().products[0], columns=(ColumnFacts("order", "bigint"),))
    text = next(each.text for each in snippets(product, "lake") if each.kind == "dbt")
    assert "{{ adapter.quote('order') }}" in text


@pytest.mark.parametrize(
    ("storage", "kinds"),
    [
        ("lake", {"sql", "shell", "python", "dependencies", "dbt", "pyspark"}),
        ("store", {"sql", "shell", "python", "dependencies", "dbt"}),
        ("warehouse", {"sql", "shell", "dependencies", "dbt"}),
    ],
)
def test_only_blocks_that_work_for_the_mesh_are_shown(storage, kinds):
    assert {each.kind for each in snippets(full_mesh().products[0], storage)} == kinds
