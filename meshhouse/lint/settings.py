"""Settings of a domain's models, from dbt_project.yml, from their YAML and from their SQL.

Belongs here: reading these three places with dbt's precedence (SQL, then YAML, then
dbt_project.yml). Not here: which settings the mesh allows (features.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes

from meshhouse.repository import DeclarationError, Domain
from meshhouse.repository.yaml import Located, read_yaml

HOOKS = ("pre_hook", "post_hook")
_SETTINGS = (
    "access", "alias", "catalog_name", "database", "full_refresh", "incremental_strategy",
    "materialized", "schema", *HOOKS,
)  # fmt: skip
_CHECKS_SUFFIX = ".checks.yml"
_JINJA = jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=False)  # noqa: S701 - parses only


@dataclass(frozen=True)
class Setting:
    """The value of a setting, and the place that sets it."""

    value: Any
    path: Path
    line: int


@dataclass(frozen=True)
class Model:
    """One model file and its settings."""

    path: Path
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def value(self, name: str) -> Any:
        """The value of a setting; None if it is not set, or if Jinja computes it."""
        found = self.settings.get(name)
        return found.value if found else None


def models_of(domain: Domain) -> list[Model]:
    """Every model of a domain with its settings; a file that cannot be read sets nothing."""
    project_path = domain.path / "dbt_project.yml"
    project = read(project_path)
    folder = domain.path / "models"
    declared = _declared(folder)
    found = []
    for path in sorted((*folder.rglob("*.sql"), *folder.rglob("*.py"))):
        names = [domain.name, *path.relative_to(folder).with_suffix("").parts]
        settings = dict(_cascade(project_path, project.get("models"), names))
        settings |= declared.get(path.stem, {})
        if path.suffix == ".sql":
            settings |= in_sql(path)
        found.append(Model(path, settings))
    return found


def read(path: Path) -> Located:
    """A YAML file; empty if it cannot be read, which other rules report."""
    try:
        return read_yaml(path)
    except DeclarationError:
        return _empty()


def properties(folder: Path) -> Iterator[tuple[Path, Located]]:
    """The YAML files of dbt in a folder and below, with their content."""
    for path in sorted((*folder.rglob("*.yml"), *folder.rglob("*.yaml"))):
        if not path.name.endswith(_CHECKS_SUFFIX):
            yield path, read(path)


def entries(content: Located, section: str) -> Iterator[Located]:
    """The entries that a section of a YAML file lists."""
    listed = content.get(section)
    yield from (
        (each for each in listed if isinstance(each, Located)) if isinstance(listed, list) else ()
    )


def settings_in(path: Path, written: Located) -> dict[str, Setting]:
    """The settings of an entry of a YAML file, in its `config` and beside it."""
    found: dict[str, Setting] = {}
    for place in (written, written.get("config")):
        if isinstance(place, Located):
            for key, value in place.items():
                _note(found, key, Setting(value, path, place.line_of(key)))
    return found


def in_sql(path: Path) -> dict[str, Setting]:
    """The settings that `config(...)` calls in a file make; only constants have a value."""
    try:
        tree = _JINJA.parse(path.read_text(errors="replace"))
    except (OSError, jinja2.TemplateError, RecursionError):
        return {}
    found: dict[str, Setting] = {}
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "config":
            pairs = [(each.key, each.value) for each in call.kwargs]
            for each in filter(None, [*call.args, call.dyn_args, call.dyn_kwargs]):
                if isinstance(each, nodes.Dict):
                    pairs += [(_constant(item.key), item.value) for item in each.items]
                else:
                    # Only dbt knows its content; features.manifest_findings judges the result.
                    found["materialized"] = Setting(None, path, call.lineno)
            for key, value in pairs:
                _note(found, str(key), Setting(_constant(value), path, value.lineno))
    return found


def _constant(node: Any) -> Any:
    try:
        return node.as_const()
    except nodes.Impossible:
        return None


def _declared(folder: Path) -> dict[str, dict[str, Setting]]:
    """Stem of a model's file -> the settings in its YAML."""
    found: dict[str, dict[str, Setting]] = {}
    for path, content in properties(folder):
        for model in entries(content, "models"):
            settings = settings_in(path, model)
            name = str(model.get("name"))
            versions = list(entries(model, "versions"))
            numbers = [each["v"] for each in versions if isinstance(each.get("v"), int)]
            latest = model.get("latest_version") or max(numbers, default=None)
            for version in versions:
                stem = str(version.get("defined_in") or f"{name}_v{version.get('v')}")
                found[stem] = {**settings, **settings_in(path, version)}
                if version.get("v") == latest:
                    # The file of the latest version may have no number.
                    found.setdefault(name, found[stem])
            if not versions:
                found[name] = settings
    return found


def _cascade(path: Path, written: Any, names: list[str]) -> Iterator[tuple[str, Setting]]:
    """The settings of dbt_project.yml for a model, those of the outermost folder first."""
    for name in [*names, None]:
        if not isinstance(written, Located):
            return
        found: dict[str, Setting] = {}
        for key, value in written.items():
            if key.startswith("+") or not isinstance(value, Located):
                _note(found, key.removeprefix("+"), Setting(value, path, written.line_of(key)))
        yield from found.items()
        written = written.get(name) if name is not None else None


def _note(found: dict[str, Setting], key: str, setting: Setting) -> None:
    key = key.replace("-", "_")
    if key in _SETTINGS:
        found[key] = Setting(
            None if _is_jinja(setting.value) and key not in HOOKS else setting.value,
            setting.path,
            setting.line,
        )


def _is_jinja(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _empty() -> Located:
    return Located()
