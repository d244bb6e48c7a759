"""`mesh new domain`, `mesh new product`, `mesh new reference`: files that run at once."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import Mesh, make_mesh, sale

DEPENDENCIES = "domains/crm/dependencies.yml"


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Mesh:
    """A mesh with a published product `shop.orders`, for tests that do not run anything."""
    return make_mesh(tmp_path_factory.mktemp("shared"))


def files(mesh: Mesh) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for path in mesh.root.rglob("*")
        if path.is_file() and not {".mesh", "target"} & {*path.parts}
    }


def refused(mesh: Mesh, *arguments: str) -> str:
    before = files(mesh)
    said = mesh.run("new", *arguments, code=2).stderr
    assert files(mesh) == before
    [line] = said.splitlines()
    return line.removeprefix("mesh: ")


def test_from_a_new_domain_to_a_published_product(mesh: Mesh):
    """A second domain reads the first; nobody edits a file."""
    mesh.sell(1, 2)
    mesh.run("run", "shop")
    mesh.run("new", "domain", "web_shop", "--email", "web@tiny.example")
    owner = yaml.safe_load((mesh.root / "domains/web_shop/models/domain.yml").read_text())
    assert owner["groups"][0]["owner"] == {"name": "Web shop team", "email": "web@tiny.example"}
    said = mesh.run("new", "product", "web_shop.paid_orders", "--from", "shop.orders").stderr
    assert "wrote    domains/web_shop/dependencies.yml" in said
    assert "wrote    domains/web_shop/models/staging/stg_shop__orders.sql" in said
    mesh.run(
        "new", "product", "web_shop.again", "--from", "stg_shop__orders", "--grain", "order_id"
    )
    assert mesh.run("check").stderr.startswith("0 findings")
    mesh.run("run", "web_shop")
    assert mesh.rows("select count(*) from web_shop.paid_orders") == [(2,)]
    assert mesh.rows("select * from web_shop.again") == mesh.rows("select * from shop.orders")
    # What consumers see now is read, not what is declared but not published yet.
    mesh.edit(
        "domains/shop/models/products/orders.yml", "    columns:\n",
        "    columns:\n      - {name: planned, data_type: bigint, description: Later.}\n",
    )  # fmt: skip
    mesh.run("new", "reference", "crm", "--to", "shop.totals")
    mesh.run("new", "domain", "other", "--email", "o@tiny.example")
    mesh.run("new", "reference", "other", "--to", "shop.orders")
    text = (mesh.root / "domains/other/models/staging/stg_shop__orders.sql").read_text()
    assert "planned" not in text
    assert "from {{ ref('shop', 'orders') }}\n" in text


def test_an_event_that_came_twice_is_one_row_of_a_product_from_a_topic(mesh: Mesh):
    mesh.write("sales.jsonl", "".join(sale(n)[1].decode() + "\n" for n in (1, 2, 1)))
    mesh.run("new", "domain", "tills", "--email", "tills@tiny.example")
    mesh.run("new", "topic", "tills.slips", "--from", "sales.jsonl", "--key", "sale_id")
    mesh.run("topic", "produce", "tills.slips", "sales.jsonl")
    said = refused(mesh, "product", "tills.sales", "--from", "tills_raw.slips")
    assert said.endswith("Give --grain, such as --grain sale_id.")
    mesh.run("new", "product", "tills.sales", "--from", "tills_raw.slips", "--grain", "sale_id")
    mesh.run("new", "product", "tills.same", "--from", "tills.slips", "--grain", "sale_id")
    assert mesh.run("check").stderr.startswith("0 findings")
    mesh.run("run", "tills")
    assert mesh.rows("select sale_id from tills.sales order by 1") == [(1,), (2,)]
    assert mesh.rows("select sale_id from tills.same order by 1") == [(1,), (2,)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "projects:\n  - name: shop\n"),
        ("", "projects:\n  - name: shop\n"),
        ("# Why.\npackages: []", "# Why.\npackages: []\nprojects:\n  - name: shop\n"),
        (
            "# Why.\nprojects:\n# and\n- name: crm # first\n\n# more\npackages: []\n",
            "# Why.\nprojects:\n# and\n- name: crm # first\n- name: shop\n\n# more\npackages: []\n",
        ),
        (
            "projects:\r\n    - name: crm\r\n",
            "projects:\r\n    - name: crm\r\n    - name: shop\r\n",
        ),
        ("projects:\n  - name: shop\n", "projects:\n  - name: shop\n"),
    ],
    ids=["no file", "empty", "no projects", "comments", "windows", "there already"],
)
def test_dependencies_keep_their_form(mesh: Mesh, before: str | None, after: str):
    mesh.run("new", "domain", "web", "--email", "web@tiny.example")
    path = mesh.root / "domains/web/dependencies.yml"
    if before is not None:
        path.write_bytes(before.encode())
    mesh.run("new", "reference", "web", "--to", "shop.orders")
    assert path.read_bytes().decode() == after


def test_dependencies_in_brackets_are_left_to_people(mesh: Mesh):
    mesh.run("new", "domain", "web", "--email", "web@tiny.example")
    mesh.write("domains/web/dependencies.yml", "\nprojects: [{name: crm}]\n")
    said = refused(mesh, "reference", "web", "--to", "shop.orders")
    assert said.startswith("domains/web/dependencies.yml:2: this file cannot be extended")
    assert "Add `- name: shop` under `projects:` by hand" in said


REFUSED = {
    "a domain that exists": (
        ["domain", "shop", "--email", "a@b.example"], "There is a domain `shop` already."
    ),
    "the root": (["domain", "mesh", "--email", "a@b.example"], "There is a domain `mesh` already."),
    "a path": (["domain", "../x", "--email", "a@b.example"], "`../x` cannot name a domain."),
    "no name": (["domain", "", "--email", "a@b.example"], "`` cannot name a domain."),
    "no address": (["domain", "web", "--email", "nobody"], "`nobody` is not an e-mail address"),
    "no option and no terminal": (
        ["domain", "web"], "--email is missing, and there is no terminal to ask."
    ),
    "an owner that is an escape": (
        ["domain", "web", "--email", "a@b.example", "--owner", "\x1b[2J"], "cannot be printed"
    ),
    "an owner that is Jinja": (
        ["domain", "web", "--email", "a@b.example", "--owner", "{{ x }}"], "holds Jinja"
    ),
    "a product without a domain": (
        ["product", "orders"], "Write DOMAIN.NAME, such as sales.orders."
    ),
    "a product of an unknown domain": (["product", "web.orders"], "There is no domain `web`."),
    "a product that exists": (["product", "shop.orders"], "shop has a model `orders` already."),
    "a name that is a private model": (
        ["product", "shop.stg_sales"], "shop has a model `stg_sales` already."
    ),
    "a bad name": (["product", "shop.Orders-2"], "`Orders-2` cannot name a product."),
    "a source that is unknown": (
        ["product", "shop.x", "--from", "shop.y"],
        "`shop.y` is neither a product, nor a raw table, topic or model of shop. It can read: "
        "shop_raw.sales, stg_sales, shop.orders",
    ),
    "no grain and no terminal": (
        ["product", "shop.x", "--from", "stg_sales"], "--grain is missing"
    ),
    "a grain without a column": (
        ["product", "shop.x", "--from", "stg_sales", "--grain", "nothing"],
        "`stg_sales` has no column `nothing`, which the grain names. Columns: sale_id",
    ),
    "a grain twice": (
        ["product", "shop.x", "--from", "stg_sales", "--grain", "sale_id,sale_id"],
        "--grain names no column, or one twice.",
    ),
    "a circle": (
        ["product", "shop.x", "--from", "crm.customers"],
        "crm reads products of shop, directly or through other domains",
    ),
    "a reference to itself": (
        ["reference", "shop", "--to", "shop.orders"], "is a product of shop itself"
    ),
    "a staging model that is there": (
        ["reference", "crm", "--to", "shop.orders"],
        "domains/crm/models/staging/stg_shop__orders.sql exists already, and is never overwritten.",
    ),
    "a domain as a product": (["reference", "crm", "--to", "shop"], "`shop` is not a product."),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_one_line_and_changes_nothing(shared, arguments, said):
    assert said in refused(shared, *arguments)


def test_the_root_domain_reads_products_too(mesh: Mesh):
    mesh.sell(1)
    mesh.run("run")
    mesh.run("new", "product", "mesh.order_list", "--from", "shop.orders")
    assert mesh.run("check").stderr.startswith("0 findings")
    mesh.run("run", "mesh.order_list")
    assert mesh.rows("select count(*) from mesh.order_list") == [(1,)]


def test_names_that_sql_reserves_are_quoted(mesh: Mesh):
    mesh.sell(1)
    mesh.write(
        "domains/shop/models/staging/stg_odd.sql",
        """select sale_id as "order", amount as "group", _timestamp as event_at,
        _landed_at as landed_at, _topic_partition as event_partition, _offset as event_offset
        from {{ source('shop_raw', 'sales') }}""",
    )
    arguments = ["--from", "stg_odd", "--grain", "order", "--description", "Odd: 'a' \"b\" # c"]
    mesh.run("new", "product", "shop.odd", *arguments)
    mesh.run("run", "shop.odd")
    assert mesh.rows('select "order" from shop.odd') == [(1,)]
    assert mesh.run("show", "shop.odd").stdout.startswith("shop.odd: Odd: 'a' \"b\" # c One row")


def test_sql_that_does_not_run_gives_no_columns(mesh: Mesh):
    mesh.write(
        "domains/shop/models/staging/stg_bad.sql", "select nothing from {{ ref('stg_sales') }}"
    )
    said = refused(mesh, "product", "shop.x", "--from", "stg_bad", "--grain", "a")
    assert said.startswith("The columns of `stg_bad` are unknown, because its SQL does not run:")


def test_a_terminal_is_asked_for_what_is_missing(shared: Mesh):
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        shared.command("new", "domain", "asked"), cwd=shared.root, env=shared.environment,
        stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    os.close(terminal)
    os.write(controller, b"asked@tiny.example\n")
    output, _ = process.communicate(timeout=120)
    os.close(controller)
    assert process.returncode == 0, output
    assert "E-mail address of Asked team" in output
    path = Path(shared.root, "domains/asked/models/domain.yml")
    assert "email: asked@tiny.example" in path.read_text()
