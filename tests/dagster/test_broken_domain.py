"""A broken domain is shown as broken, with file and line, and stops nobody else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from meshhouse.dagster.broken import broken_asset
from tests.conftest import WARM, Mesh

HERE = Path(__file__).parent
CUSTOMERS = "domains/crm/models/products/customers.yml"
SQL = "domains/crm/models/products/customers.sql"
STAGING = "domains/crm/models/staging/stg_shop__orders.sql"
CHECKS = "domains/crm/models/products/customers.checks.yml"
TOPICS, TOTALS = "domains/shop/models/topics.yml", "domains/shop/models/products/totals.yml"

BREAKS = {
    "YAML error": (CUSTOMERS, "description: Who", "description: : Who", f"{CUSTOMERS}:4: "),
    "grain as number": (CUSTOMERS, "[customer_id]", "5", f"{CUSTOMERS}:10: `grain` of config.meta"),
    "SQL not UTF-8": (SQL, "select\n", "select -- caf\udce9\n", f"{SQL}:1: this is not UTF-8 text"),
    "broken ref": (SQL, "ref('stg_shop__orders')", "ref('nope')",
                   f"{SQL}:5: ref('nope'): domain `crm` has no model of that name."),
    "ref to no product": (STAGING, "'orders'", "'nope'",
                          f"{STAGING}:5: shop publishes no product `nope`."),
}  # fmt: skip


@pytest.fixture(scope="module")
def published(new_mesh) -> Mesh:
    """A mesh in which every domain has published."""
    mesh = new_mesh()
    mesh.sell(*range(10))
    mesh.run("run")
    return mesh


@pytest.fixture
def mesh(published: Mesh) -> Iterator[Mesh]:
    """The same; what a test breaks in it is mended afterwards."""
    kept = published.root.with_name("kept")
    names = ("domains", "macros", "models")
    for name in names:
        shutil.copytree(published.root / name, kept / name, symlinks=True)
    yield published
    for name in names:
        shutil.rmtree(published.root / name)
        shutil.move(kept / name, published.root / name)
    kept.rmdir()


def edit(mesh: Mesh, file: str, old: str, new: str) -> None:
    path = mesh.root / file
    text = path.read_text()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode("utf-8", "surrogateescape"))


def program(mesh: Mesh, name: str, *arguments: str) -> dict:
    told = mesh.root / "told.json"
    output = mesh.root / "program.out", mesh.root / "program.err"
    command = [str(HERE / name), str(mesh.root), str(told), *arguments]
    process = WARM.start(command, mesh.root, mesh.environment, output)
    assert WARM.wait(process, 200) == 0, output[1].read_text()
    return json.loads(told.read_text())


@pytest.mark.parametrize("name", BREAKS)
def test_status_names_file_and_line_and_another_domain_runs(mesh, name):
    file, old, new, place = BREAKS[name]
    edit(mesh, file, old, new)
    done = mesh.run("status")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"mesh: crm is broken: {place}")
    assert "shop.orders" in done.stdout
    assert mesh.run("run", "shop").stderr.startswith("unchanged")
    assert mesh.rows("select count(*) from crm.customers") == [(1,)]


def test_a_run_of_everything_runs_the_others_and_fails_with_the_broken_one_named(mesh):
    edit(mesh, CUSTOMERS, "[customer_id]", "5")
    mesh.sell(100)
    done = mesh.run("run", code=1)
    assert f"failed    crm: {CUSTOMERS}:10: `grain` of config.meta" in done.stderr
    assert "published shop.orders: 11 rows" in done.stderr
    assert "unchanged mesh.overview" in done.stderr
    assert "Traceback" not in done.stderr
    summary = json.loads(mesh.run("run", "--json", code=1).stdout)
    assert [each["domain"] for each in summary["failed"]] == ["crm"]
    assert summary["not_run"] == []


def test_a_run_of_the_broken_domain_alone_is_misuse(mesh):
    edit(mesh, CUSTOMERS, "[customer_id]", "5")
    done = mesh.run("run", "crm", code=2)
    assert done.stderr.startswith(f"mesh: {CUSTOMERS}:10: ")
    assert mesh.run("run", "shop", "crm", code=1).stderr.startswith("failed    crm: ")


def test_what_uses_a_broken_domain_goes_on_with_what_that_has_published(mesh):
    # Of shop, nothing at all can be read: neither its products nor their versions.
    edit(mesh, "domains/shop/models/products/orders.yml", "models:", "models: [")
    edit(mesh, SQL, "coalesce(sum(amount), 0)", "coalesce(sum(amount), 0) + 1")
    done = mesh.run("run", "crm", "--confirm", "one more each")
    assert "published crm.customers: 1 row" in done.stderr
    assert "shop is broken: domains/shop/models/products/orders.yml:" in mesh.run("status").stderr


def test_what_reads_something_that_was_never_published_waits(new_mesh):
    mesh = new_mesh()
    edit(mesh, TOTALS, "grain: [orders]", "grain: 5")
    done = mesh.run("run", code=1)
    assert f"failed    shop: {TOTALS}:10: " in done.stderr
    assert "not run   crm: it uses a domain that failed" in done.stderr
    assert "not run   mesh: it uses a domain that failed" in done.stderr


def test_a_broken_macro_is_named_once_for_every_domain(mesh):
    (mesh.root / "macros" / "mine.sql").write_text("\n{% macro x( %}{% endmacro %}")
    problem = "macros/mine.sql:2: its Jinja cannot be read"
    status = mesh.run("status").stderr
    assert status.startswith(f"mesh: shop, crm, mesh are broken: {problem}")
    assert problem in mesh.run("run", "shop", "--force", code=1).stderr
    assert mesh.run("land").stderr.startswith("0 rows landed")


@pytest.mark.parametrize("schema", ["crm", "../../../../OUT"])
def test_nothing_lands_in_a_schema_that_is_not_the_domains(mesh, schema):
    edit(mesh, TOPICS, "schema: shop_raw", f"schema: {schema}")
    mesh.sell(1_000 + len(schema))
    for arguments in (["land"], ["run"]):
        done = mesh.run(*arguments, code=None)
        assert done.returncode in (1, 2)
        assert f"{TOPICS}:4: raw tables of `shop` must be in the schema `shop_raw`" in done.stderr
        assert "landed   " not in done.stderr
    outside = mesh.root / "../../../../OUT"
    assert not outside.resolve().exists()


def test_dagster_loads_every_other_domain_and_the_broken_one_as_an_asset_that_says_why(mesh):
    edit(mesh, CUSTOMERS, "[customer_id]", "5")
    # This one only dbt finds; what shop lands is there all the same.
    edit(
        mesh, "domains/shop/models/products/totals.sql", "ref('orders')", "ref('orders') | nofilter"
    )
    told = program(mesh, "describe.py")["assets"]
    assert set(told) >= {"shop/raw.sales", "mesh/overview", "mesh/build.overview"}
    place = f"{CUSTOMERS}:10: `grain` of config.meta of a model must be"
    assert told["crm/broken"]["description"].startswith(
        f"The domain crm is broken:\n\n```\n{place}"
    )
    assert told["crm/broken"]["group"] == "crm"
    place = "The domain shop is broken:\n\n```\n"
    assert told["shop/broken"]["description"].startswith(place)
    assert "domains/shop/models/products/totals.sql:" in told["shop/broken"]["description"]
    done = program(mesh, "materialize.py", "crm/broken")
    assert not done["success"]
    assert done["failures"][0].startswith(f"{CUSTOMERS}:10: ")


def test_broken_domains_of_any_names_load_beside_each_other_and_their_text_is_no_markdown():
    names = [
        "shop_eu",
        "shop-eu",
        "shop.eu",
        "größe",
        "grüße",
        "日本",
        "中国",
        "",
        "class",
        "config",
        "a b",
        "a\tb",
    ]
    because = "x.yml:1: `<img src=x>` ![](http://x/) ````\n# heading"
    assets = [broken_asset(name, because) for name in names]
    dg.Definitions.validate_loadable(dg.Definitions(assets=assets))
    assert len({asset.key for asset in assets}) == len(names)
    assert len({asset.specs_by_key[asset.key].group_name for asset in assets}) == len(names)
    assert assets[0].key == dg.AssetKey(["shop_eu", "broken"])
    said = assets[1].descriptions_by_key[assets[1].key]
    # A fence that is longer than any in the text holds all of it.
    assert "\n`````\n" + because + "\n`````\n" in said


def test_a_file_that_is_broken_after_the_location_was_loaded_fails_no_run_of_another_domain(mesh):
    # A run of Dagster loads the definitions in its own process, as this program does.
    edit(mesh, SQL, "select\n", "select -- caf\udce9\n")
    done = program(mesh, "materialize.py", "shop/raw.sales", "shop/build.stg_sales",
                   "shop/build.orders", "shop/orders")  # fmt: skip
    assert done == {"success": True, "failures": []}


def test_a_publication_can_be_looked_at_while_its_domain_is_broken(mesh):
    edit(mesh, STAGING, "'orders') }}", "'orders' }}")
    assert mesh.history("crm.customers")
    done = mesh.run("history", "crm.nothing", code=2)
    assert done.stderr.startswith(f"mesh: {STAGING}:5: its Jinja cannot be read")
