"""Pages of the catalog as files: what they say, that they hold together, and hostile text."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshhouse.catalog import paths, site
from meshhouse.catalog.documents import (
    CheckFacts,
    ConsumerFacts,
    CostFacts,
    Mesh,
    OperationsFacts,
    UseFacts,
)
from meshhouse.catalog.pages import assets, words
from meshhouse.heads import REPEATS
from tests.support.catalog_mesh import full_mesh

VOID = {"meta", "link", "input", "img", "br", "wbr"}


@dataclass
class Html(HTMLParser):
    """A page taken apart."""

    source: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)
        self.feed(self.source)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"{tag} closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def seen(self) -> str:
        return " ".join(" ".join(self.text).split())


def pages_of(mesh: Mesh) -> dict[str, str]:
    """Path -> content of every page."""
    rendered = {
        page.path: page.render() for make in site.MAKERS if make != assets.pages
        for page in make(mesh)
    }  # fmt: skip
    return {path: text for path, text in rendered.items() if isinstance(text, str)}


def html_of(mesh: Mesh) -> dict[str, Html]:
    return {path: Html(text) for path, text in pages_of(mesh).items() if path.endswith(".html")}


@pytest.fixture(scope="module")
def pages() -> dict[str, Html]:
    return html_of(full_mesh())


def test_a_product_opens_with_what_a_reader_needs(pages):
    seen = pages[paths.product("shop.orders")].seen
    opening = seen[: seen.index("Use it")]
    for part in ("What was bought.", "fresh", "42 of 42 checks", "score 0.99", "100 rows",
                 "2026-03-01 09:00 UTC"):  # fmt: skip
        assert part in opening, part


def test_every_page_has_a_title_one_first_heading_and_headings_in_order(pages):
    for path, page in pages.items():
        headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
        assert headings[0] == 1, path
        assert headings.count(1) == 1, path
        for before, after in pairwise(headings):
            assert after <= before + 1, f"{path}: h{before}, then h{after}"
        assert page.all("title"), path
        assert page.all("html")[0]["lang"] == "en"


def test_tables_have_captions_and_scopes(pages):
    for path, page in pages.items():
        assert len(page.all("table")) == len(page.all("caption")), path
        assert all("scope" in each for each in page.all("th")), path


def test_ids_are_unique_and_anchors_exist(pages):
    for path, page in pages.items():
        ids = [each["id"] for _, each in page.tags if "id" in each]
        assert len(ids) == len(set(ids)), path
        for link in page.all("a"):
            href = link.get("href") or ""
            if href.startswith("#"):
                assert unquote(href[1:]) in ids, f"{path}: {href}"
        labels = [each["aria-labelledby"] for _, each in page.tags if "aria-labelledby" in each]
        assert set(labels) <= set(ids), path


def files_linked(path: str, page: Html) -> Iterator[str]:
    """Files of the site that a page needs or links to."""
    for tag, name in (("a", "href"), ("link", "href"), ("script", "src"), ("img", "src")):
        for each in page.all(tag):
            link = urlsplit(each[name])
            if not link.scheme and link.path:
                yield str((Path("/") / path).parent.joinpath(unquote(link.path)).resolve())[1:]


def test_links_lead_to_pages_that_exist(pages):
    made = {page.path for make in site.MAKERS for page in make(full_mesh())}
    missing = {
        (path, link)
        for path, page in pages.items()
        for link in files_linked(path, page)
        if link not in made
    }
    assert not missing


def test_no_page_holds_a_script_a_style_or_a_foreign_address(pages):
    for path, page in pages.items():
        assert not page.all("style"), path
        assert not [each for _, each in page.tags if "style" in each], path
        for script in page.all("script"):
            assert script.keys() == {"src", "defer"}, path
            assert not urlsplit(script["src"]).scheme, path
        policy = next(each for each in page.all("meta") if each.get("http-equiv"))
        assert policy["content"].startswith("default-src 'self';"), path


def test_products_and_topics_lead_to_dagster_if_it_is_known_where_that_is(pages, monkeypatch):
    monkeypatch.setenv("MESH_DAGSTER_URL", 'https://dagster.example/"x')
    changed = html_of(full_mesh())
    for path, asset in (
        (paths.product("shop.orders"), "shop/orders"),
        (paths.topic("shop", "sales"), "shop/raw.sales"),
    ):
        assert not [each for each in pages[path].all("a") if "://" in str(each["href"])]
        found = [each["href"] for each in changed[path].all("a") if "://" in str(each["href"])]
        assert found == [f'https://dagster.example/"x/assets/{asset}']


def test_own_styles_and_scripts_stay_small():
    sizes = {each.suffix: 0 for each in assets.FOLDER.iterdir()}
    for each in assets.FOLDER.iterdir():
        sizes[each.suffix] += each.stat().st_size
    assert sizes[".css"] <= 20 * 1024
    assert sizes[".js"] <= 25 * 1024


def test_a_page_changes_only_with_its_facts():
    """Only two files have the time of the build, so a second build writes no others."""
    later = replace(full_mesh(), built_at=datetime(2027, 1, 1, tzinfo=UTC))
    before, after = pages_of(full_mesh()), pages_of(later)
    assert {path for path in after if after[path] != before[path]} == {paths.INDEX}
    assert "As of 2027-01-01 00:00 UTC." in Html(after[paths.INDEX]).seen
    changed = zip(assets.pages(full_mesh()), assets.pages(later), strict=True)
    assert [new.path for old, new in changed if new.inputs != old.inputs] == [assets.BUILT]


@pytest.mark.parametrize("kind", ["publish", *REPEATS])
def test_every_kind_of_entry_has_a_word(kind):
    mesh = full_mesh()
    entry = replace(mesh.products[0].publications[0], kind=kind)
    product = replace(mesh.products[0], publications=(entry,))
    made = html_of(replace(mesh, products=(product,)))
    for path in (paths.INDEX, paths.LEDGER, paths.product("shop.orders")):
        assert words.done(kind) in made[path].seen
    assert words.done(kind) not in REPEATS


def test_a_rollback_says_what_readers_see_again():
    mesh = full_mesh()
    entry = replace(mesh.products[0].publications[0], kind="rollback", shows=5)
    product = replace(mesh.products[0], publications=(entry,))
    made = html_of(replace(mesh, products=(product,)))
    for path in (paths.INDEX, paths.LEDGER, paths.product("shop.orders")):
        assert "rolled back, shows publication 5 again" in made[path].seen, path


def test_a_domain_that_no_run_can_build_is_first_and_needs_attention():
    mesh = full_mesh()
    shop = replace(mesh.domains[0], problem="A file cannot be read.")
    crm = replace(mesh.domains[1], problem="")
    made = html_of(replace(mesh, domains=(crm, shop)))
    cards = made[paths.INDEX].seen.partition("Latest changes")[0]
    assert cards.index("shop") < cards.index("crm")
    assert "broken" in cards
    attention = made[paths.OPERATIONS].seen.partition("Error budgets")[0]
    assert "domain shop broken A file cannot be read." in attention


def test_a_removed_domain_links_to_no_topic_that_is_gone():
    mesh = full_mesh()
    gone = replace(mesh.domains[0], topics=(), problem="This domain was removed.", is_removed=True)
    made = html_of(replace(mesh, domains=(gone, mesh.domains[1]), topics=()))
    assert "Its topics are not declared any more." in made[paths.domain("shop")].seen
    assert "No run can build" not in made[paths.domain("shop")].seen
    missing = {
        (path, link)
        for path, page in made.items()
        for link in files_linked(path, page)
        if not link.startswith(("assets/", "search/")) and link not in made
        and link.endswith(".html")
    }  # fmt: skip
    assert not missing


def test_a_name_without_version_leads_to_the_latest_version():
    mesh = full_mesh()
    first = replace(mesh.products[0], relation="shop.orders_v1", is_latest=False)
    second = replace(mesh.products[0], relation="shop.orders_v2", version=2)
    made = html_of(replace(mesh, products=(first, second)))
    page = made[paths.product("shop.orders")]
    assert "shop.orders reads the latest, shop.orders_v2 ." in page.seen
    assert "orders_v2.html" in [each.get("href") for each in page.all("a")]
    for relation in ("shop.orders_v1", "shop.orders_v2"):
        assert "shop.orders reads the latest version." in made[paths.product(relation)].seen


def test_readers_that_are_no_domains_are_on_the_page():
    mesh = full_mesh()
    use = UseFacts("used", "", (
        ConsumerFacts("crm", 7, 9, None), ConsumerFacts("dashboard", 3, 4, None),
    ))  # fmt: skip
    product = replace(mesh.products[0], use=use)
    seen = html_of(replace(mesh, products=(product,)))[paths.product("shop.orders")].seen
    others = seen[seen.index("Other readers of shop.orders") :]
    assert "dashboard 3 4" in others
    assert "crm 7 9" not in others


def test_what_is_unknown_says_where_to_look():
    mesh = full_mesh()
    topic = replace(mesh.topics[0], lag=None, topic="sales.v1")
    found = OperationsFacts(
        mesh.built_at.date(), cost_of_consumers=(("nobody", CostFacts(1, 1.0)),)
    )
    unproved = [
        replace(each, use=UseFacts("not proved", "Reads are recorded since 1 Mar 2026."))
        for each in mesh.products
    ]
    made = html_of(replace(mesh, topics=(topic,), operations=found, products=tuple(unproved)))
    assert "see mesh topic show sales.v1" in made[paths.topic("shop", "sales")].seen
    seen = made[paths.OPERATIONS].seen
    assert "within unknown" not in seen
    assert "nobody : products that no one read" in seen
    assert "No product is known to be unused. Of 2 products no read was recorded" in seen
    assert "2 products: Reads are recorded since 1 Mar 2026." in seen
    assert "mesh topic list" in seen


def test_checks_of_the_audit_and_of_dbt_are_counted_apart():
    mesh = full_mesh()
    checks = tuple(
        CheckFacts(str(number), f"c{number}", "", source, "error", "passed")
        for number, source in enumerate(["soda"] * 5 + ["dbt"] * 2)
    )
    product = replace(mesh.products[0], checks=checks)
    seen = html_of(replace(mesh, products=(product,)))[paths.product("shop.orders")].seen
    assert "7 checks passed: 5 of the audit, 2 of dbt's" in seen


def test_a_retired_product_offers_no_way_to_read_it():
    mesh = full_mesh()
    entry = replace(mesh.products[0].publications[0], kind="retire", done_by="ada")
    product = replace(
        mesh.products[0], state="retired", publications=(entry,), back_until=date(2026, 5, 30)
    )
    page = html_of(replace(mesh, products=(product,)))[paths.product("shop.orders")]
    assert "Use it" not in page.seen
    assert (
        "Retired on 2026-03-01 09:00 UTC by ada: it cannot be read. Until 2026-05-30, mesh retire"
        in page.seen
    )
    assert not [each for each in page.all("code") if "data-snippet" in each]


def test_a_fresh_product_says_until_when_where_no_script_runs(pages):
    seen = pages[paths.product("shop.orders")].seen
    assert "fresh until 2026-03-02 09:00 UTC" in seen
    assert "The next refresh" not in pages[paths.OPERATIONS].seen  # crm.customers is late


def test_the_home_page_shows_domains_with_the_worst_first(pages):
    headings = pages[paths.INDEX].seen
    assert headings.index("crm") < headings.index("shop")


def test_the_catalog_of_one_domain_says_so_and_marks_what_it_reads():
    mesh = full_mesh()
    orders = replace(mesh.products[0], yours="read")
    made = html_of(replace(mesh, consumer="crm", products=(orders, mesh.products[1])))
    assert "Made for crm" in made[paths.INDEX].seen
    assert "you read it" in made[paths.domain("shop")].seen
    assert "you read it" in made[paths.product("shop.orders")].seen


def test_a_domain_without_anything_has_a_page():
    mesh = full_mesh()
    empty = replace(mesh.domains[0], products=(), topics=(), reads_from=(), read_by=(), waivers=(),
                    problem="", description="")  # fmt: skip
    alone = Mesh(mesh.built_at, (empty,), (), ())
    made = html_of(alone)
    assert "This domain has no products." in made[paths.domain("shop")].seen
    assert "There are no products yet." in made[paths.OPERATIONS].seen
    assert "Nothing is published yet" in made[paths.INDEX].seen
    assert "not checked" in made[paths.POLICIES].seen


def test_a_product_that_was_never_published_has_a_page():
    mesh = full_mesh()
    bare = replace(
        mesh.products[0], state="never published", published_at=None, refreshed_at=None, rows=None,
        bytes=None, score=None, checks_run=0, checks_passed=0, checks=(), publications=(),
        promises=(), columns=(), versions=(), why="", description="",
    )  # fmt: skip
    seen = html_of(replace(mesh, products=(bare,)))[paths.product("shop.orders")].seen
    assert "Nothing is published yet" in seen
    assert "refreshed never" in seen


@pytest.mark.parametrize(
    ("state", "hours", "ends"),
    [("fresh", 24, True), ("fresh", None, False), ("late", 24, False), ("retired", 24, False)],
)
def test_only_a_fresh_product_can_turn_late_in_the_browser(state, hours, ends):
    product = replace(full_mesh().products[0], state=state, refreshed_within_hours=hours)
    expected = product.refreshed_at + timedelta(hours=24) if ends else None
    assert words.late_after(product) == expected


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "unknown"), (100.0, "1.00"), (99.99, "0.99"), (0.0, "0.00")]
)
def test_a_score_below_100_is_not_shown_as_full(value, shown):
    assert words.score(value) == shown


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("sales@example.com", "mailto:sales@example.com"),
        ("a+b@example.com", "mailto:a+b@example.com"),
        ("a%0ACc@example.com", ""),
        ("a@example.com?bcc=b@example.com", ""),
        ("a b@example.com", ""),
        ("@example.com", ""),
        ("sales@example.com\n", ""),
    ],
)
def test_only_a_plain_address_becomes_a_mail_link(text, link):
    assert words.mail(text) == link


@pytest.mark.parametrize(
    ("text", "is_link"),
    [("https://chat.example.com/x", True), ("http://a", True), ("javascript:alert(1)", False),
     (" https://a", False), ("https://a b", False), ("https://", False), ("//a", False)],
)  # fmt: skip
def test_only_a_web_address_becomes_a_link(text, is_link):
    assert words.web(text) == (text if is_link else "")


def test_sentences_show_names_as_code():
    assert words.ticked("New column `a<b`.") == "New column <code>a&lt;b</code>."
    assert words.ticked("a ` b") == "a ` b"
    assert words.ticked("`a` and `b") == "<code>a</code> and `b"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "unknown"), (999, "999 bytes"), (1234, "1.23 KB"), (999_999, "1e+03 KB"),
     (91_234_567, "91.2 MB")],
)  # fmt: skip
def test_sizes(value, shown):
    assert words.size(value) == shown


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)//@example.com",
    "[click](javascript:alert(1))",
    "</title></style></textarea><svg onload=alert(1)>",
    "<!--", "-->", "]]>", "<![CDATA[", "{{ 7*7 }}", "{% raw %}", "`<b>`", "&lt;b&gt;",
    "&#x3c;b&#x3e;",
    "safe\u202egnp.exe", "\u2066x\u2069", "a\x00b", "\ud800", "\u2028", "x@y?subject=<b>",
    "https://example.com/\"onclick=alert(1)", "data:text/html,<script>alert(1)</script>",
    "<" * 300, "👩‍👩‍👧‍👦", "שלום", "'); drop table x; --",
]  # fmt: skip
TAGS = {
    "a", "body", "br", "button", "caption", "circle", "code", "dd", "details", "div", "dl", "dt",
    "figcaption", "figure", "footer", "form", "g", "h1", "h2", "h3", "head", "header", "html",
    "img", "input", "kbd", "label", "li", "link", "main", "meta", "nav", "noscript", "ol",
    "option", "p", "path", "polyline", "pre", "rect", "script", "section", "select", "span",
    "strong", "summary", "svg", "table", "tbody", "td", "text", "th", "thead", "time", "title",
    "tspan",
    "tr", "ul", "wbr",
}  # fmt: skip


def check_harmless(path: str, source: str) -> None:
    """A page has only tags and attributes of its templates."""
    page = Html(source)
    assert {tag for tag, _ in page.tags} <= TAGS, path
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert re.fullmatch(r"[a-z][a-zA-Z0-9-]*", name), (path, name)
            assert not name.startswith("on"), (path, name)
            assert name != "style", path
            if name in ("href", "src"):
                scheme = urlsplit(value).scheme
                assert scheme in ("", "http", "https", "mailto"), (path, value)
    scripts = 3 if path in (paths.INDEX, paths.LINEAGE) else 2
    assert len(page.all("script")) == scripts, path
    assert all(each.keys() == {"src", "defer"} for each in page.all("script")), path
    assert not re.search("[\x00\u202a-\u202e\u2066-\u2069\ud800-\udfff]", source), path
    source.encode()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_never_becomes_markup(text):
    for path, source in pages_of(full_mesh(text, text)).items():
        if path.endswith(".html"):
            check_harmless(path, source)


@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20)), max_size=4).map("".join))
def test_generated_text_never_becomes_markup(text):
    mesh = full_mesh(text, f"n{text}")
    for path, source in pages_of(mesh).items():
        if path.endswith(".html"):
            check_harmless(path, source)
        elif path.startswith("search/"):
            source.encode("ascii")  # pushed data has no character that could end its line
            assert source.startswith("(window.mesh=window.mesh||[]).push(["), path


def test_text_is_shown_as_it_is(pages):
    text = "5 < 6 & \"quoted\" 'single' <b>not bold</b> [a](javascript:b)"
    seen = html_of(full_mesh(text))[paths.product("shop.orders")].seen
    assert text in seen


def test_a_megabyte_of_text_does_not_fill_a_page():
    made = pages_of(full_mesh("<x>" * 350_000, "y" * 1_000_000))
    for path, source in made.items():
        if path.endswith((".html", ".js")):  # files for programs hold all of it
            assert len(source) < 500_000, path
    assert words.CUT.strip() in made[paths.product("shop.orders")]


def test_the_index_is_compressed_to_little():
    made = pages_of(full_mesh())
    assert len(gzip.compress(made["search/list.js"].encode())) < 1000
