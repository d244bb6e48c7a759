"""What a product reads without another product in between, from its contract.

Belongs here: the edges of the graph of products. Not here: columns (traces.py).

The text of stored SQL is enough: it is in canonical form, so that a relation is always
`schema.table`. Parsing the SQL of 5,000 products would take a minute.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from meshhouse.governance.contract import Contract

_NAME = re.compile(r'"?(\w+)"?\."?(\w+)"?|\b__dbt__cte__(\w+)')
_BUILD = "_build"


def inputs_of(contract: Contract, products: Collection[str]) -> tuple[str, ...]:
    """The products and raw tables that the models of a product read directly, sorted.

    Args:
        contract: of the product.
        products: relations of all products of the mesh, in lower case.

    Returns:
        `domain.product`, whatever the domain, `schema.table` of raw tables.
    """
    domain, own = str(contract.get("domain", "")).lower(), contract.relation.lower()
    models = {str(name).lower(): each for name, each in contract.get("models", {}).items()}
    later = {str(name).lower(): each for name, each in contract.get("later_builds", {}).items()}
    raw = {str(each["raw_table"]).lower() for each in contract.get("topics", {}).values()}
    read = {str(each["relation"]).lower() for each in contract.get("reads", ())}
    found: set[str] = set()
    waiting = [str(contract.get("model", "")).lower()]
    seen: set[str] = set()
    for model in waiting:  # grows
        if model in seen or model not in models:
            continue
        seen.add(model)
        for name in _names(f"{models[model].get('sql', '')} {later.get(model, '')}".lower()):
            schema, _, table = name.partition(".")
            if name in raw or name in read:
                found.add(name)
            elif schema == f"{domain}{_BUILD}" and table in models:
                sibling = f"{domain}.{table}"
                if sibling in products and sibling != own:
                    found.add(sibling)
                else:
                    waiting.append(table)
            elif name in products and schema != domain:
                found.add(name)  # a version that the contract records under its plain name
    return tuple(sorted(found))


def _names(sql: str) -> set[str]:
    """Everything in a text that may be the name of a relation."""
    return {
        f"{schema}.{table}" if schema else f"{_BUILD}.{ephemeral}"
        for schema, table, ephemeral in _NAME.findall(sql)
    }
