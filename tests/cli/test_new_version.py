"""`mesh new version` writes the files of the next version, and moves no reader."""

from __future__ import annotations

import pytest
import yaml

from tests.conftest import Mesh

FOLDER = "domains/shop/models/products"


def read(mesh: Mesh, name: str) -> str:
    return (mesh.root / FOLDER / name).read_text()


@pytest.fixture
def published(mesh: Mesh) -> Mesh:
    mesh.sell(1)
    mesh.run("run", "shop")
    return mesh


def test_a_new_version_is_published_beside_the_old_one_and_readers_stay(published):
    mesh = published
    mesh.edit(
        f"{FOLDER}/orders.yml", "    columns:\n", "    # What the till sends.\n    columns:\n"
    )
    mesh.edit(f"{FOLDER}/orders.checks.yml", "checks:\n  - schema:", """\
checks:
  - failed_rows:
      name: No order twice
      qualifier: twice
      query: select order_id from shop.orders group by 1 having count(*) > 1
      threshold: {must_be: 0}
  - schema:""")  # fmt: skip
    before = read(mesh, "orders.yml")
    done = mesh.run("new", "version", "shop.orders")
    said = done.stdout + done.stderr
    assert f"wrote    {FOLDER}/orders_v2.sql" in said
    assert "shop.orders still shows version 1" in said
    after = read(mesh, "orders.yml")
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert [line for line in after.splitlines() if line not in added] == before.splitlines()
    assert "    # What the till sends.\n" in after
    [model] = yaml.safe_load(after)["models"]
    assert model["latest_version"] == 1
    assert model["versions"] == [
        {"v": 1, "defined_in": "orders"}, {"v": 2, "columns": [{"include": "all"}]},
    ]  # fmt: skip
    assert read(mesh, "orders_v2.sql") == read(mesh, "orders.sql")
    assert "from shop.orders_v2 group" in read(mesh, "orders_v2.checks.yml")
    assert "from shop.orders_v1 group" in read(mesh, "orders.checks.yml")

    mesh.run("check")
    mesh.run("run", "shop", "crm")
    assert mesh.row("select count(*) from shop.orders_v2") == (1,)
    assert mesh.row("select orders from crm.customers") == (1,)

    # A third one, copied from a version with own columns.
    mesh.edit(
        f"{FOLDER}/orders.yml",
        "          - include: all\n",
        "          - include: all\n            exclude: [sold_at]  # not asked for\n",
    )
    mesh.edit(f"{FOLDER}/orders.yml", "latest_version: 1", "latest_version: 2")
    mesh.edit(f"{FOLDER}/orders_v2.sql", "cast(amount as decimal(12, 2)) as amount,",
              "cast(amount as decimal(12, 2)) as amount")  # fmt: skip
    mesh.edit(f"{FOLDER}/orders_v2.sql",
              "    cast(sold_at as {{ type_timestamptz() }}) as sold_at\n", "")  # fmt: skip
    mesh.run("new", "version", "shop.orders")
    third = yaml.safe_load(read(mesh, "orders.yml"))["models"][0]["versions"][2]
    assert third == {"v": 3, "columns": [{"include": "all", "exclude": ["sold_at"]}]}
    assert read(mesh, "orders_v3.sql") == read(mesh, "orders_v2.sql")
    mesh.run("check")


def test_what_cannot_be_done_is_refused_and_nothing_is_written(published):
    mesh = published
    files = sorted(path.name for path in (mesh.root / FOLDER).iterdir())
    assert "crm.customers was never published" in mesh.run(
        "new", "version", "crm.customers", code=2
    ).stderr  # fmt: skip
    assert "`stg_sales` is a private model" in mesh.run(
        "new", "version", "shop.stg_sales", code=2
    ).stderr  # fmt: skip
    mesh.write(f"{FOLDER}/orders_v2.sql", "select 1 as mine\n")
    before = read(mesh, "orders.yml")
    assert "orders_v2.sql exists already" in mesh.run(
        "new", "version", "shop.orders", code=2
    ).stderr  # fmt: skip
    assert read(mesh, "orders_v2.sql") == "select 1 as mine\n"
    assert read(mesh, "orders.yml") == before
    (mesh.root / FOLDER / "orders_v2.sql").unlink()
    start = before.index("    description")
    rest = before[start : before.index("unit_tests:")]
    flow = before.replace("  - name: orders\n" + rest, "  - " + str(
        yaml.safe_load("name: orders\n" + "\n".join(line[4:] for line in rest.splitlines()))
    ) + "\n")  # fmt: skip
    mesh.write(f"{FOLDER}/orders.yml", flow)
    assert "written in braces" in mesh.run("new", "version", "shop.orders", code=2).stderr
    assert sorted(path.name for path in (mesh.root / FOLDER).iterdir()) == files
