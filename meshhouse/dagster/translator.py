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


class MeshTranslator:
    """Own models are `<domain>/build.<model>`, other domains' products `<domain>/<product>`.

    dagster-dbt has such a class too. It is not used, because importing it loads all of dbt, which
    takes 1.3 s of each process, and because it computes the spec of every node twice.
    """

    def __init__(self, domain: Domain, manifest: Manifest, shows_builds: bool) -> None:
        """Takes a domain.

        Args:
            domain: whose models become assets.
            manifest: its manifest.
            shows_builds: whether people can query what dbt builds, under dbt's names.
        """
        self._domain = domain
        self._manifest = manifest
        self._shows_builds = shows_builds
        self._columns = BuiltColumns.of(manifest)
        self._raws = {raw.relation: raw_key(raw) for raw in domain.raw_tables}
        self._grains = {manifest.model_id(each): each.grain for each in domain.products}

    def spec(
        self,
        identifier: str,
        kinds: set[str],
        follows: dg.AutomationCondition | None,
    ) -> dg.AssetSpec:
        """The asset of an own model.

        Args:
            identifier: dbt's unique id.
            kinds: the icons of the asset.
            follows: when it is built without being asked for.
        """
        node = self._manifest.nodes[identifier]
        return dg.AssetSpec(
            self.key(identifier),
            deps=self._keys(identifier),
            description=str(node.get("description") or "").strip(),
            metadata=self._metadata(node),
            skippable=True,
            group_name=self._domain.name,
            code_version=(node.get("checksum") or {}).get("checksum"),
            owners=owners_of(self._domain),  # Dagster would refuse some addresses of a dbt group
            tags={**dbt_tags(node), LAYER: "build"},
            kinds=kinds,
            automation_condition=follows,
        )

    def check_spec(self, identifier: str, key: dg.AssetKey) -> dg.AssetCheckSpec:
        """The check that a data test of dbt is, on the asset of this key."""
        node = self._manifest.nodes[identifier]
        severity = str((node.get("config") or {}).get("severity") or "error")
        return CheckSpec(
            safe_name(node["name"]),
            asset=key,
            description=(node.get("meta") or {}).get("description"),
            additional_deps=[each for each in self._keys(identifier) if each != key],
            metadata={"unique_id": identifier},
            blocking=severity.lower() == "error",
        )

    def key(self, identifier: str) -> dg.AssetKey:
        """Dagster's key of a node of dbt, the same from every domain that knows the node."""
        node = self._manifest.node(identifier)
        if node["resource_type"] == "source":
            own = self._raws.get(f"{self._domain.name}_raw.{node['name']}")
            return own or dg.AssetKey([node["schema"], node["name"]])
        name = node.get("alias") or node["name"]
        if node["package_name"] != self._domain.name:
            return dg.AssetKey([node["package_name"], name])
        return build_key(self._domain, name)

    def _keys(self, identifier: str) -> list[dg.AssetKey]:
        """What a node reads."""
        return list(dict.fromkeys(map(self.key, self._manifest.tables_read(identifier))))

    def _metadata(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Columns, materialization, the author's own keys of `meta`, and a name to query."""
        schema = self._columns.schema(node, self._grains.get(node["unique_id"], ()))
        found: dict[str, Any] = author_meta(node)
        if schema:
            found["dagster/column_schema"] = schema
        if materialized := (node.get("config") or {}).get("materialized"):
            found["materialized"] = str(materialized)
        if self._shows_builds and node.get("relation_name"):
            found["dagster/table_name"] = str(node["relation_name"]).replace('"', "")
        return found
