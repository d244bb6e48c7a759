"""Where the values of each column of a product come from, as metadata of Dagster.

Belongs here: a contract's roots as columns of assets. Not here: finding the roots in SQL
(meshhouse/governance/lineage/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from meshhouse.dagster.keys import relation_key
from meshhouse.dagster.links import linked_column
from meshhouse.governance.contract import Contract
from meshhouse.markdown import code, table
from meshhouse.repository import Domain, Product


def column_lineage(domain: Domain, contract: Contract) -> dg.TableColumnLineage | None:
    """The raw tables' and other products' columns behind each column of a product.

    A column whose lineage is unknown, and a constant, have no entry.

    Args:
        domain: the product's domain.
        contract: of its current publication.

    Returns:
        None if nothing is known of any column.
    """
    found = {
        name: _sources(domain, column.get("roots") or ())
        for name, column in contract.columns.items()
    }
    known: Mapping[str, Sequence[dg.TableColumnDep]] = {
        name: sources for name, sources in found.items() if sources
    }
    return dg.TableColumnLineage(known) if known else None


def column_sources(product: Product, contract: Contract) -> dg.MarkdownMetadataValue:
    """The same for people, as a table: Dagster's open-source page does not show column lineage.

    Args:
        product: whose columns they are.
        contract: of its current publication.
    """
    rows = [
        [linked_column(product, name), _said(column.get("roots"))]
        for name, column in contract.columns.items()
    ]
    return dg.MetadataValue.md(table(["column", "comes from"], rows))


def _said(roots: Sequence[str] | None) -> str:
    if roots is None:
        return "unknown"
    # A root without a column is a count of rows.
    parts = [code(each) if each.count(".") > 1 else f"rows of {code(each)}" for each in roots]
    return ", ".join(parts) or "a constant"


def _sources(domain: Domain, roots: Sequence[str]) -> list[dg.TableColumnDep]:
    found: dict[tuple[dg.AssetKey, str], dg.TableColumnDep] = {}
    for root in roots:
        schema, _, rest = root.partition(".")
        name, _, path = rest.partition(".")
        # A root without a column is a count of rows. Of a path in a struct, Dagster has the column.
        if column := path.partition(".")[0]:
            key = relation_key(domain, f"{schema}.{name}")
            found[key, column] = dg.TableColumnDep(asset_key=key, column_name=column)
    return [*found.values()]
