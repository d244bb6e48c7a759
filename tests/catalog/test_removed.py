"""A domain that was deleted: its products stay readable, and no link of the site is dead."""

import re
import shutil
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

from meshhouse.catalog.build import Catalog
from meshhouse.engines import engine


def dead_links(folder: Path) -> set[tuple[str, str]]:
    """Page and link of everything that leads to no file, or to no anchor."""
    dead = set()
    for page in folder.rglob("*.html"):
        for found in re.findall(r'(?:href|src)="([^"]+)"', page.read_text()):
            link = urlsplit(unescape(found))
            if link.scheme or link.netloc:
                continue
            target = page.parent / unquote(link.path) if link.path else page
            anchor = "" if link.fragment.startswith("late=") else unquote(link.fragment)
            if not target.exists() or (anchor and f'id="{anchor}"' not in target.read_text()):
                dead.add((page.relative_to(folder).as_posix(), found))
    return dead


def test_no_link_is_dead_after_a_domain_was_deleted(published, tmp_path):
    shutil.rmtree(published.root / "domains/shop")
    repository = published.repository
    Catalog(repository, engine(repository), folder=tmp_path / "site").build()
    domain = (tmp_path / "site/domains/shop.html").read_text()
    assert "Consumers can still read its products." in domain
    assert "Its topics are not declared any more." in domain
    assert (tmp_path / "site/products/shop/orders.html").exists()
    assert dead_links(tmp_path / "site") == set()
