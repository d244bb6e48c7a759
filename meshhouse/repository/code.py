"""The code version of a product: a digest of everything except data that decides its rows.

Belongs here: which nodes, seeds, variables and tools of dbt's manifest the digest covers, and which
reads it cannot cover. Not here: reading the manifest (manifest.py), which macros a text uses
(macros.py), or finding a read of the clock in a text (hidden.py).

The SQL that dbt renders depends on more than the text of the model. The digest covers each
part by its content. If the content of a part cannot be read, every run builds the product.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from meshhouse.repository.hidden import hidden_in_value, hidden_inputs, jinja_names
from meshhouse.repository.keys import EVERY_RUN
from meshhouse.repository.macros import Macros
from meshhouse.repository.project import (
    PLATFORM_MACROS,
    connection,
    environment_named,
    packages,
    settings,
    tool_versions,
    variables,
)

_NODE_KEYS = (
    "resource_type",
    "language",
    "raw_code",
    "columns",
    "constraints",
    "config",
    "unrendered_config",
    "test_metadata",
    "given",
    "expect",
    "overrides",
    "arguments",
    "returns",
)
_ROWS_KEYS = ("resource_type", "language", "raw_code")
_NOT_OF_ROWS = frozenset(
    {"access", "alias", "contract", "database", "description", "docs", "freshness", "grants",
     "group", "meta", "persist_docs", "schema", "tags", "target_database", "target_schema"}
)  # fmt: skip
"""Settings of a node that decide how it is described, or where it is stored."""
_SOURCE_KEYS = ("identifier", "external")
_SETTINGS = ("dispatch", "flags", "quoting", "query-comment")
"""Keys of dbt_project.yml that change what dbt renders and that no node repeats."""
_HOOKS = ("pre-hook", "post-hook", "sql_header", "incremental_predicates")
_AROUND = ("on-run-start", "on-run-end")
_BEHIND_TESTS = ("get_test_sql", "get_where_subquery")
"""Macros of dbt that every data test runs."""

_SCHEME = "3"
"""How code versions are computed. Raise it with any change of `Code.version`: versions of
different schemes cannot be compared. Versions of scheme 1 have no prefix."""


def scheme(version: str) -> str:
    """The scheme of a code version; only versions of the same scheme can be compared."""
    return version.rpartition(":")[0]


class Code:
    """The code of the nodes in one manifest, with the settings of their project."""

    def __init__(
        self, content: Mapping[str, Any], root: Path, folder: Path, others: Collection[str]
    ) -> None:
        """Takes a manifest and its project.

        Args:
            content: the manifest.
            root: the repository.
            folder: the dbt project that the manifest was made from.
            others: names of the mesh's other domains.
        """
        self._content = content
        self._root = root
        self._folder = folder
        self._others = frozenset(others)
        self._macros = Macros(content["macros"], self.adapter)

    def node(self, identifier: str) -> Mapping[str, Any] | None:
        """A model, seed, snapshot, test, function or source by dbt's unique id."""
        for kind in ("nodes", "sources", "unit_tests", "functions"):
            if identifier in self._content.get(kind, {}):
                return self._content[kind][identifier]
        return None

    def is_own(self, node: Mapping[str, Any]) -> bool:
        """Whether this project builds a node: its own, or one of an installed package."""
        return node["package_name"] not in self._others

    def version(self, identifiers: Iterable[str], more: Iterable[str] = ()) -> str:
        """A digest of everything except data that decides what these nodes hold or promise.

        Args:
            identifiers: unique ids of models, of their ancestors and of their tests.
            more: further texts that the digest covers.
        """
        digest = json.dumps(
            {**self._decides(identifiers), "more": list(more)}, sort_keys=True, default=str
        )
        return f"{_SCHEME}:{hashlib.sha256(digest.encode()).hexdigest()[:16]}"

    def of_rows(self, identifiers: Iterable[str]) -> str:
        """A digest of the code that decides rows, the same in every environment.

        Templates count with all their branches. Descriptions, columns, tests, and environment
        variables do not count.

        Args:
            identifiers: unique ids of models and of their ancestors.
        """
        nodes = [node for each in sorted(identifiers) if (node := self.node(each))]
        parts = [
            {
                **{key: node.get(key) for key in _ROWS_KEYS},
                "config": {
                    key: value
                    for key, value in (node.get("config") or {}).items()
                    if key not in _NOT_OF_ROWS
                },
            }
            for node in nodes
            if self.is_own(node) and node["resource_type"] != "source"
        ]
        text = "\n".join(_strings([parts, self._operations]))
        macros = self._macros.behind(text, map(self.node, identifiers))
        words = set(re.findall(r"\w+", " ".join([text, *macros.values()])))
        decides = {
            "nodes": parts,
            "operations": self._operations,
            "macros": sorted(macros.items()),
            "settings": self._project,
            "variables": self._variables if "var" in words else None,
        }
        return _digest(json.dumps(decides, sort_keys=True, default=str).encode())

    def hooks(self, identifiers: Iterable[str], own: str = "") -> dict[str, list[dict[str, Any]]]:
        """The hooks of nodes, and those at the start and end of runs, as they are written.

        Args:
            identifiers: unique ids of models and of their ancestors.
            own: the one that is called by its name without a version, like a product.

        Returns:
            Name of a node, or `project` -> its hooks: `when`, `sql`, and a digest of the `macros`
            outside dbt that the hook calls.
        """
        found: dict[str, list[dict[str, Any]]] = {}
        for identifier in sorted(identifiers):
            node = self.node(identifier)
            if node is None or not self.is_own(node):
                continue
            version = None if identifier == own else node.get("version")
            name = node["name"] if version is None else f"{node['name']}_v{version}"
            config = node.get("config") or {}
            for when in ("pre-hook", "post-hook"):
                for each in config.get(when) or ():
                    text = each.get("sql") if isinstance(each, Mapping) else each
                    self._add_hook(found, name, when, str(text or ""))
        for _, node in sorted(self._content["nodes"].items()):
            if node["resource_type"] == "operation" and self.is_own(node):
                when = next((each for each in _AROUND if each in node.get("tags", ())), "on-run")
                self._add_hook(found, "project", when, node["raw_code"])
        return found

    def _add_hook(self, found: dict[str, list[Any]], owner: str, when: str, text: str) -> None:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if lines:
            hook = {"when": when, "sql": "\n".join(lines)}
            macros = self._macros.called([text], {})
            found.setdefault(owner, []).append(
                {**hook, "macros": _texts_digest(macros)} if macros else hook
            )

    def macros_of_test(self, node: Mapping[str, Any]) -> str:
        """A digest of the macros outside dbt that a data test runs; empty if it runs dbt's only.

        A macro of the domain replaces one of dbt with the same name: the test itself, such as
        `test_not_null`, or a part of every test, such as `get_where_subquery`.
        """
        about = node.get("test_metadata") or {}
        own = [name for name in self._macros.names if name.startswith("materialization_test_")]
        names = " ".join([*_BEHIND_TESTS, *own])
        texts = [str(node.get("raw_code") or ""), *_strings(about.get("kwargs"))]
        texts += [str((node.get("config") or {}).get("where") or ""), f"{{{{ {names} }}}}"]
        macros = self._macros.called(texts, node)
        return _texts_digest(macros) if macros else ""

    def parts(self, identifiers: Collection[str]) -> dict[str, str]:
        """The parts that `version` is computed from: name of each part -> its digest.

        A part is a file (by its path in the repository), an environment variable, or the version
        of a tool. A file counts as a whole, so it differs even if only a comment changed.

        Args:
            identifiers: unique ids of models, of their ancestors and of their tests.
        """
        decides = self._decides(identifiers)
        nodes = [node for each in identifiers if (node := self.node(each)) and self.is_own(node)]
        macros = [self._macros.own[identifier] for identifier, _ in decides["macros"]]
        files = {path for node in (*nodes, *macros) for path in self._files_of(node)}
        files |= {self._folder / name for name in ("dbt_project.yml", "vars.yml")}
        found = {self._place(path): _digest(path.read_bytes()) for path in files if path.is_file()}
        for name, value in decides["environment"].items():
            found[f"environment variable {name}"] = _digest(str(value).encode())
        for name, number in decides["tools"].items():
            found[f"version of {name}"] = str(number)
        profile = json.dumps(decides["profile"], sort_keys=True, default=str)
        return {**found, "target in profiles/profiles.yml": _digest(profile.encode())}

    def _place(self, path: Path) -> str:
        """A file's path in the repository; the same wherever the platform is installed."""
        path = Path(os.path.normpath(path))
        if path.is_relative_to(PLATFORM_MACROS):
            return f"meshhouse/macros/{path.relative_to(PLATFORM_MACROS)}"
        return os.path.relpath(path, self._root)

    def _files_of(self, node: Mapping[str, Any]) -> list[Path]:
        """The files that declare a node or macro, in this project or in an installed package."""
        folder = self._installed.get(node["package_name"], self._folder)
        written = [node.get("original_file_path"), str(node.get("patch_path")).partition("://")[2]]
        return [folder / path for path in written if path]

    def _decides(self, identifiers: Iterable[str]) -> dict[str, Any]:
        """Everything except data that decides what these nodes hold or promise."""
        nodes = [(each, self.node(each)) for each in sorted(identifiers)]
        parts = [self._part(each, node) for each, node in nodes if node and self.is_own(node)]
        # Names are searched in the texts themselves: as JSON, a line break before `var` is `\nvar`.
        text = "\n".join(_strings([parts, self._operations]))
        macros = self._macros.behind(text, map(self.node, identifiers))
        everything = [text, *macros.values()]
        words = set(re.findall(r"\w+", " ".join(everything)))
        profile = self._profile
        everything += _strings(profile.get("settings"))
        return {
            "nodes": parts,
            "operations": self._operations,
            "macros": sorted(macros.items()),
            "settings": self._project,
            "variables": self._variables if "var" in words else None,
            "environment": environment_named(everything),
            "adapter": self.adapter,
            "profile": profile,
            "tools": dict(tool_versions(self.adapter)),
        }

    def unprovable(self, identifiers: Iterable[str]) -> str:
        """Why rows may change although code and inputs did not; empty if they cannot change."""
        names = frozenset(macro["name"] for macro in self._macros.own.values())
        for identifier in sorted(identifiers):
            node = self.node(identifier)
            if node is None or not self.is_own(node):
                continue
            reason = self._reason(node, names)
            if reason:
                return f"{node['name']} {reason}"
        return ""

    @property
    def adapter(self) -> str:
        """Dbt's name of the adapter that the manifest was made for."""
        return str(self._content.get("metadata", {}).get("adapter_type"))

    def _part(self, identifier: str, node: Mapping[str, Any]) -> dict[str, Any]:
        kind = node["resource_type"]
        keys = _SOURCE_KEYS if kind == "source" else _NODE_KEYS
        part = {"id": identifier, **{key: node.get(key) for key in keys}}
        if kind == "seed":
            # For a seed larger than 1 MiB, dbt's own checksum covers the path only.
            path = Path(node.get("root_path") or self._folder, node["original_file_path"])
            part["content"] = hashlib.sha256(path.read_bytes()).hexdigest()
        return part

    def _reason(self, node: Mapping[str, Any], names: frozenset[str]) -> str:
        config, kind = node.get("config") or {}, node["resource_type"]
        if EVERY_RUN.of(config.get("meta") or {}):
            return f"says config.meta.{EVERY_RUN.name}"
        if kind == "source":
            places = (node.get("external"), (node.get("meta") or {}).get("external_location"),
                      (config.get("meta") or {}).get("external_location"),
                      config.get("external_location"))  # fmt: skip
            return "is a file outside of the mesh" if any(places) else ""
        if kind not in ("model", "snapshot", "function", "seed"):
            return ""
        if node.get("language") == "python":
            return "is written in Python"
        hooks = [text for key in _HOOKS for text in _strings(config.get(key))]
        texts = [str(node.get("raw_code") or ""), *hooks]
        everything = [*texts, *self._macros.called(texts, node)]
        for text in everything:
            for found in hidden_inputs(text, names):
                return f"reads {found.kind} ({found.what})"
        for value in self._values_in(everything):
            for found in hidden_in_value(value):
                return f"reads {found.kind} ({found.what})"
        return ""

    def _values_in(self, texts: Iterable[str]) -> Iterator[str]:
        """Values that `var()` and `env_var()` may put into these templates."""
        texts = list(texts)
        words = {name for text in texts for name in jinja_names(text)}
        if "var" in words:
            yield from _strings(self._variables)
        if "env_var" in words:
            yield from filter(None, environment_named(texts).values())

    @cached_property
    def _installed(self) -> dict[str, Path]:
        """Name of each installed package -> its folder."""
        return {str(settings(path).get("name")): path for path in packages(self._folder)}

    @cached_property
    def _variables(self) -> Mapping[str, Any]:
        return variables(self._folder)

    @cached_property
    def _profile(self) -> Mapping[str, Any]:
        return connection(self._root, self._folder)

    @cached_property
    def _project(self) -> Mapping[str, Any]:
        found = settings(self._folder)
        return {key: found.get(key) for key in _SETTINGS}

    @cached_property
    def _operations(self) -> list[str]:
        """Hooks at the start and end of runs: a model may read what they write."""
        return [
            node["raw_code"]
            for _, node in sorted(self._content["nodes"].items())
            if node["resource_type"] == "operation" and self.is_own(node)
        ]


def _texts_digest(texts: Iterable[str]) -> str:
    return _digest("\0".join(texts).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _strings(value: Any) -> list[str]:
    """Every string in a JSON value, names of members included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for pair in value.items() for each in pair for text in _strings(each)]
    inner = value if isinstance(value, list | tuple) else ()
    return [text for each in inner for text in _strings(each)]
