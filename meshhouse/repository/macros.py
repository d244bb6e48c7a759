"""The macros that take part in rendering a text of dbt.

Belongs here: macros of the project and of installed packages, and which of them a text may use. Not
here: what follows for a code version (code.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from meshhouse.repository.hidden import jinja_names


def internal_packages(adapter: object) -> set[str]:
    """Packages that come with dbt and its adapter; the versions of these tools cover them."""
    return {"dbt", f"dbt_{adapter}"}


class Macros:
    """The macros of one manifest, without those that come with dbt."""

    def __init__(self, every: Mapping[str, Mapping[str, Any]], adapter: str) -> None:
        """Takes the macros of a manifest by unique id, and dbt's name of the adapter."""
        self._every = every
        self._internal = internal_packages(adapter)

    @cached_property
    def own(self) -> Mapping[str, Mapping[str, Any]]:
        """Macros of the project and of installed packages, by unique id."""
        return {key: each for key, each in self._every.items()
                if each["package_name"] not in self._internal}  # fmt: skip

    @property
    def names(self) -> Iterable[str]:
        """Every name by which a text may call one of them."""
        return self._by_name

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Name -> unique ids. `adapter.dispatch('name')` may also choose `<adapter>__name`."""
        found: dict[str, list[str]] = {}
        for identifier, macro in self.own.items():
            for name in {macro["name"], macro["name"].rpartition("__")[2]}:
                found.setdefault(name, []).append(identifier)
        return found

    @cached_property
    def _overriding(self) -> list[str]:
        """Macros that replace one of dbt's own, although no text names them."""
        internal = {
            macro["name"]
            for macro in self._every.values()
            if macro["package_name"] in self._internal
        }
        return [
            identifier
            for identifier, macro in self.own.items()
            if macro["name"].startswith("materialization_")
            or {macro["name"], macro["name"].rpartition("__")[2]} & internal
        ]

    def behind(self, text: str, nodes: Iterable[Mapping[str, Any] | None]) -> dict[str, str]:
        """Unique id -> SQL of the macros that may take part in rendering a text.

        Every macro whose name the text mentions counts. dbt notes only the macros of the branch
        that a model took, and `is_incremental()` takes the other branch on the second day.

        Args:
            text: a template.
            nodes: whose macros count as well, as dbt noted them.
        """
        found: dict[str, str] = {}
        noted = [each for node in nodes for each in self._noted(node)]
        waiting = [*self._overriding, *noted, *self._named(re.findall(r"\w+", text))]
        while waiting:
            identifier = waiting.pop()
            macro = self.own.get(identifier)
            if macro is None or identifier in found:
                continue
            found[identifier] = macro["macro_sql"]
            waiting += self._noted(macro)
            waiting += self._named(re.findall(r"\w+", macro["macro_sql"]))
        return found

    def called(self, texts: Iterable[str], node: Mapping[str, Any]) -> list[str]:
        """SQL of the macros that the Jinja of these texts calls, directly or indirectly."""
        found: dict[str, str] = {}
        waiting = [*self._noted(node), *(each for text in texts for each in self._called(text))]
        while waiting:
            identifier = waiting.pop()
            macro = self.own.get(identifier)
            if macro is None or identifier in found:
                continue
            found[identifier] = macro["macro_sql"]
            waiting += [*self._noted(macro), *self._called(macro["macro_sql"])]
        return [found[each] for each in sorted(found)]

    def _noted(self, node: Mapping[str, Any] | None) -> list[str]:
        """Macros that a node or macro uses, according to dbt."""
        return list((node or {}).get("depends_on", {}).get("macros", ()))

    def _named(self, words: Iterable[str]) -> list[str]:
        return [each for word in set(words) for each in self._by_name.get(word, ())]

    def _called(self, text: str) -> list[str]:
        return self._named(jinja_names(text))
