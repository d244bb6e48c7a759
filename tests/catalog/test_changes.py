"""Pages about what publications and rollbacks changed, and pages of pull requests in the site."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from meshhouse.catalog.build import Catalog
from meshhouse.catalog.documents import ChangedFacts, ContractChangeFacts
from meshhouse.catalog.gather.comparisons import Compared
from meshhouse.catalog.gather.contract_changes import contract_changes
from meshhouse.catalog.gather.sentences import Shown, sentence_of
from meshhouse.catalog.site import build
from meshhouse.engines import engine
from meshhouse.governance.change import Change, Verdict
from tests.catalog.conftest import CUSTOMER
from tests.catalog.test_removed import dead_links
from tests.conftest import Mesh
from tests.support.catalog_mesh import NOW, full_mesh
from tests.support.engines_help import land_new, run_local
from tests.support.kept import Kept

ORDERS, ORDERS_SQL = (f"domains/shop/models/products/orders.{each}" for each in ("yml", "sql"))


@pytest.fixture(scope="module")
def site(published_once: Kept, tmp_path_factory) -> tuple[Mesh, Path]:
    """Orders got a column and other amounts, and were then rolled back."""
    mesh = Mesh(published_once.restored())
    more = "cast(1 as bigint) as pieces,\n    cast(amount * 100 as"
    mesh.edit(ORDERS_SQL, "cast(amount as", more)
    mesh.edit(ORDERS, "      - {name: amount",
              "      - {name: pieces, data_type: bigint, description: How many.}\n"
              "      - {name: amount")  # fmt: skip
    mesh.edit(ORDERS, "customer_id: 2, amount: 3.5}\n", "customer_id: 2, amount: 350}\n")
    mesh.sell(11)
    land_new(mesh)
    done = run_local(mesh, "shop", confirmed="Cents, <b>not</b> euros.")
    assert done.outcome == "published", done.message
    mesh.run("rollback", "shop.orders")
    folder = tmp_path_factory.mktemp("changes") / "site"
    Catalog(mesh.repository, engine(mesh.repository), folder=folder).build()
    return mesh, folder


def numbers(mesh: Mesh) -> dict[str, int]:
    """Kind of the newest two entries -> number, and the first publication."""
    rollback, changed, first = mesh.history("shop.orders")
    return {"rollback": rollback["number"], "changed": changed["number"], "first": first["number"]}


def page(folder: Path, path: str) -> str:
    return (folder / path).read_text()


def test_a_publication_that_changed_the_contract_has_a_page(site):
    mesh, folder = site
    number = numbers(mesh)
    found = page(folder, f"changes/shop/orders/{number['changed']}.html")
    assert "<code>amount</code> is multiplied by 100." in found
    assert "Column <code>pieces</code> (bigint) is added." in found
    assert "<code>crm.stg_shop__orders.amount</code>" in found
    assert "crm team" in found
    assert "Confirmed by" in found
    assert "Cents, &lt;b&gt;not&lt;/b&gt; euros." in found
    assert f"--from {number['first']} --to {number['changed']} --data" in found


def test_the_page_of_a_rollback_says_what_it_undid(site):
    mesh, folder = site
    number = numbers(mesh)
    found = page(folder, f"changes/shop/orders/{number['rollback']}.html")
    assert f"publication {number['changed']} was taken back" in found
    assert "<code>pieces</code> is gone" in found
    assert "<code>amount</code> has its earlier values again" in found
    assert "<code>crm.stg_shop__orders.amount</code>" in found


@pytest.mark.parametrize("path", ["products/shop/orders.html", "ledger.html", "index.html"])
def test_history_ledger_and_home_name_what_a_rollback_undid_and_link_to_it(site, path):
    mesh, folder = site
    number = numbers(mesh)
    found = page(folder, path)
    assert (
        f"rolled back, undid publication {number['changed']}, shows publication {number['first']}"
        in found
    )
    assert "<code>pieces</code> is gone" in found
    for each in ("changed", "rollback"):
        assert f"changes/shop/orders/{number[each]}.html" in found


def test_publications_with_the_same_contract_have_no_page_and_no_link_is_dead(site):
    mesh, folder = site
    assert not (folder / f"changes/shop/orders/{numbers(mesh)['first']}.html").exists()
    assert dead_links(folder) == set()


def test_a_second_process_reads_no_contract_to_write_the_same_pages(site, monkeypatch):
    mesh, folder = site
    chosen = engine(mesh.repository)
    monkeypatch.setattr(type(chosen.ledger), "contract", lambda *_: pytest.fail("was read"))
    built = Catalog(mesh.repository, chosen, folder=folder).build()
    assert not [each for each in built.written if each.startswith("changes/")]


def test_older_changes_are_left_out_and_counted(tmp_path):
    mesh = full_mesh()
    change = ContractChangeFacts(
        9, "publish", NOW, 8, 1, changes=(ChangedFacts("S1", "minor", "x"),)
    )
    product = replace(mesh.products[0], contract_changes=(change,), older_contract_changes=3)
    build(replace(mesh, products=(product, *mesh.products[1:])), tmp_path / "site")
    assert "3 older ones have none" in page(tmp_path / "site", "products/shop/orders.html")
    assert "3 older changes" in page(tmp_path / "site", "changes/shop/orders/9.html")


def test_the_page_of_a_pull_request_is_put_into_the_site_and_stays(site):
    mesh, folder = site
    # The declaration still has what was rolled back, and changes a personal column.
    mesh.edit(ORDERS_SQL, "cast(customer_id as", "cast(customer_id * 7 as")
    mesh.run("diff", "shop", "--data", "--html", "-o", str(folder), code=1)
    place = folder / "changes/pulls/declared.html"
    found = place.read_text()
    assert 'href="../../products/shop/orders.html"' in found
    assert 'href="../../assets/mesh.css"' in found
    assert "would be refused" in found
    assert str(CUSTOMER) not in found
    assert "of column <code>customer_id</code>. Its values are protected." in found
    assert "multiplied by 7" not in found
    Catalog(mesh.repository, engine(mesh.repository), folder=folder).build()
    assert place.read_text() == found
    assert dead_links(folder) == set()


def test_a_page_outside_a_site_is_one_file(site, tmp_path):
    mesh, _ = site
    place = tmp_path / "two words" / "change 1.html"
    mesh.run("diff", "shop.orders", "--html", "-o", str(place), code=1)
    assert "<link" not in place.read_text()
    assert (
        "a folder without a catalog"
        in mesh.run("diff", "shop", "--html", "-o", str(tmp_path), code=2).stderr
    )
    assert "add --html" in mesh.run("diff", "shop", "-o", "x.html", code=2).stderr
    hostile = str(tmp_path / "changes/pulls/<b>.html")
    assert "cannot be the name" in mesh.run("diff", "shop", "--html", "-o", hostile, code=2).stderr


OPEN = Shown(frozenset({"id"}), frozenset({"id"}), frozenset({"id"}))
"""A product that has only the column `id` today."""
FLU = "has the accepted values `flu`"


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("D5:id", Shown(frozenset(), frozenset(), frozenset())),
        ("V4:a check", Shown(frozenset(), frozenset(), frozenset())),
        ("V3:diagnosis", OPEN),
        ("D5:diagnosis", OPEN),
    ],
)
def test_what_is_not_known_to_be_open_is_protected(change, shown):
    said = sentence_of({"change": change, "what": FLU}, None, shown)
    assert FLU not in said
    assert "Its values are protected." in said


def test_a_change_of_a_column_that_is_open_is_shown():
    assert sentence_of({"change": "D5:id", "what": FLU}, None, OPEN) == FLU


def test_the_page_of_an_older_change_hides_checks_when_a_column_is_gone_today():
    history = [
        {"kind": "publication", "number": number, "version": 1, "contract_hash": text,
         "snapshot_id": number, "finished_at": NOW, "publication_id": text}
        for number, text in enumerate("ab", start=1)
    ]  # fmt: skip
    change = Change("V4", "only flu", FLU, "", Verdict.MINOR)
    compared = Compared((change,), (), (), "", ("diagnosis", "id"))
    comparisons = SimpleNamespace(of=lambda *_: compared)
    product = SimpleNamespace(domain="shop")
    known = SimpleNamespace(history=history, product=product, contract=None)
    [facts], _ = contract_changes(known, OPEN, comparisons)
    assert [each.what for each in facts.changes] == [
        "A change of kind V4 of a check. Its values are protected."
    ]
