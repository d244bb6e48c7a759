"""Drawn lineage: the page of the mesh, what is around a product, the way of a column."""

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshhouse.catalog import paths
from meshhouse.catalog.arrivals import together
from meshhouse.catalog.documents import DomainFacts, Mesh, Owner, ProductFacts
from meshhouse.catalog.drawing import Arrow, Drawn, part, picture
from meshhouse.catalog.graph import MOST_NEAR, Graph, domains_of
from meshhouse.catalog.pages import columns, lineage
from meshhouse.catalog.pages.product import pages as product_pages
from tests.catalog.test_pages import HOSTILE, Html, html_of
from tests.support.lineage_mesh import MESH, NOW, contract, documents


def product(relation, inputs=(), **facts):
    domain, _, name = relation.partition(".")
    known = {"state": "fresh", "owner": Owner(f"{domain} team"), **facts}
    return ProductFacts(
        relation, domain, name, 1, True, "", "", (), "", inputs=tuple(inputs), **known
    )


def mesh_of(*products):
    names = dict.fromkeys(each.domain for each in products)
    domains = tuple(
        DomainFacts(
            name, "", Owner(f"{name} team"),
            tuple(each.relation for each in products if each.domain == name), (), (), (), "fresh",
        )
        for name in names
    )  # fmt: skip
    return Mesh(NOW, domains, products, ())


def page_of(make, mesh, path):
    return Html({each.path: each for each in make(mesh)}[path].render())


def keys(drawn):
    return {each["data-key"] for _, each in Html(str(drawn)).tags if "data-key" in each}


def edges(drawn):
    return {
        (each["data-from"], each["data-to"]) for each in Html(str(drawn)).all("path")
        if "data-from" in each
    }  # fmt: skip


def test_the_page_has_every_product_as_drawing_and_as_table():
    page = page_of(lineage.pages, documents(), paths.LINEAGE)
    nodes = {each["data-key"]: each for each in page.all("a") if "data-key" in each}
    assert nodes["sales.orders"]["href"] == "products/sales/orders.html"
    assert nodes["sales_raw.sales"]["href"] == "topics/sales/sales.html"
    assert nodes["mesh"]["href"] == "domains/mesh.html"
    rows = {each["data-key"]: each for each in page.all("tr") if "data-key" in each}
    assert rows.keys() == {"sales.orders", "sales.lines", "mesh.people"}
    assert rows["sales.orders"]["data-readers"] == "mesh.people"
    assert edges(page.source) >= {
        ("sales_raw.sales", "sales.lines"),
        ("sales.lines", "sales.orders"),
        ("sales.orders", "mesh.people"),
        ("sales", "mesh"),
    }
    assert ("sales_raw.sales", "sales.orders") not in edges(page.source)  # through sales.lines
    assert "2 products of 2 domains" in page.seen  # hit if sales.lines is late


def test_a_state_is_a_word_and_a_pattern():
    mesh = mesh_of(
        product("a.good"), product("a.late", state="late"), product("a.bad", state="failed"),
        product("a.new", state="never published"),
    )  # fmt: skip
    drawn = str(part(Graph.of(mesh).products(), paths.LINEAGE, "x"))
    for state in ("late", "failed", "never published"):
        assert f">{state}</text>" in drawn
    assert ">fresh</text>" not in drawn
    assert drawn.count('class="inner"') == 1
    assert drawn.count('class="stripe"') == 1
    assert 'class="node product never-published"' in drawn
    assert "style=" not in drawn


def test_a_mesh_of_5000_products_is_not_drawn_at_once():
    names = [f"d{number % 300}.p{number}" for number in range(5_000)]
    products = [product(names[0])]
    products += [product(other, [one]) for one, other in pairwise(names)]
    mesh = mesh_of(*products)
    source = {each.path: each for each in lineage.pages(mesh)}[paths.LINEAGE].render()
    assert len(source) < 400_000
    page = Html(source)
    assert sum("data-key" in each for _, each in page.tags) == 200
    assert "101 more domains" in page.seen
    assert len([each for each in page.all("th") if each.get("scope") == "row"]) == 300


def test_a_large_mesh_has_a_page_for_the_lineage_of_each_domain():
    many = [product(f"up.p{number}") for number in range(1_000)]
    reader = product("down.all", ["up.p1", "up.p2"])
    mesh = mesh_of(*many, reader, product("last.one", ["down.all"]))
    pages = {each.path: each for each in lineage.pages(mesh)}
    whole = Html(pages[paths.LINEAGE].render())
    assert paths.lineage("down") in [each["href"] for each in whole.all("a")]
    own = Html(pages[paths.lineage("down")].render())
    assert {"up.p1", "up.p2", "down.all", "last.one"} == {
        each["data-key"] for _, each in own.tags if "node" in (each.get("class") or "")
    }
    assert len(Html(pages[paths.lineage("up")].render()).all("tr")) == 1_001
    [page] = [each for each in product_pages(mesh) if each.path == paths.product("up.p1")]
    [link] = [each["href"] for each in Html(page.render()).all("a") if "lineage/" in each["href"]]
    assert link == "../../lineage/up.html#up.p1"
    assert any(each.get("id") == "up.p1" for _, each in
               Html(pages[paths.lineage("up")].render()).tags)  # fmt: skip


def test_an_empty_mesh_has_a_page():
    page = page_of(lineage.pages, Mesh(NOW, (), (), ()), paths.LINEAGE)
    assert "Nothing is published yet." in page.seen


def test_what_is_around_a_product_ends_after_two_steps_and_is_counted_beyond_60():
    many = [product(f"up.p{number}") for number in range(100)]
    center = product("a.center", [each.relation for each in many])
    chain = [product("b.one", ["a.center"]), product("b.two", ["b.one"]),
             product("b.three", ["b.two"])]  # fmt: skip
    graph = Graph.of(mesh_of(center, *many, *chain))
    found = graph.around("a.center")
    names = {each.key for each in found.nodes}
    assert len(found.nodes) <= MOST_NEAR
    assert {"b.one", "b.two"} <= names
    assert "b.three" not in names
    counted = next(each for each in found.nodes if each.kind == "more")
    shown = sum(each.domain == "up" for each in found.nodes)
    assert counted.count + shown == 100
    assert (counted.key, "a.center") in found.edges
    drawn = part(found, paths.product("a.center"), "x")
    assert f"{counted.count} more" in str(drawn)
    here = [each for each in Html(str(drawn)).all("a") if each.get("aria-current")]
    assert [each["data-key"] for each in here] == ["a.center"]


def test_a_domain_shows_its_own_and_its_neighbours():
    mesh = mesh_of(
        product("a.x"), product("b.y", ["a.x"]), product("c.z", ["b.y"]), product("c.w", ["a.x"])
    )
    found = Graph.of(mesh).of_domain("b")
    assert {each.key for each in found.nodes} == {"a.x", "b.y", "c.z"}
    assert found.edges == (("a.x", "b.y"), ("b.y", "c.z"))
    crowded = mesh_of(product("b.y"), *(product(f"c.p{n}", ["b.y"]) for n in range(500)))
    nodes = Graph.of(crowded).of_domain("b").nodes
    assert len(nodes) < 120
    assert sum(each.count for each in nodes) == 501


def test_who_is_hit_follows_readers_and_ends_in_circles():
    mesh = mesh_of(product("a.x", ["b.y"]), product("b.y", ["a.x"]), product("c.z", ["b.y"]))
    graph = Graph.of(mesh)
    assert [each.key for each in graph.hit("a.x")] == ["b.y", "c.z"]
    assert graph.hits("a.x") == (2, 2)
    drawn = part(graph.products(), paths.LINEAGE, "x")
    assert edges(drawn) == {("a.x", "b.y"), ("b.y", "a.x"), ("b.y", "c.z")}


def test_a_version_is_read_under_the_name_without_a_number():
    orders = replace(product("a.x_v2"), model="x", version=2)
    graph = Graph.of(mesh_of(orders, product("b.y", ["a.x"])))
    assert graph.edges == (("a.x_v2", "b.y"),)


def test_the_page_of_columns_leads_to_the_topic_field_with_the_sql_of_each_step():
    mesh = documents()
    page = page_of(columns.pages, mesh, paths.columns("mesh.people"))
    ids = [each["id"] for each in page.all("section") if "id" in each]
    assert ids == ["best", "lines", "gone", "added"]
    titles = [text.strip() for text in page.text]
    for way in ("sales_raw.sales.amount: topic field", "sales.stg.amount: same value"):
        assert way in titles
    hrefs = {each.get("href") for each in page.all("a")}
    assert "../sales/orders.columns.html#total" in hrefs
    assert "../../topics/sales/sales.html" in hrefs
    for sql in ("SUM(amount)", "MAX(total)"):
        assert sql in page.seen
    assert "The way of 2 of 4 columns is known in full." in page.seen
    assert "Part of the way is unknown" in page.seen


def test_the_page_of_columns_says_where_values_go():
    page = page_of(columns.pages, documents(), paths.columns("sales.orders"))
    hrefs = {each.get("href") for each in page.all("a")}
    assert "../mesh/people.columns.html#best" in hrefs
    assert "filter only" in page.seen  # a reader that only filters by it
    found = page_of(columns.pages, documents(), paths.columns("sales.lines"))
    assert "orders.columns.html#total" in {each.get("href") for each in found.all("a")}
    assert "../mesh/people.columns.html#best" not in {each.get("href") for each in found.all("a")}


def test_a_product_without_a_known_contract_has_no_page_of_columns():
    mesh = replace(documents(), trace_digests={})
    assert list(columns.pages(mesh)) == []


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("same value", "same value", "same value"),
        ("same value", "counted", "counted"),
        ("computed", "same value", "computed"),
        ("counted", "computed", "computed"),
        ("filter only", "computed", "filter only"),
        ("computed", "unknown", "unknown"),
    ],
)
def test_two_steps_together(one, other, how):
    assert together(one, other) == how


def test_pages_change_only_with_what_decides_them():
    def inputs(mesh):
        found = {page.path: page.inputs for page in columns.pages(mesh)}
        return {path: json.dumps(each, default=str, sort_keys=True) for path, each in found.items()}

    before = inputs(documents())
    assert before == inputs(documents())
    changed = contract(
        "mesh.people", {"people": "select max(lines) as best from sales.orders"}, ["best"],
        reads=["sales.orders"],
    )  # fmt: skip
    after = inputs(documents([*MESH[:2], changed]))
    differing = {path for path in before if before[path] != after[path]}
    # The page of what it reads shows where values go.
    assert differing == {paths.columns("mesh.people"), paths.columns("sales.orders")}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_in_drawings_never_become_markup(text):
    nodes = [
        Drawn(text, text, text, text, "product", "late", paths.product("a.b"), text),
        Drawn(f"{text}2", text, text, text, "topic", about=text),
    ]
    arrows = [Arrow(text, f"{text}2", text, True), Arrow(f"{text}2", text)]
    drawn = str(picture(nodes, arrows, paths.LINEAGE, text))
    page = Html(drawn)
    known = {"div", "svg", "g", "a", "title", "rect", "path", "text"}
    assert {tag for tag, _ in page.tags} <= known
    assert Counter(tag for tag, _ in page.tags)["a"] == 1
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert not re.search("[\x00\u202a-\u202e\u2066-\u2069\ud800-\udfff]", drawn)


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=30))
def test_generated_text_in_documents_never_becomes_markup(text):
    for path, page in html_of(documents(text=text)).items():
        assert not page.all("b"), path
        assert not [each for _, each in page.tags if "style" in each]


def test_links_of_all_pages_lead_to_pages_and_columns_that_exist():
    found = html_of(documents(text="x"))
    for path in (paths.LINEAGE, *(each for each in found if each.endswith("columns.html"))):
        for link in found[path].all("a"):
            target, _, anchor = link["href"].partition("#")
            if not target or ":" in target:
                continue
            place = paths.posixpath.normpath(
                paths.posixpath.join(paths.posixpath.dirname(path), target)
            )
            if place in {paths.OPERATIONS, path}:
                continue
            assert place in found, (path, link)
            if anchor:
                ids = {each.get("id") for _, each in found[place].tags}
                assert unquote(anchor) in ids, (path, link)


def test_the_map_of_domains_has_the_worst_state_of_each():
    mesh = mesh_of(product("a.x"), product("a.y", state="late"), product("b.z", ["a.x"]))
    found = domains_of(mesh, Graph.of(mesh))
    assert {each.key: each.state for each in found.nodes} == {"a": "late", "b": "fresh"}
    assert found.edges == (("a", "b"),)


def test_a_fresh_node_can_turn_late_in_the_browser():
    mesh = mesh_of(product("a.x", refreshed_at=NOW, refreshed_within_hours=24))
    drawn = str(part(Graph.of(mesh).products(), paths.LINEAGE, "x"))
    assert 'data-late="2026-03-02T12:00:00+00:00"></tspan>' in drawn


def test_a_large_mesh_leaves_steps_of_other_products_to_their_pages(monkeypatch):
    monkeypatch.setattr(columns, "LARGE", 1)
    monkeypatch.setattr(columns, "MOST_STEPS_LARGE", 1)
    page = page_of(columns.pages, documents(), paths.columns("mesh.people"))
    assert "inside other products" in page.seen
    assert "sales.stg.amount" not in page.seen
    assert "../sales/orders.columns.html#total" in {each.get("href") for each in page.all("a")}
