"""dbt's manifest of one domain: its models, and what they depend on.

Belongs here: what the manifest says; no other module reads it. Not here: its file
(manifest_file.py), or a product's code version (code.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from meshhouse.repository.code import Code
from meshhouse.repository.manifest_file import ESSENCE, manifest_path
from meshhouse.repository.model import Domain, Product
from meshhouse.repository.read import Repository
from meshhouse.repository.yaml import DeclarationError, display_path


class Manifest:
    """The parts of a dbt manifest that the platform uses."""

    def __init__(self, repository: Repository, domain: Domain) -> None:
        """Reads the manifest of a domain; it must exist."""
        self._repository = repository
        self._domain = domain
        self.path = manifest_path(repository, domain.name)

    @cached_property
    def content(self) -> dict[str, Any]:
        """The manifest as dbt wrote it, without what manifest_file.py leaves out."""
        return json.loads(self.path.with_name(ESSENCE).read_bytes())

    @property
    def nodes(self) -> dict[str, Any]:
        """Models, tests and so on, by unique id."""
        return self.content["nodes"]

    def node(self, identifier: str) -> Mapping[str, Any]:
        """A model, seed, snapshot, test or source by dbt's unique id.

        Raises:
            KeyError: the manifest has no such node.
        """
        found = self._code.node(identifier)
        if found is None:
            raise KeyError(identifier)
        return found

    def tables_read(self, identifier: str) -> list[str]:
        """Unique ids of the models, seeds, snapshots and sources that a node reads.

        What an ephemeral model or a function reads counts in its place.
        """
        found: dict[str, None] = {}
        seen: set[str] = set()
        waiting = list(reversed(self.parents(identifier)))
        while waiting:
            each = waiting.pop()
            node = self._code.node(each)
            if node is None or each in seen:
                continue
            seen.add(each)
            ephemeral = (node.get("config") or {}).get("materialized") == "ephemeral"
            if ephemeral or node["resource_type"] == "function":
                waiting += reversed(self.parents(each))
            elif node["resource_type"] in ("model", "seed", "snapshot", "source"):
                found[each] = None
        return list(found)

    def own_models(self) -> list[dict[str, Any]]:
        """Nodes of everything that dbt builds in the domain: models, seeds and snapshots."""
        return [node for identifier, node in self.nodes.items() if self._is_own_model(identifier)]

    def model_id(self, product: Product) -> str:
        """Dbt's unique id of a product."""
        identifier = f"model.{product.domain}.{product.model}"
        return f"{identifier}.v{product.version}" if product.versioned else identifier

    def ancestors(self, product: Product) -> list[str]:
        """Unique ids of a product and of everything it depends on, sorted."""
        return sorted(self._reach([self.model_id(product)], follow_tests=False))

    def unpinned_references(self, identifier: str) -> frozenset[str]:
        """`domain.model` of each other domain's product that a model names without a version."""
        return frozenset(
            f"{each['package']}.{each['name']}"
            for each in self.nodes[identifier].get("refs", ())
            if each.get("package") and each.get("version") is None
        )

    def seeds_of(self, product: Product) -> dict[str, str]:
        """Seed that a product is made of -> a digest of its content, as dbt computes it."""
        nodes = [self.nodes[each] for each in self.ancestors(product) if self._is_own_model(each)]
        return {
            node["name"]: node["checksum"]["checksum"]
            for node in nodes
            if node["resource_type"] == "seed"
        }

    def built_with(self, models: Iterable[str]) -> set[str]:
        """Unique ids of models, of their ancestors, and of what the tests of all these read.

        A test that compares two models is valid only if one build made both from the same
        inputs.

        Args:
            models: unique ids to start from.
        """
        return self._reach(models, follow_tests=True)

    def selection(self, built: set[str]) -> tuple[list[str], list[str]]:
        """Arguments of `--select` and `--exclude` that build the result of `built_with`.

        dbt adds every test of a selected node. Through a shared source or a product of another
        domain, it also adds tests of models that are not built; those are excluded.

        Args:
            built: unique ids.
        """
        used = {parent for each in built for parent in self.parents(each)}
        # dbt scans all nodes once per selector, so only select nodes that nothing else uses.
        paths = {
            self.nodes[each]["original_file_path"]
            for each in built - used
            if self._is_own_model(each)
        }
        strays = set()
        for identifier in {test for each in built for test in self._data_tests.get(each, ())}:
            models = {each for each in self.parents(identifier) if self._is_own_model(each)}
            if models and models.isdisjoint(built):
                strays.add(".".join(self.nodes[identifier]["fqn"]))
        # Select by path: a name also selects every model in a folder of that name.
        return [f"+path:{path}" for path in sorted(paths)], sorted(strays)

    def models_with(self, names: Collection[str]) -> set[str]:
        """Unique ids of models without their ancestors, and of what else their tests read.

        Args:
            names: dbt names of models.
        """
        asked = {
            identifier
            for identifier, node in self.nodes.items()
            if self._is_own_model(identifier) and node["name"] in names
        }
        return asked | (self.built_with(asked) - self._reach(asked, follow_tests=False))

    def selection_of(self, built: Collection[str]) -> list[str]:
        """Arguments of `--select` that build the result of `models_with`, without ancestors.

        Args:
            built: unique ids.
        """
        return sorted(
            f"path:{self.nodes[each]['original_file_path']}"
            for each in built
            if self._is_own_model(each)
        )

    def data_tests_of(self, built: Iterable[str]) -> set[str]:
        """Unique ids of the data tests that read any of these models of the domain.

        The nodes of a manifest do not contain disabled tests.

        Args:
            built: unique ids; those of other domains are ignored.
        """
        return {
            test
            for each in built
            if self._is_own_model(each)
            for test in self._data_tests.get(each, ())
        }

    def tests_run_with(self, product: Product) -> list[str]:
        """Unique ids of the data tests that a run of a product executes, sorted.

        A test of other models that shares an input with the product is not among them.
        """
        built = self.made_of_or_tested_with(product)
        tests = {test for each in built for test in self._data_tests.get(each, ())}
        return sorted(
            test
            for test in tests
            if not (own := {each for each in self.parents(test) if self._is_own_model(each)})
            or own & built
        )

    def snapshots(self, built: Collection[str]) -> list[str]:
        """Table names of the dbt snapshots among these unique ids."""
        nodes = [self.nodes[each] for each in built if self._is_own_model(each)]
        return sorted(each["alias"] for each in nodes if each["resource_type"] == "snapshot")

    def made_of_or_tested_with(self, product: Product) -> set[str]:
        """Like `ancestors`, plus what tests read; stops at other products of the domain.

        Another product runs together with this one and records its own inputs and code.
        """
        start = self.model_id(product)
        stop = {self.model_id(each) for each in self._domain.products} - {start}
        found = self._reach([start], follow_tests=True, stop=stop)
        return (found - stop) | set(self.ancestors(product))

    def _reach(
        self, start: Iterable[str], follow_tests: bool, stop: Collection[str] = ()
    ) -> set[str]:
        found: set[str] = set()
        waiting = list(start)
        while waiting:
            identifier = waiting.pop()
            if identifier in found:
                continue
            found.add(identifier)
            if identifier in stop:
                continue
            waiting += self.parents(identifier)
            if follow_tests and self._is_own_model(identifier):
                for test in self._data_tests.get(identifier, ()):
                    waiting += self.parents(test)
        return found

    def parents(self, identifier: str) -> list[str]:
        """Unique ids of what a node depends on."""
        return (self._code.node(identifier) or {}).get("depends_on", {}).get("nodes", [])

    def _is_own_model(self, identifier: str) -> bool:
        """Whether dbt builds this node in the domain: a model, a seed or a snapshot."""
        node = self.nodes.get(identifier)
        return (
            node is not None
            and node["package_name"] == self._domain.name
            and node["resource_type"] in ("model", "seed", "snapshot")
        )

    @cached_property
    def _data_tests(self) -> dict[str, list[str]]:
        """Unique id of a tested node -> unique ids of the data tests that read it."""
        tests: dict[str, list[str]] = {}
        for identifier, node in self.nodes.items():
            if node["resource_type"] == "test":
                for parent in self.parents(identifier):
                    tests.setdefault(parent, []).append(identifier)
        return tests

    def relations_read(self, product: Product) -> list[str]:
        """Raw tables and other domains' products that a product or its checks read."""
        relations = set(checked_relations(self._repository, self._domain, product))
        for identifier in self.made_of_or_tested_with(product):
            node = self._code.node(identifier)
            if node is None:
                continue
            if node["resource_type"] == "source":
                relations.add(f"{node['schema']}.{node['name']}")
            elif not self._code.is_own(node):
                relations.add(f"{node['schema']}.{node['alias']}")
        return sorted(relations)

    def added_up(self, product: Product) -> list[str]:
        """Other domains' products that reach a product through an incremental model."""
        found: set[str] = set()
        for identifier in self.ancestors(product):
            node = self._code.node(identifier) or {}
            if (node.get("config") or {}).get("materialized") != "incremental":
                continue
            for each in map(self._code.node, self._reach([identifier], follow_tests=False)):
                if each is not None and not self._code.is_own(each):
                    found.add(f"{each['schema']}.{each['alias']}")
        return sorted(found)

    def code_version(self, product: Product) -> str:
        """A digest of everything except data that decides a product's rows, promises or texts.

        dagster-dbt's own digest covers the raw SQL only. Readers see the description, grain and
        owner on the published table, so they count too.
        """
        checks = [product.checks_path.read_text()] if product.checks_path.exists() else []
        described = self.described(product)
        says = [described.description, *product.grain]
        says += [f"{key}: {text}" for key, text in sorted(described.owner.items())]
        if product.deprecation_date:  # a new end must be judged and published
            says.append(f"deprecation_date: {product.deprecation_date}")
        return self._code.version(self._deciding(product), [*says, *checks])

    def code_of_rows(self, product: Product) -> str:
        """A digest of the code that decides a product's rows, without texts and promises."""
        return self._code.of_rows(self.ancestors(product))

    def hooks_of(self, product: Product) -> dict[str, list[dict[str, Any]]]:
        """Hooks that write to what a product is made of; see `Code.hooks`."""
        return self._code.hooks(self.ancestors(product), self.model_id(product))

    def macros_of_test(self, node: Mapping[str, Any]) -> str:
        """See `Code.macros_of_test`."""
        return self._code.macros_of_test(node)

    def code_parts(self, product: Product) -> dict[str, str]:
        """The parts that the code version is computed from; see `Code.parts`."""
        root = self._repository.root
        groups = self.content["groups"].values()
        paths = [product.checks_path] + [
            self._domain.path / group["original_file_path"]
            for group in groups
            if group["name"] == product.group and group["package_name"] == self._domain.name
        ]
        said = {
            os.path.relpath(path, root): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            for path in paths
            if path.is_file()
        }
        return {**self._code.parts(self._deciding(product)), **said}

    def _deciding(self, product: Product) -> set[str]:
        """Unique ids of the models and tests whose code decides what a product holds."""
        ancestors = self.made_of_or_tested_with(product)
        return ancestors | self._tests_of(ancestors)

    def described(self, product: Product) -> Product:
        """The product with its owner, and with descriptions as dbt renders them.

        Rendering matters for `{{ doc('name') }}`, whose text is in another file.
        """
        node = self.nodes.get(self.model_id(product), {})
        texts = {name.lower(): str(each.get("description") or "").strip()
                 for name, each in node.get("columns", {}).items()}  # fmt: skip
        columns = tuple(
            replace(each, description=texts.get(each.name.lower(), each.description))
            for each in product.columns
        )
        text = str(node.get("description", product.description)).strip()
        owner = self._domain.owner(product)
        return replace(product, description=text, columns=columns, owner=owner)

    def unprovable(self, product: Product) -> str:
        """Why a product may change although its code and inputs did not; empty if it cannot."""
        return self._code.unprovable(self.ancestors(product))

    def withheld(self, product: Product) -> str:
        """Why runs skip a declared product: `disabled` or `not public`; empty if they build it.

        Raises:
            DeclarationError: dbt has no such model.
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
        return ""

    @cached_property
    def _code(self) -> Code:
        others = set(self._repository.domain_names) - {self._domain.name}
        return Code(self.content, self._repository.root, self._domain.path, others)

    def _is_disabled(self, product: Product) -> bool:
        """Compares files, because dbt gives a disabled model no id of its version."""
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
    """Other domains' products and own raw tables that a product's checks read.

    A product that is read through an alias counts under its own name.
    """
    if not product.checks_path.exists():
        return []
    text = product.checks_path.read_text()
    known = {raw.relation: raw.relation for raw in domain.raw_tables}
    for each in repository.provided(domain):
        known |= dict.fromkeys(each.relations, each.relation)
    found = dict.fromkeys(each for name, each in known.items() if _mentions(text, name))
    return list(found)


def _mentions(text: str, relation: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(relation)}(?![\w])", text) is not None
