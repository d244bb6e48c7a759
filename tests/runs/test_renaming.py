"""A product that is renamed or moved keeps its history, and its old name for a while."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from meshhouse.engines import engine
from meshhouse.runs import names
from meshhouse.serve.connection import published
from tests.conftest import Mesh
from tests.support.engines_help import run_local
from tests.support.kept import Kept

FOLDER = "domains/shop/models/products"
OTHER = "domains/crm/models/products"


@pytest.fixture(scope="module")
def sold_twice(new_mesh) -> Kept:
    """See `sold`."""
    mesh = new_mesh()
    mesh.write("domains/crm/models/staging/stg_shop__totals.sql",
               "select orders, amount from {{ ref('shop', 'totals') }}\n")  # fmt: skip
    for number in (1, 2):
        mesh.sell(number)
        mesh.run("run", "shop")
    return Kept(mesh.root)


@pytest.fixture
def sold(sold_twice: Kept) -> Mesh:
    """Two publications of `shop.totals`, and a reader in crm."""
    return Mesh(sold_twice.restored())


def rename(mesh: Mesh, folder: str, name: str, before: str = "shop.totals") -> None:
    """Gives the files of `shop.totals` another name or place."""
    for path in (mesh.root / FOLDER).glob("totals*"):
        path.rename(mesh.root / folder / path.name.replace("totals", name))
    path = f"{folder}/{name}.yml"
    mesh.edit(path, "name: totals", f"name: {name}")
    mesh.edit(path, "grain: [orders]", f"grain: [orders]\n        renamed_from: {before}")


def visible(mesh: Mesh) -> set[str]:
    return {name for name in published(mesh.repository) if "meshhouse" not in name}


def test_the_old_name_shows_the_new_product_until_the_notice_period_is_over(sold, monkeypatch):
    mesh = sold
    mesh.run("run", "crm")
    rename(mesh, FOLDER, "sums")
    said = mesh.run("check").stdout
    assert "stg_shop__totals.sql:1: warning: shop.totals is called shop.sums now" in said
    mesh.sell(3)
    mesh.run("run", "shop", "crm")
    assert mesh.rows("select orders from shop.sums") == mesh.rows("select orders from shop.totals")
    assert mesh.row("select orders from shop.totals") == (3,)
    kinds = [(each["product"], each["kind"]) for each in mesh.history("shop.sums")]
    assert kinds == [("sums", "publish"), ("sums", "rename"), ("totals", "publish"),
                     ("totals", "publish")]  # fmt: skip
    assert mesh.history("shop.totals") == mesh.history("shop.sums")
    listed = {each["product"] for each in json.loads(mesh.run("status", "--json").stdout)}
    assert "shop.sums" in listed
    assert "shop.totals" not in listed
    mesh.run("rollback", "shop.sums")
    assert mesh.row("select orders from shop.totals") == (2,)
    mesh.run("doctor")

    later = datetime.now(UTC) + timedelta(days=31)

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return later

    with monkeypatch.context() as patch:
        patch.setattr(names, "datetime", Later)
        run_local(mesh, "shop")
        assert "shop.totals" in visible(mesh)  # crm still uses it
        mesh.edit("domains/crm/models/staging/stg_shop__totals.sql", "'totals'", "'sums'")
        # The ledger knows the old name, although no declaration has it any more.
        mesh.edit(f"{FOLDER}/sums.yml", "\n        renamed_from: shop.totals", "")
        run_local(mesh, "shop")
    assert "shop.totals" not in visible(mesh)
    assert mesh.row("select orders from shop.sums") == (2,)


def test_a_reader_under_the_old_name_is_hit_after_the_new_name_was_published(sold):
    mesh = sold
    limit = "where amount <= (select max(amount) from {{ ref('stg_shop__totals') }})"
    mesh.edit(f"{OTHER}/customers.sql", "group by", f"{limit}\ngroup by")
    mesh.run("run", "crm")
    rename(mesh, FOLDER, "sums")
    mesh.sell(3)
    mesh.run("run", "shop")
    mesh.edit(f"{FOLDER}/sums.sql", "cast(coalesce(sum(amount), 0) as decimal(18, 2)) as amount",
              "cast(coalesce(sum(amount), 0) as decimal(18, 2)) as paid")  # fmt: skip
    mesh.edit(f"{FOLDER}/sums.yml", "name: amount", "name: paid")
    found = mesh.run("diff", "shop.sums", code=1).stdout
    assert "crm.stg_shop__totals.amount" in found, found


def test_a_product_moves_to_another_domain_with_its_history(sold):
    mesh = sold
    (mesh.root / "domains/crm/models/staging/stg_shop__totals.sql").unlink()
    rename(mesh, OTHER, "totals")
    mesh.edit(f"{OTHER}/totals.yml", "group: shop", "group: crm")
    mesh.write(f"{OTHER}/totals.sql",
               "select cast(count(*) as bigint) as orders, "
               "cast(coalesce(sum(amount), 0) as decimal(18, 2)) as amount\n"
               "from {{ ref('stg_shop__orders') }}\n")  # fmt: skip
    mesh.run("check")
    found = json.loads(mesh.run("diff", "shop", "--json").stdout)
    assert (found["removed"], found["products"]) == ([], [])
    mesh.run("run", "crm", "--confirm", "It counts the same orders.")
    assert mesh.row("select orders from crm.totals") == mesh.row("select orders from shop.totals")
    assert [(each["domain"], each["kind"]) for each in mesh.history("crm.totals")] == [
        ("crm", "publish"), ("crm", "rename"), ("shop", "publish"), ("shop", "publish"),
    ]  # fmt: skip
    assert mesh.history("shop.totals") == mesh.history("crm.totals")
    mesh.run("rollback", "crm.totals")
    states = engine(mesh.repository).states()
    assert states["crm.totals"] == states["shop.totals"]
    mesh.run("maintain")
    mesh.run("doctor")
    assert mesh.row("select orders from shop.totals") == (2,)


def test_a_former_name_that_another_product_has_by_now_stays(sold, monkeypatch):
    mesh = sold
    (mesh.root / "domains/crm/models/staging/stg_shop__totals.sql").unlink()
    files = {path: path.read_text() for path in (mesh.root / FOLDER).glob("totals*")}
    rename(mesh, OTHER, "totals")
    mesh.edit(f"{OTHER}/totals.yml", "group: shop", "group: crm")
    mesh.write(f"{OTHER}/totals.sql",
               "select cast(count(*) as bigint) as orders, "
               "cast(coalesce(sum(amount), 0) as decimal(18, 2)) as amount\n"
               "from {{ ref('stg_shop__orders') }}\n")  # fmt: skip
    mesh.run("run", "crm", "--confirm", "It counts the same orders.")
    later = datetime.now(UTC) + timedelta(days=31)

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return later

    with monkeypatch.context() as patch:
        patch.setattr(names, "datetime", Later)
        run_local(mesh, "crm")
        assert "shop.totals" not in visible(mesh)
        assert mesh.history("crm.totals")[0]["kind"] == "end"
        for path, text in files.items():
            path.write_text(text)
        assert run_local(mesh, "shop").outcome == "published"
        run_local(mesh, "crm")
        assert "shop.totals" in visible(mesh)
    mesh.sell(3)
    mesh.run("run", "shop")
    assert mesh.row("select orders from shop.totals") == (3,)
    assert mesh.row("select orders from crm.totals") == (2,)


@pytest.mark.parametrize(
    ("before", "problem"),
    [
        ("shop.orders", "which domains/shop/models/products/orders.yml:3 also claims"),
        ("totals", "write the name that the model had before, as `domain.model`"),
        ("shop.sums", "write the name that the model had before"),
        ("shop.a.b", "write the name that the model had before"),
        ('"shop.x; drop"', "write the name that the model had before"),
    ],
)
def test_a_former_name_that_cannot_be_used_is_said(mesh, before, problem):
    rename(mesh, FOLDER, "sums", before)
    found = mesh.run("check", code=1).stdout
    assert problem in found, found


def test_a_retired_product_returns_without_the_former_name_that_another_has_now(sold):
    mesh = sold
    (mesh.root / "domains/crm/models/staging/stg_shop__totals.sql").unlink()
    files = {path: path.read_text() for path in (mesh.root / FOLDER).glob("totals*")}
    rename(mesh, FOLDER, "sums")
    mesh.run("run", "shop")
    for path in (mesh.root / FOLDER).glob("sums*"):
        path.unlink()
    mesh.run("retire", "shop.sums")
    assert not {"shop.sums", "shop.totals"} & visible(mesh)
    for path, text in files.items():
        path.write_text(text)
    mesh.sell(3)
    mesh.run("run", "shop")
    mesh.run("retire", "--undo", "shop.sums")
    assert mesh.row("select orders from shop.sums") == (2,)
    assert mesh.row("select orders from shop.totals") == (3,)
    mesh.run("retire", "shop.sums")
    assert "shop.sums" not in visible(mesh)
    assert mesh.row("select orders from shop.totals") == (3,)
    mesh.run("doctor")
