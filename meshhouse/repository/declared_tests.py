"""The tests and column facts that dbt's manifest has of a product, in one shape.

Belongs here: data tests, unit tests, constraints and meta data of columns. Not here: checks of Soda
(audit/contract.py), or running tests (meshhouse/dbt/).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meshhouse.repository import keys
from meshhouse.repository.manifest import Manifest
from meshhouse.repository.model import Product

_WITHOUT = ("model", "column_name")
"""Arguments of a generic test that name what it tests, not how."""


def data_tests(manifest: Manifest, product: Product) -> Iterator[dict[str, Any]]:
    """The data tests of a product's model that are enabled: generic ones and singular ones.

    Tests of models that the product is made of belong to these models.
    """
    found = list(_data_tests(manifest, manifest.model_id(product)))
    times = Counter(each["id"] for each in found)
    for each in found:
        yield each if times[each["id"]] == 1 else {**each, "id": f"{each['id']}__{_digest(each)}"}


def _data_tests(manifest: Manifest, model: str) -> Iterator[dict[str, Any]]:
    for node in manifest.nodes.values():
        if node["resource_type"] != "test":
            continue
        if node.get("attached_node") == model:
            yield {**_generic(node), **_macros(manifest, node)}
        elif not node.get("attached_node") and model in node["depends_on"]["nodes"]:
            singular = {"kind": "singular", "query": node["raw_code"]}
            yield {**_common(node), **singular, **_macros(manifest, node)}


def _macros(manifest: Manifest, node: Mapping[str, Any]) -> dict[str, str]:
    digest = manifest.macros_of_test(node)
    return {"macros": digest} if digest else {}


def unit_tests(manifest: Manifest, product: Product) -> list[str]:
    """Names of the unit tests of a product's model, sorted."""
    model = manifest.model_id(product)
    return sorted(
        node["name"]
        for node in manifest.content["unit_tests"].values()
        if model in node["depends_on"]["nodes"]
    )


@dataclass(frozen=True)
class ColumnFacts:
    """What dbt knows of a product's columns beyond their names and types."""

    meta: Mapping[str, Mapping[str, Any]]
    """Column in lower case -> the keys of `config.meta` that describe its meaning."""
    unique: frozenset[str]
    """Columns in lower case with a constraint `unique` or `primary_key`."""


def column_facts(manifest: Manifest, product: Product) -> ColumnFacts:
    """The meta data and constraints of a product's columns."""
    columns = manifest.nodes[manifest.model_id(product)].get("columns", {})
    meta, unique = {}, set()
    for name, column in columns.items():
        written = {**column.get("meta", {}), **(column.get("config") or {}).get("meta", {})}
        meta[name.lower()] = {
            key.name: key.of(written) for key in keys.DESCRIBED if key.of(written) is not None
        }
        if any(each["type"] in ("unique", "primary_key") for each in column["constraints"]):
            unique.add(name.lower())
    return ColumnFacts(meta, frozenset(unique))


_COUNTS_ROWS = "count(*)"
"""How dbt counts failing rows unless `fail_calc` says otherwise."""


def _generic(node: Mapping[str, Any]) -> dict[str, Any]:
    about = node["test_metadata"]
    arguments = {key: value for key, value in about["kwargs"].items() if key not in _WITHOUT}
    found = {
        **_common(node),
        "kind": ".".join(filter(None, (about.get("namespace"), about["name"]))),
        "column": node.get("column_name"),
    }
    if "values" in arguments:
        found["values"] = arguments.pop("values")
    if arguments:
        found["arguments"] = arguments
    # The name of a generic test holds a digest of its arguments, so a changed test would seem to be
    # another one. Only tests that differ in nothing else get a digest, see `data_tests`.
    identity = [found["kind"], found["column"], *sorted(arguments)]
    found["id"] = "dbt__" + "__".join(str(each) for each in identity if each)
    return found


def _digest(test: Mapping[str, Any]) -> str:
    """Tells tests apart that have the same kind, column and names of arguments."""
    parts = [test.get(key) for key in ("arguments", "values", "filter")]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _common(node: Mapping[str, Any]) -> dict[str, Any]:
    config = node["config"]
    found = {
        "id": f"dbt__{node['name']}",
        "name": node["name"],
        "severity": str(config.get("severity") or "error").lower(),
        "stage": "gate",
        "enabled": True,
        "source": "dbt",
    }
    if config.get("where"):
        found["filter"] = str(config["where"])
    if config.get("limit"):
        found["limit"] = config["limit"]
    if config.get("fail_calc") not in (None, _COUNTS_ROWS):
        found["fail_calc"] = str(config["fail_calc"])
    bounds = {key: config[key] for key in ("warn_if", "error_if") if config.get(key) != "!= 0"}
    if any(bounds.values()):
        found["must"] = {key: value for key, value in bounds.items() if value}
    return json.loads(json.dumps(found, default=str))
