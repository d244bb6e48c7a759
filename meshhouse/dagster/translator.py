"""Names and descriptions of dbt's nodes as Dagster assets.

Belongs here: which asset a node of dbt is, and what is shown of it; owners of assets. Not here: the
form of keys (keys.py), columns (columns.py), or what runs them (domain.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._utils.tags import is_valid_tag_key
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings

from meshhouse.dagster.columns import BuiltColumns
from meshhouse.dagster.keys import build_key, raw_key
from meshhouse.dagster.tags import LAYER
from meshhouse.repository import Domain, Product, keys
from meshhouse.repository.manifest import Manifest


class CheckSpec(dg.AssetCheckSpec):
    """An asset check with an output name that no other check has.

    Dagster joins asset and check with one underscore: the check `x_y` of `orders` and the
    check `y` of `orders_x` would get the same name, and no definition of the domain loads.
    """

    def get_python_identifier(self) -> str:
        """The name of the output."""
        exact = "/".join([*self.asset_key.path, self.name])
        return f"{super().get_python_identifier()}_{_digest(exact)}"


def safe_name(name: str) -> str:
    """What Dagster may call a test of dbt or a domain, whose names may hold any letter or sign.

    Different names stay different: a digest follows whatever had to be replaced.
    """
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return name if plain == name and name else f"{plain}_{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


_READ = {key.name for key in keys.KEYS}
"""The keys of `meta` that the mesh reads; Dagster shows them in their own places."""
_OWNER = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}")
"""The addresses that Dagster takes; it refuses `team@shop.technology`."""


def owners_of(domain: Domain, product: Product | None = None) -> list[str]:
    """Who owns a domain's assets: an address where Dagster takes it, otherwise the team."""
    email = domain.owner(product).get("email")
    return [email] if email and _OWNER.fullmatch(email) else [f"team:{domain.name}"]


def dbt_tags(node: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a node of dbt that Dagster takes; it refuses spaces and more."""
    return {str(tag): "" for tag in node.get("tags") or () if is_valid_tag_key(str(tag))}


def author_meta(node: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a node's `meta` that the mesh does not read, as one entry of metadata."""
    written = {**(node.get("meta") or {}), **((node.get("config") or {}).get("meta") or {})}
    own = {name: value for name, value in written.items() if name not in _READ}
    # As text: values of YAML, such as dates, are more than JSON has.
    return {"meta": json.loads(json.dumps(own, default=str))} if own else {}


class MeshTranslator(DagsterDbtTranslator):
    """Own models are `<domain>/build.<model>`, other domains' products `<domain>/<product>`."""

    def __init__(self, domain: Domain, manifest: Manifest, shows_builds: bool) -> None:
        """Takes a domain.

        Args:
            domain: whose models become assets.
            manifest: its manifest.
            shows_builds: whether people can query what dbt builds, under dbt's names.
        """
        super().__init__(DagsterDbtTranslatorSettings(enable_asset_checks=True))
        self._domain = domain
        self._shows_builds = shows_builds
        self._columns = BuiltColumns.of(manifest)
        self._raws = {raw.relation: raw_key(raw) for raw in domain.raw_tables}
        self._grains = {manifest.model_id(each): each.grain for each in domain.products}

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Dagster's key of a dbt node, the same from every domain that knows the node."""
        props = dbt_resource_props
        if props["resource_type"] == "source":
            own = self._raws.get(f"{self._domain.name}_raw.{props['name']}")
            return own or dg.AssetKey([props["schema"], props["name"]])
        name = props.get("alias") or props["name"]
        if props["package_name"] != self._domain.name:
            return dg.AssetKey([props["package_name"], name])
        return build_key(self._domain, name)

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Assets are grouped by domain."""
        return str(dbt_resource_props["package_name"])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """The domain's; Dagster would refuse some addresses of a dbt group."""
        return owners_of(self._domain)

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The description alone; Dagster shows SQL elsewhere."""
        return str(dbt_resource_props.get("description", "")).strip()

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """Columns, materialization, the author's own keys of `meta`, and a name to query."""
        props = dbt_resource_props
        schema = self._columns.schema(props, self._grains.get(props["unique_id"], ()))
        found: dict[str, Any] = author_meta(props)
        if schema:
            found["dagster/column_schema"] = schema
        if materialized := (props.get("config") or {}).get("materialized"):
            found["materialized"] = str(materialized)
        if self._shows_builds and props.get("relation_name"):
            found["dagster/table_name"] = str(props["relation_name"]).replace('"', "")
        return found

    def get_tags(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, str]:
        """Dbt's tags, and the layer."""
        return {**dbt_tags(dbt_resource_props), LAYER: "build"}

    def get_code_version(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """Dbt's own digest of the file."""
        return dbt_resource_props.get("checksum", {}).get("checksum")
