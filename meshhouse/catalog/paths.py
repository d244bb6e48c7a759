"""Where each page and file of the catalog is, relative to the root of the site.

Belongs here: names of files, links between them, links from elsewhere, and links to Dagster's page.
Not here: the content.

Names of domains, products and raw tables are validated identifiers, so they are safe in a path.
"""

from __future__ import annotations

import posixpath
from urllib.parse import quote

from meshhouse.errors import UsageError
from meshhouse.settings import value

INDEX = "index.html"
LINEAGE = "lineage.html"
OPERATIONS = "operations.html"
POLICIES = "policies.html"
LEDGER = "ledger.html"
GLOSSARY = "glossary.html"
PULLS = "changes/pulls"
FACTS = "mesh.json"
OPENAPI = "openapi.json"
LLMS = "llms.txt"
SITEMAP = "sitemap.xml"
MOST_ANCHOR = 200
"""Characters of an anchor: names of columns have no limit everywhere."""

_SCHEMES = ("https://", "http://", "file://")


def domain(name: str, extension: str = "html") -> str:
    """The page of a domain, or the file with its facts: `json`."""
    return f"domains/{name}.{extension}"


def lineage(domain: str) -> str:
    """The page with the lineage of one domain, in a mesh whose products are too many for one."""
    return f"lineage/{domain}.html"


def topic(domain: str, table: str, extension: str = "html") -> str:
    """The page of a topic, by its raw table, or the file with its facts: `json`."""
    return f"topics/{domain}/{table}.{extension}"


def product(relation: str, extension: str = "html") -> str:
    """The page of a product, or the file with its facts: `json`, `odcs.yaml`, `odps.yaml`.

    Args:
        relation: `domain.name`, such as `sales.orders_v1`.
        extension: of the file.
    """
    domain, _, name = relation.partition(".")
    return f"products/{domain}/{name}.{extension}"


def columns(relation: str, column: str = "") -> str:
    """The page with the column traces of a product, at a column if one is given."""
    page = product(relation, "columns.html")
    # A lone surrogate has no form in UTF-8.
    return f"{page}#{quote(anchor(column).encode(errors='replace'))}" if column else page


def change(relation: str, number: int) -> str:
    """The page of what a publication or rollback changed in a product's contract.

    Args:
        relation: `domain.name`, such as `sales.orders_v1`.
        number: of the publication.
    """
    domain, _, name = relation.partition(".")
    return f"changes/{domain}/{name}/{number}.html"


def pull(name: str) -> str:
    """The page of a pull request, which `mesh diff --html` puts into the site."""
    return f"{PULLS}/{name}.html"


def anchor(column: str) -> str:
    """The id of a column on the page of its product's traces."""
    return column.lower()[:MOST_ANCHOR]


def relative(target: str, page: str) -> str:
    """The link to a file of the site from one of its pages, which works from `file://` too."""
    file, _, anchor = target.partition("#")
    link = posixpath.relpath(file, posixpath.dirname(page) or ".")
    return f"{link}#{anchor}" if anchor else link


def public_url(target: str) -> str | None:
    """The address of a page for readers elsewhere; None if nobody said where the site is.

    Raises:
        UsageError: `MESH_CATALOG_URL` is not an address.
    """
    return _address("MESH_CATALOG_URL", target)


def product_asset(relation: str) -> str | None:
    """The address of a product in Dagster's page; None if nobody said where the page is.

    Args:
        relation: `domain.name`, such as `sales.orders_v1`.

    Raises:
        UsageError: `MESH_DAGSTER_URL` is not an address.
    """
    domain, _, name = relation.partition(".")
    return _address("MESH_DAGSTER_URL", f"assets/{domain}/{name}")


def topic_asset(domain: str, table: str) -> str | None:
    """The address of a topic's raw table in Dagster's page, like `product_asset`."""
    return _address("MESH_DAGSTER_URL", f"assets/{domain}/raw.{table}")


def _address(setting: str, target: str) -> str | None:
    prefix = value(setting).strip().rstrip("/")
    if not prefix:
        return None
    # Without a scheme, a browser takes an address for a path on the page that has the link.
    if not prefix.lower().startswith(_SCHEMES):
        raise UsageError(f"{setting} must begin with {', '.join(_SCHEMES)}, but is `{prefix}`.")
    return f"{prefix}/{target}"
