"""dbt_project.yml of a domain, made from the one of a dbt project.

Belongs here: which settings stay, under which name, and which the mesh decides. Not here: settings
in YAML and SQL of models (properties.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from meshhouse.repository.foreign.project import FOLDERS, ForeignProject

_KEPT = ("description", "version", "require-dbt-version", "query-comment", "dispatch")
_TREES = (
    "models", "seeds", "snapshots", "tests", "data_tests", "unit_tests", "sources", "exposures",
    "metrics", "semantic-models", "saved-queries", "functions",
)  # fmt: skip
PLACES = ("schema", "database", "target_schema", "target_database")
"""Settings that say where a table is built, which the mesh decides."""
_FLAGS = {
    "send_anonymous_usage_stats": False,
    "require_ref_searches_node_package_before_root": True,
}
_DECIDED = (("full_refresh", False), ("access", "public"))
"""Settings of folders that the mesh refuses, or that the YAML of each product has."""
_HOOKS = ("on-run-start", "on-run-end")
_REPLACED = {
    "name", "profile", "vars", "flags", "config-version", "target-path", "log-path",
    "clean-targets",
    "packages-install-path", "modules-path", "docs-paths", "asset-paths", "quoting",
    *(key for keys, _ in FOLDERS.values() for key in keys),
}  # fmt: skip
"""Settings that have another value in a domain, which has its own folders and tables."""


def domain_settings(
    project: ForeignProject, domain: str, seeds_read: Collection[str]
) -> dict[str, Any]:
    """The content of the domain's dbt_project.yml.

    Args:
        project: as it was found.
        domain: the domain's name.
        seeds_read: seeds that stand for tables of sources, and so must be enabled.
    """
    old = _plain(project.settings)
    new: dict[str, Any] = {"name": domain, "profile": "meshhouse"}
    new |= {key: old[key] for key in _KEPT if key in old}
    if isinstance(new.get("dispatch"), list):
        new["dispatch"] = [_dispatch(each, project.name, domain) for each in new["dispatch"]]
    flags = old.get("flags")
    new["flags"] = {**(flags if isinstance(flags, dict) else {}), **_FLAGS}
    if variables := old.get("vars"):
        new["vars"] = _renamed(variables, project.name, domain)
    for tree in _TREES:
        if isinstance(old.get(tree), dict):
            new[tree] = _renamed(_without_places(old[tree]), project.name, domain)
    if seeds_read and isinstance(new.get("seeds"), dict):
        new["seeds"] = _enabled(new["seeds"])
    return {key: value for key, value in new.items() if value not in ({}, None)}


def dropped_settings(project: ForeignProject) -> Iterator[str]:
    """A decision for each setting that is gone although it did something."""
    for name in _HOOKS:
        if project.settings.get(name):
            yield (
                f"`{name}` of dbt_project.yml was left out: what it writes is neither audited nor "
                "undone. Move what is needed to a `pre_hook` or `post_hook` of a model."
            )
    known = {*_HOOKS, *_KEPT, *_TREES, *_REPLACED}
    if others := [str(each) for each in project.settings if each not in known]:
        names = ", ".join(f"`{each}`" for each in others)
        yield f"{names} of dbt_project.yml did not stay. Does a model need what was set there?"


def _dispatch(entry: Any, old: str, new: str) -> Any:
    if not isinstance(entry, dict) or not isinstance(entry.get("search_order"), list):
        return entry
    order = [new if each == old else each for each in entry["search_order"]]
    namespace = entry.get("macro_namespace")
    return {**entry, "macro_namespace": new if namespace == old else namespace,
            "search_order": order}  # fmt: skip


def _renamed(tree: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    return {(new if key == old else key): value for key, value in tree.items()}


def _without_places(tree: Any) -> Any:
    """Settings of folders, without those that the mesh decides; a folder may have such a name."""
    if not isinstance(tree, dict):
        return tree
    kept = {}
    for key, value in tree.items():
        name = key.removeprefix("+").replace("-", "_")
        is_setting = key.startswith("+") or not isinstance(value, dict)
        if is_setting and (name in PLACES or (name, value) in _DECIDED):
            continue
        inner = _without_places(value)
        if inner == {} and value != {}:
            continue
        kept[key] = inner
    return kept


def _enabled(tree: Any) -> Any:
    """The settings of seeds without `enabled`: a source reads them."""
    if not isinstance(tree, dict):
        return tree
    kept = {
        key: _enabled(value)
        for key, value in tree.items()
        if key.removeprefix("+") != "enabled" or isinstance(value, dict)
    }
    return {key: value for key, value in kept.items() if value != {}}


def _plain(value: Any) -> Any:
    """Plain mappings and lists instead of those that know their lines."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
