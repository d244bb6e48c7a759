"""dbt's manifest of one domain: what its models are made of.

Belongs here: the only reader of `target/manifest.json`, and whether it is fresh. Does
not: making a fresh one (meshhouse/dbt.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from meshhouse.repository.environment import workspace
from meshhouse.repository.model import Domain, Product
from meshhouse.repository.read import Repository

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


def project_fingerprint(repository: Repository, domain: Domain) -> str:
    """A digest of every file that a domain's manifest depends on."""
    # What a macro gives depends on the target.
    digest = hashlib.sha256(os.environ.get("MESH_TARGET", "local").encode())
    for path in _project_files(repository, domain):
        digest.update(str(path.relative_to(repository.root)).encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def _project_files(repository: Repository, domain: Domain) -> Iterable[Path]:
    folders = [domain.path / name for name in ("models", "tests", "macros", "seeds", "snapshots")]
    folders += [repository.root / "macros", repository.root / "profiles"]
    if domain.path == repository.root:
        folders = [folder for folder in folders if folder.name != "tests"]
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    files |= {domain.path / "dbt_project.yml", domain.path / "dependencies.yml"}
    # Injected nodes come from the declarations of upstream products.
    for name in domain.upstream:
        files |= {product.path for product in repository.domain(name).products}
    return sorted(path for path in files if path.exists())


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

    def own_models(self) -> list[dict[str, Any]]:
        """Nodes of everything that dbt builds in the domain: models, seeds and snapshots."""
        return [node for identifier, node in self.nodes.items() if self._is_own_model(identifier)]

    def model_id(self, product: Product) -> str:
        """Dbt's unique id of a product."""
        identifier = f"model.{product.domain}.{product.model}"
        return f"{identifier}.v{product.version}" if product.versioned else identifier

    def ancestors(self, product: Product) -> list[str]:
        """Unique ids of all a product is made of, itself included, sorted."""
        return sorted(self._reach([self.model_id(product)], follow_tests=False))

    def built_with(self, models: Iterable[str]) -> set[str]:
        """Unique ids of models, of what they are made of and of what tests of these read.

        A test compares two models soundly only if one build made both from the same inputs.

        Args:
            models: unique ids to start from.
        """
        return self._reach(models, follow_tests=True)

    def selection(self, built: set[str]) -> tuple[list[str], list[str]]:
        """What to give to `--select` and to `--exclude` for what `built_with` has found.

        dbt adds every test of what is selected. A test of a model that is not built comes
        with a source or another domain's product that it also reads, so it is excluded.

        Args:
            built: unique ids.
        """
        paths = {
            self.nodes[each]["original_file_path"] for each in built if self._is_own_model(each)
        }
        strays = set()
        for identifier in {test for each in built for test in self._data_tests.get(each, ())}:
            models = {each for each in self._parents(identifier) if self._is_own_model(each)}
            if models and models.isdisjoint(built):
                strays.add(".".join(self.nodes[identifier]["fqn"]))
        # By path: a name would also select every model in a folder of that name.
        return [f"+path:{path}" for path in sorted(paths)], sorted(strays)

    def selection_of(self, names: Collection[str]) -> list[str]:
        """What to give to `--select` for models alone, and what their tests read beside them.

        Args:
            names: dbt names of models; what they are made of is not built.
        """
        asked = [
            identifier
            for identifier, node in self.nodes.items()
            if self._is_own_model(identifier) and node["name"] in names
        ]
        made_of = self._reach(asked, follow_tests=False)
        built = {*asked, *(self.built_with(asked) - made_of)}
        return sorted(
            f"path:{self.nodes[each]['original_file_path']}"
            for each in built
            if self._is_own_model(each)
        )

    def snapshots(self, built: Collection[str]) -> list[str]:
        """Names of the dbt snapshots among unique ids, as their tables are called."""
        nodes = [self.nodes[each] for each in built if self._is_own_model(each)]
        return sorted(each["alias"] for each in nodes if each["resource_type"] == "snapshot")

    def made_of_or_tested_with(self, product: Product) -> set[str]:
        """Like `ancestors`, with what tests read; other products of the domain end the search.

        Such a product is run together with this one, and has its own inputs and code.
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
            waiting += self._parents(identifier)
            if follow_tests and self._is_own_model(identifier):
                for test in self._data_tests.get(identifier, ()):
                    waiting += self._parents(test)
        return found

    def _parents(self, identifier: str) -> list[str]:
        return self.nodes.get(identifier, {}).get("depends_on", {}).get("nodes", [])

    def _is_own_model(self, identifier: str) -> bool:
        """Whether dbt builds it in this domain: a model, a seed or a snapshot."""
        node = self.nodes.get(identifier)
        return (
            node is not None
            and node["package_name"] == self._domain.name
            and node["resource_type"] in ("model", "seed", "snapshot")
        )

    @cached_property
    def _data_tests(self) -> dict[str, list[str]]:
        """Unique id of what is tested -> unique ids of the data tests that read it."""
        tests: dict[str, list[str]] = {}
        for identifier, node in self.nodes.items():
            if node["resource_type"] == "test":
                for parent in self._parents(identifier):
                    tests.setdefault(parent, []).append(identifier)
        return tests

    def relations_read(self, product: Product) -> list[str]:
        """Raw tables and other domains' products that a product is made of or checked with."""
        relations = set(checked_relations(self._repository, self._domain, product))
        for identifier in self.made_of_or_tested_with(product):
            source = self.content["sources"].get(identifier)
            node = self.nodes.get(identifier)
            if source is not None:
                relations.add(f"{source['schema']}.{source['name']}")
            elif node is not None and node["package_name"] != self._domain.name:
                relations.add(f"{node['schema']}.{node['alias']}")
        return sorted(relations)

    def code_version(self, product: Product) -> str:
        """A digest of everything that decides what a product holds or promises, but data.

        SQL, contract, configuration and tests of its models, the macros they use, and
        its checks. (dagster-dbt's own digest is of the raw SQL only.)
        """
        ancestors = self.made_of_or_tested_with(product)
        parts: list[Any] = []
        for identifier in sorted(ancestors | self._tests_of(ancestors)):
            node = self.nodes.get(identifier) or self.content["unit_tests"].get(identifier)
            if node is None or node["package_name"] != self._domain.name:
                continue
            parts.append({key: node.get(key) for key in _CODE_KEYS})
        parts.append(self._macros_in(json.dumps(parts, default=str)))
        if product.checks_path.exists():
            parts.append(product.checks_path.read_text())
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

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

    def _macros_in(self, text: str) -> list[str]:
        """SQL of the repository's macros that a text names, and of those that they name.

        By name, not by what dbt noted as used: that depends on the branch a model took,
        and `is_incremental()` takes another one on the second day.
        """
        own = {
            macro["name"]: macro["macro_sql"]
            for macro in self.content["macros"].values()
            if macro["package_name"] == self._domain.name
        }
        found: dict[str, str] = {}
        waiting = [text]
        while waiting:
            words = set(re.findall(r"\w+", waiting.pop()))
            for name, sql in own.items():
                # What `adapter.dispatch('name')` may choose is called `<adapter>__name`.
                if name not in found and (name in words or name.rpartition("__")[2] in words):
                    found[name] = sql
                    waiting.append(sql)
        return [found[name] for name in sorted(found)]


_CODE_KEYS = (
    "raw_code",
    "columns",
    "constraints",
    "unrendered_config",
    "test_metadata",
    "given",
    "expect",
    "overrides",
)


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
