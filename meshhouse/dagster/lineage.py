"""Where the values of each column of a product come from, as Dagster's column lineage.

Belongs here: a contract's roots as columns of assets. Not here: finding the roots in SQL
(meshhouse/governance/lineage/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from meshhouse.dagster.keys import relation_key
from meshhouse.governance.contract import Contract
from meshhouse.repository import Domain


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


def _sources(domain: Domain, roots: Sequence[str]) -> list[dg.TableColumnDep]:
    found: dict[tuple[dg.AssetKey, str], dg.TableColumnDep] = {}
    for root in roots:
        schema, _, rest = root.partition(".")
        table, _, path = rest.partition(".")
        # A root without a column is a count of rows. Of a path in a struct, Dagster has the column.
        if column := path.partition(".")[0]:
            key = relation_key(domain, f"{schema}.{table}")
            found[key, column] = dg.TableColumnDep(asset_key=key, column_name=column)
    return [*found.values()]
