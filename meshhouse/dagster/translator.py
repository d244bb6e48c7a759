"""Names and descriptions of dbt's nodes as Dagster assets.

Belongs here: the asset key of a model, source or upstream product; owners and columns of assets.
Not here: what runs them (domain.py).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings

from meshhouse.repository import Column, Domain, Product


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


_OWNER = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}")
"""The addresses that Dagster takes; it refuses `team@shop.technology`."""


def owners_of(domain: Domain, product: Product | None = None) -> list[str]:
    """Who owns a domain's assets: an address where Dagster takes it, otherwise the team."""
    email = domain.owner(product).get("email")
    return [email] if email and _OWNER.fullmatch(email) else [f"team:{domain.name}"]


def column_schema(columns: tuple[Column, ...]) -> dg.TableSchema:
    """Declared columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                each.name,
                each.data_type,
                description=each.description,
                constraints=dg.TableColumnConstraints(nullable=not each.required),
            )
            for each in columns
        ]
    )


class MeshTranslator(DagsterDbtTranslator):
    """Own models are `<domain>_build/<model>`, other domains' products `<domain>/<product>`."""

    def __init__(self, domain: Domain) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_asset_checks=True))
        self._domain = domain

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Dagster's key of a dbt node, the same from every domain that knows the node."""
        props = dbt_resource_props
        if props["resource_type"] == "source":
            return dg.AssetKey([props["schema"], props["name"]])
        name = props.get("alias") or props["name"]
        if props["package_name"] != self._domain.name:
            return dg.AssetKey([props["package_name"], name])
        return dg.AssetKey([self._domain.build_schema, name])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Assets are grouped by domain."""
        return str(dbt_resource_props["package_name"])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """The domain's; Dagster would refuse some addresses of a dbt group."""
        return owners_of(self._domain)

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The description alone; Dagster shows SQL elsewhere."""
        return str(dbt_resource_props.get("description", "")).strip()

    def get_code_version(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """Dbt's own digest of the file."""
        return dbt_resource_props.get("checksum", {}).get("checksum")
