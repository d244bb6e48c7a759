"""YAML and SQL files of a project, without what the mesh decides.

Belongs here: places of tables, types of an adapter, sources. Not here: products (products.py), or
dbt_project.yml (settings.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from meshhouse.repository.foreign.edit import (
    loaded,
    with_entries,
    with_setting_removed,
    without_settings,
)
from meshhouse.repository.foreign.settings import PLACES
from meshhouse.repository.foreign.types import mesh_type

_SECTIONS = ("models", "seeds", "snapshots")
_COLUMN_TYPES = "column_types"
_PUBLIC_IN_PYTHON = re.compile(
    r"""(?P<before>\bdbt\.config\((?:[^()]*[\s,])?)access\s*=\s*(['"])public\2\s*,?\s*"""
)


def cleaned_yaml(text: str, adapter: str) -> str:
    """A YAML file of dbt whose models, seeds and snapshots say no place and only known types."""
    for section in _SECTIONS:
        entries = loaded(text).get(section)
        if isinstance(entries, list):
            new = {
                str(each.get("name")): _cleaned(each, adapter)
                for each in entries
                if isinstance(each, dict)
            }
            changed = {
                name: each
                for name, each in new.items()
                if any(old.get("name") == name and old != each for old in entries)
            }
            if changed:
                text = with_entries(text, section, changed)
    return text


def without_sources(text: str) -> tuple[str, list[Mapping[str, Any]]]:
    """A YAML file without its sources, and their entries."""
    entries = loaded(text).get("sources")
    if not isinstance(entries, list):
        return text, []
    found = [each for each in entries if isinstance(each, dict)]
    return with_entries(text, "sources", {str(each.get("name")): None for each in found}), found


def cleaned_sql(text: str) -> str:
    """SQL whose `config()` says neither a place nor that the model is public."""
    return without_settings(with_setting_removed(text, "access", "public"), PLACES)


def cleaned_python(text: str) -> str:
    """A Python model whose `dbt.config()` does not say that it is public."""
    return _PUBLIC_IN_PYTHON.sub(r"\g<before>", text)


def is_public_in_python(text: str) -> bool:
    """Whether the `dbt.config()` of a model calls it public."""
    return _PUBLIC_IN_PYTHON.search(text) is not None


def access_in_yaml(text: str) -> dict[str, bool]:
    """Model -> whether it is public, for the models of a YAML file that say their access."""
    entries = loaded(text).get("models")
    models = [each for each in (entries if isinstance(entries, list) else [])
              if isinstance(each, dict)]  # fmt: skip
    return {str(each.get("name")): "public" in said for each in models if (said := _access(each))}


def is_public_in_sql(text: str) -> bool:
    """Whether the `config()` of a model calls it public."""
    return with_setting_removed(text, "access", "public") != text


def _access(entry: Mapping[str, Any]) -> set[str]:
    """What an entry and its versions say about access."""
    config = entry.get("config")
    places = [entry, config if isinstance(config, dict) else {}]
    said = {str(each["access"]) for each in places if each.get("access")}
    versions = [each for each in entry.get("versions") or [] if isinstance(each, dict)]
    return said.union(*map(_access, versions))


def _cleaned(entry: Mapping[str, Any], adapter: str) -> dict[str, Any]:
    kept = {key: value for key, value in entry.items() if _stays(key, value)}
    if isinstance(kept.get("versions"), list):
        kept["versions"] = [
            _cleaned(each, adapter) if isinstance(each, dict) else each for each in kept["versions"]
        ]
    if isinstance(kept.get("config"), dict):
        config = {
            key: value
            for key, value in kept["config"].items()
            if _stays(key.removeprefix("+"), value)
        }
        if config.get("full_refresh") is False:
            del config["full_refresh"]
        if isinstance(config.get(_COLUMN_TYPES), dict):
            config[_COLUMN_TYPES] = {
                name: mesh_type(str(kind), adapter) or kind
                for name, kind in config[_COLUMN_TYPES].items()
            }
        kept["config"] = config
        if not config and entry["config"]:
            del kept["config"]
    if isinstance(kept.get("columns"), list):
        kept["columns"] = [_typed(each, adapter) for each in kept["columns"]]
    return kept


def _stays(key: str, value: Any) -> bool:
    """Whether a setting stays before it is known which models become products."""
    return key not in PLACES and (key, value) != ("access", "public")


def _typed(column: Any, adapter: str) -> Any:
    if not isinstance(column, dict) or not isinstance(column.get("data_type"), str):
        return column
    return {**column, "data_type": mesh_type(column["data_type"], adapter) or column["data_type"]}
