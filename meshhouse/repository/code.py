"""The code of a product: everything beside data that decides its rows and its promises.

Belongs here: which nodes, macros, seeds, variables and tools of dbt's manifest count, and
what no digest can cover. Not here: reading the manifest (manifest.py), or how a read of
the clock is found in a text (hidden.py).

What dbt renders is decided by more than the text of a model. Each part of that counts by
its content where it can be had; where it cannot, the product is built in every run.
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
from meshhouse.repository.project import (
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
_SOURCE_KEYS = ("identifier", "external")
_SETTINGS = ("dispatch", "flags", "quoting", "query-comment")
"""Keys of dbt_project.yml that no node repeats and that decide what is rendered."""
_HOOKS = ("pre-hook", "post-hook", "sql_header", "incremental_predicates")

EVERY_RUN = "every_run"
"""Key of a model's `config.meta`: build it in every run, whatever is known."""

_SCHEME = "2"
"""How versions are computed. Raise it with any change of `Code.version`: versions of different
schemes say nothing about each other, and those of the first one have no mark."""


def scheme(version: str) -> str:
    """The way in which a code version was computed; only versions of one way can be compared."""
    return version.rpartition(":")[0]


class Code:
    """What a manifest and its project say about the code of nodes."""

    def __init__(
        self, content: Mapping[str, Any], root: Path, folder: Path, others: Collection[str]
    ) -> None:
        """Of the project in `folder`; `others` are the names of the mesh's other domains."""
        self._content = content
        self._root = root
        self._folder = folder
        self._others = frozenset(others)

    def node(self, identifier: str) -> Mapping[str, Any] | None:
        """A model, seed, snapshot, test, function or source by dbt's unique id."""
        for kind in ("nodes", "sources", "unit_tests", "functions"):
            if identifier in self._content.get(kind, {}):
                return self._content[kind][identifier]
        return None

    def is_own(self, node: Mapping[str, Any]) -> bool:
        """Whether this project builds a node: it is the project's, or of an installed package."""
        return node["package_name"] not in self._others

    def version(self, identifiers: Iterable[str], more: Iterable[str] = ()) -> str:
        """A digest of all that decides what these nodes hold or promise, but data.

        Args:
            identifiers: unique ids of models and all they are made of, and of their tests.
            more: texts that count as well.
        """
        digest = json.dumps(
            {**self._decides(identifiers), "more": list(more)}, sort_keys=True, default=str
        )
        return f"{_SCHEME}:{hashlib.sha256(digest.encode()).hexdigest()[:16]}"

    def parts(self, identifiers: Collection[str]) -> dict[str, str]:
        """Where people find what `version` is computed from: name of each part -> its digest.

        A part is a file, by its path in the repository, an environment variable, or the version of
        a tool. A file is compared as a whole, so it may differ where only a comment does.

        Args:
            identifiers: unique ids of models and all they are made of, and of their tests.
        """
        decides = self._decides(identifiers)
        nodes = [node for each in identifiers if (node := self.node(each)) and self.is_own(node)]
        macros = [self._macros[identifier] for identifier, _ in decides["macros"]]
        files = {path for node in (*nodes, *macros) for path in self._files_of(node)}
        files |= {self._folder / name for name in ("dbt_project.yml", "vars.yml")}
        found = {
            os.path.relpath(path, self._root): _digest(path.read_bytes())
            for path in files
            if path.is_file()
        }
        for name, value in decides["environment"].items():
            found[f"environment variable {name}"] = _digest(str(value).encode())
        for name, number in decides["tools"].items():
            found[f"version of {name}"] = str(number)
        profile = json.dumps(decides["profile"], sort_keys=True, default=str)
        return {**found, "target in profiles/profiles.yml": _digest(profile.encode())}

    def _files_of(self, node: Mapping[str, Any]) -> list[Path]:
        """The files that say what a node or macro is, of this project or of a package in it."""
        folder = self._installed.get(node["package_name"], self._folder)
        written = [node.get("original_file_path"), str(node.get("patch_path")).partition("://")[2]]
        return [folder / path for path in written if path]

    def _decides(self, identifiers: Iterable[str]) -> dict[str, Any]:
        """All that decides what these nodes hold or promise, but data."""
        nodes = [(each, self.node(each)) for each in sorted(identifiers)]
        parts = [self._part(each, node) for each, node in nodes if node and self.is_own(node)]
        text = json.dumps([parts, self._operations], default=str)
        macros = self._macros_behind(text, identifiers)
        everything = [text, *macros.values()]
        words = set(re.findall(r"\w+", " ".join(everything)))
        profile = self._profile
        everything.append(json.dumps(profile.get("settings")))
        return {
            "nodes": parts,
            "operations": self._operations,
            "macros": sorted(macros.items()),
            "settings": self._project,
            "variables": self._variables if "var" in words else None,
            # Within JSON, a quotation mark is written with a backslash.
            "environment": environment_named(each.replace('\\"', '"') for each in everything),
            "adapter": self.adapter,
            "profile": profile,
            "tools": dict(tool_versions(self.adapter)),
        }

    def unprovable(self, identifiers: Iterable[str]) -> str:
        """Why rows of these models may change while code and inputs stand; empty if they cannot."""
        names = frozenset(macro["name"] for macro in self._macros.values())
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
            # dbt's own checksum is of the path alone where a seed is larger than 1 MiB.
            path = Path(node.get("root_path") or self._folder, node["original_file_path"])
            part["content"] = hashlib.sha256(path.read_bytes()).hexdigest()
        return part

    def _reason(self, node: Mapping[str, Any], names: frozenset[str]) -> str:
        config, kind = node.get("config") or {}, node["resource_type"]
        if (config.get("meta") or {}).get(EVERY_RUN):
            return f"says config.meta.{EVERY_RUN}"
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
        everything = [*texts, *self._macros_called(texts, node)]
        for text in everything:
            for found in hidden_inputs(text, names):
                return f"reads {found.kind} ({found.what})"
        for value in self._values_in(everything):
            for found in hidden_in_value(value):
                return f"reads {found.kind} ({found.what})"
        return ""

    def _values_in(self, texts: Iterable[str]) -> Iterator[str]:
        """Texts that `var()` and `env_var()` may put into templates."""
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
        """Hooks around runs: what they do may be what a model reads."""
        return [
            node["raw_code"]
            for _, node in sorted(self._content["nodes"].items())
            if node["resource_type"] == "operation" and self.is_own(node)
        ]

    @cached_property
    def _internal(self) -> set[str]:
        """Packages that come with dbt and its adapter, which their versions stand for."""
        return {"dbt", f"dbt_{self.adapter}"}

    @cached_property
    def _macros(self) -> dict[str, dict[str, Any]]:
        """Macros of the project and of installed packages, by unique id."""
        every = self._content["macros"]
        return {key: each for key, each in every.items()
                if each["package_name"] not in self._internal}  # fmt: skip

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Name -> unique ids; what `adapter.dispatch('name')` may choose is `<adapter>__name`."""
        found: dict[str, list[str]] = {}
        for identifier, macro in self._macros.items():
            for name in {macro["name"], macro["name"].rpartition("__")[2]}:
                found.setdefault(name, []).append(identifier)
        return found

    @cached_property
    def _overriding(self) -> list[str]:
        """Macros that dbt takes in place of those that come with it, though no text names them."""
        internal = {
            macro["name"]
            for macro in self._content["macros"].values()
            if macro["package_name"] in self._internal
        }
        return [
            identifier
            for identifier, macro in self._macros.items()
            if macro["name"].startswith("materialization_")
            or {macro["name"], macro["name"].rpartition("__")[2]} & internal
        ]

    def _macros_behind(self, text: str, identifiers: Iterable[str]) -> dict[str, str]:
        """Unique id -> SQL of the macros that may take part in rendering a text.

        By every name that it mentions, and not only by what dbt noted as used: that depends
        on the branch a model took, and `is_incremental()` takes another one on the second day.
        """
        found: dict[str, str] = {}
        noted = [each for key in identifiers for each in self._noted(self.node(key))]
        waiting = [*self._overriding, *noted, *self._named(re.findall(r"\w+", text))]
        while waiting:
            identifier = waiting.pop()
            macro = self._macros.get(identifier)
            if macro is None or identifier in found:
                continue
            found[identifier] = macro["macro_sql"]
            waiting += self._noted(macro)
            waiting += self._named(re.findall(r"\w+", macro["macro_sql"]))
        return found

    def _macros_called(self, texts: Iterable[str], node: Mapping[str, Any]) -> list[str]:
        """SQL of the macros that the Jinja of some texts calls, and of those that these call."""
        found: dict[str, str] = {}
        waiting = [*self._noted(node), *(each for text in texts for each in self._called(text))]
        while waiting:
            identifier = waiting.pop()
            macro = self._macros.get(identifier)
            if macro is None or identifier in found:
                continue
            found[identifier] = macro["macro_sql"]
            waiting += [*self._noted(macro), *self._called(macro["macro_sql"])]
        return [found[each] for each in sorted(found)]

    def _noted(self, node: Mapping[str, Any] | None) -> list[str]:
        """Macros that dbt noted as used."""
        return list((node or {}).get("depends_on", {}).get("macros", ()))

    def _named(self, words: Iterable[str]) -> list[str]:
        return [each for word in set(words) for each in self._by_name.get(word, ())]

    def _called(self, text: str) -> list[str]:
        return self._named(jinja_names(text))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _strings(value: Any) -> list[str]:
    """Every string in a value of JSON."""
    if isinstance(value, str):
        return [value]
    inner = (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    )
    return [text for each in inner for text in _strings(each)]
