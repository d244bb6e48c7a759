"""dbt's manifest of one domain: what its models are made of.

Belongs here: the only reader of `target/manifest.json`, and whether it is fresh. Not here:
making a fresh one (meshhouse/dbt.py), or what decides a product's rows (code.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from meshhouse.repository.code import Code
from meshhouse.repository.environment import workspace
from meshhouse.repository.model import Domain, Product
from meshhouse.repository.project import project_fingerprint
from meshhouse.repository.read import Repository
from meshhouse.repository.yaml import DeclarationError, display_path

_FINGERPRINT = "meshhouse.fingerprint"


def manifest_path(repository: Repository, domain: str) -> Path:
    """Where dbt writes a domain's manifest."""
    return target_folder(repository, domain) / "manifest.json"


def target_folder(repository: Repository, domain: str) -> Path:
    """Where dbt keeps what it made of a domain: manifests of environments name other schemas."""
    return workspace(repository.folder(domain) / "target", repository.environment)


def is_fresh(repository: Repository, domain: Domain) -> bool:
    """Whether the manifest was made from the files as they are now."""
    manifest = manifest_path(repository, domain.name)
    path = manifest.with_name(_FINGERPRINT)
    return (
        manifest.exists()
        and path.exists()
        # Plain dbt writes the same file, of code that may have been taken back since.
        and manifest.stat().st_mtime_ns <= path.stat().st_mtime_ns
        and path.read_text() == project_fingerprint(repository, domain)
    )


def mark_fresh(repository: Repository, domain: Domain, fingerprint: str) -> None:
    """Remembers from which files the manifest was made."""
    path = manifest_path(repository, domain.name).with_name(_FINGERPRINT)
    path.write_text(fingerprint)


class Manifest:
    """The parts of a dbt manifest that the platform uses."""

    def __init__(self, repository: Repository, domain: Domain) -> None:
        """Reads the manifest of a domain; it must exist."""
        self._repository = repository
        self._domain = domain
        self.path = manifest_path(repository, domain.name)

    @cached_property
    def content(self) -> dict[str, Any]:
        """The whole manifest, as dbt wrote it."""
        return json.loads(self.path.read_bytes())

    @property
    def nodes(self) -> dict[str, Any]:
        """Models, tests and so on, by unique id."""
        return self.content["nodes"]

    def model_id(self, product: Product) -> str:
        """Dbt's unique id of a product."""
        identifier = f"model.{product.domain}.{product.model}"
        return f"{identifier}.v{product.version}" if product.versioned else identifier

    def selector(self, product: Product) -> str:
        """What to give to `--select` for a product and all it is made of."""
        version = f".v{product.version}" if product.versioned else ""
        return f"+{product.model}{version}"

    def ancestors(self, product: Product) -> list[str]:
        """Unique ids of all a product is made of, itself included, sorted."""
        return self._behind(self.model_id(product))

    def relations_read(self, product: Product) -> list[str]:
        """Raw tables and other domains' products that a product is made of or checked with."""
        relations = set(checked_relations(self._repository, self._domain, product))
        for identifier in self.ancestors(product):
            node = self._code.node(identifier)
            if node is None:
                continue
            if node["resource_type"] == "source":
                relations.add(f"{node['schema']}.{node['name']}")
            elif not self._code.is_own(node):
                relations.add(f"{node['schema']}.{node['alias']}")
        return sorted(relations)

    def added_up(self, product: Product) -> list[str]:
        """Other domains' products that an incremental model behind a product reads."""
        found: set[str] = set()
        for identifier in self.ancestors(product):
            node = self._code.node(identifier) or {}
            if (node.get("config") or {}).get("materialized") != "incremental":
                continue
            for each in map(self._code.node, self._behind(identifier)):
                if each is not None and not self._code.is_own(each):
                    found.add(f"{each['schema']}.{each['alias']}")
        return sorted(found)

    def code_version(self, product: Product) -> str:
        """A digest of everything that decides what a product holds or promises, but data.

        (dagster-dbt's own digest is of the raw SQL only.)
        """
        ancestors = set(self.ancestors(product))
        checks = [product.checks_path.read_text()] if product.checks_path.exists() else []
        return self._code.version(ancestors | self._tests_of(ancestors), checks)

    def unprovable(self, product: Product) -> str:
        """Why a product may change while its code and inputs stand; empty if it cannot."""
        return self._code.unprovable(self.ancestors(product))

    def withheld(self, product: Product) -> str:
        """Why runs leave a declared product out: `disabled` or `not public`; empty if they do not.

        Raises:
            DeclarationError: dbt builds no such model, or under another name.
        """
        node = self.nodes.get(self.model_id(product))
        if node is None:
            if self._is_disabled(product):
                return "disabled"
            raise DeclarationError(
                product.path,
                product.line,
                f"{product.relation} is declared, but dbt has no model `{product.model}` behind "
                f"it. Write {display_path(product.sql_path)}, or remove the declaration.",
            )
        if (node.get("config") or {}).get("access", node.get("access")) != "public":
            return "not public"
        if node["alias"] != product.build_name:
            raise DeclarationError(
                product.path,
                product.line,
                f"dbt builds {product.relation} as `{node['alias']}`; remove the alias, so that "
                f"it is `{product.build_name}`.",
            )
        return ""

    @cached_property
    def _code(self) -> Code:
        others = set(self._repository.domain_names) - {self._domain.name}
        return Code(self.content, self._domain.path, others)

    def _behind(self, identifier: str) -> list[str]:
        found: set[str] = set()
        waiting = [identifier]
        while waiting:
            each = waiting.pop()
            if each in found:
                continue
            found.add(each)
            node = self._code.node(each) or {}
            waiting += node.get("depends_on", {}).get("nodes", [])
        return sorted(found)

    def _is_disabled(self, product: Product) -> bool:
        """By its file: dbt does not give a disabled model the id of its version."""
        return any(
            self._domain.path / node["original_file_path"] == product.sql_path
            for nodes in (self.content.get("disabled") or {}).values()
            for node in nodes
            if node["resource_type"] == "model" and node["package_name"] == self._domain.name
        )

    def _tests_of(self, models: set[str]) -> set[str]:
        tests = {
            identifier
            for identifier, node in self.nodes.items()
            if node["resource_type"] == "test" and models & set(node["depends_on"]["nodes"])
        }
        units = {
            identifier
            for identifier, node in self.content["unit_tests"].items()
            if models & set(node["depends_on"]["nodes"])
        }
        return tests | units


def checked_relations(repository: Repository, domain: Domain, product: Product) -> list[str]:
    """Other domains' products and own raw tables that a product's checks read."""
    if not product.checks_path.exists():
        return []
    text = product.checks_path.read_text()
    known: Mapping[str, None] = dict.fromkeys(
        [raw.relation for raw in domain.raw_tables]
        + [each.relation for name in domain.upstream for each in repository.domain(name).products]
    )
    return [relation for relation in known if _mentions(text, relation)]


def _mentions(text: str, relation: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(relation)}(?![\w])", text) is not None
