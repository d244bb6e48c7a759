"""Which features of dbt a domain may use; docs/reference.md lists them all.

Belongs here: features that would publish something else than what is declared, or write where
no publication protects readers. Not here: reading what is set (settings.py), or what else is
wrong with a declaration (rules.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from meshhouse.checks.finding import Finding
from meshhouse.checks.settings import (
    HOOKS,
    Model,
    Setting,
    entries,
    models_of,
    properties,
    read,
    settings_in,
)
from meshhouse.engines import SNAPSHOTS_NEED_LOCAL
from meshhouse.engines.dialects import dialect_in_use
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.environment import split_schema
from meshhouse.repository.manifest import Manifest

_TABLES = ("table", "incremental")
_BUILT_INSIDE = (*_TABLES, "view", "ephemeral")
_MAKE_A_TABLE = "Set `materialized` to table or incremental."


def feature_findings(repository: Repository, domain: Domain) -> list[Finding]:
    """A finding for each feature that cannot be used, from the files alone."""
    products = {each.sql_path.with_suffix(""): each for each in domain.products}
    findings: list[Finding] = []
    for model in models_of(domain):
        product = products.get(model.path.with_suffix(""))
        if product is not None:
            findings += _product(product, model)
        elif setting := _is(model, "access", "public"):
            findings.append(_undeclared(domain, model, setting))
        for rule in (_materialized, _place, _full_refresh, _microbatch, _hooks):
            findings += rule(model)
    for domain_rule in (_project_hooks, _macros, _seeds, _snapshots):
        findings += domain_rule(repository, domain)
    return findings


def manifest_findings(domain: Domain, manifest: Manifest) -> list[Finding]:
    """Where dbt's own reading of a domain differs from what is declared.

    Jinja may set anything, and only dbt renders it. A product that dbt does not know is disabled.
    """
    declared = {manifest.model_id(each): each for each in domain.products}
    findings: list[Finding] = []
    for node in manifest.own_models():
        path = domain.path / node["original_file_path"]
        product = declared.get(node["unique_id"])
        problem = _misbuilt(domain, node, product)
        if problem:
            findings.append(Finding(path, 1, *problem))
    return findings


def _misbuilt(
    domain: Domain, node: dict[str, Any], product: Product | None
) -> tuple[str, str] | None:
    """Problem and remedy of a model as dbt understands it."""
    if split_schema(node["schema"])[1] != domain.build_schema:
        return (
            f"dbt builds `{node['name']}` in the schema `{node['schema']}`.",
            f"Everything must be built in `{domain.build_schema}`, as the mesh's own macro "
            "generate_schema_name says.",
        )
    if product is None:
        public = node["resource_type"] == "model" and node.get("access") == "public"
        return (f"`{node['name']}` is public for dbt only.", _DECLARE_ACCESS) if public else None
    found = (node.get("language"), node["config"]["materialized"], node["alias"])
    if found[0] == "sql" and found[1] in _TABLES and found[2] == product.build_name:
        return None
    return (
        f"dbt builds {product.relation} as `{found[1]}` in {found[0]}, called `{found[2]}`.",
        f"It must be a table or incremental, in SQL, called `{product.build_name}`.",
    )


def _is(model: Model, name: str, *values: Any) -> Setting | None:
    found = model.settings.get(name)
    return found if found is not None and found.value in values else None


def _product(product: Product, model: Model) -> Iterator[Finding]:
    if model.path.suffix == ".py":
        yield Finding(
            model.path,
            1,
            f"product {product.relation} is a Python model, whose columns cannot be checked.",
            "Keep the Python in a private model and select its columns in a product in SQL.",
        )
    built_as = model.settings.get("materialized")
    if built_as is None:
        yield Finding(
            model.path,
            1,
            f"product {product.relation} is built as a view, which is dbt's default; only a table "
            "can be published.",
            _MAKE_A_TABLE,
        )
    elif built_as.value in ("view", "ephemeral"):
        yield Finding(
            built_as.path,
            built_as.line,
            f"product {product.relation} is built as `{built_as.value}`; only a table can be "
            "published.",
            _MAKE_A_TABLE,
        )
    if alias := model.settings.get("alias"):
        yield Finding(
            alias.path,
            alias.line,
            f"product {product.relation} has an alias, and a product is called like its model.",
            "Remove the alias; to rename the product, rename its model.",
        )


_DECLARE_ACCESS = (
    "Set `access: public` in the model's own YAML, beside its SQL, with all that a product needs."
)


def _undeclared(domain: Domain, model: Model, setting: Setting) -> Finding:
    return Finding(
        setting.path,
        setting.line,
        f"`{model.path.stem}` of {domain.name} is public here, but its YAML does not say so: the "
        "mesh would not publish it.",
        _DECLARE_ACCESS,
    )


def _materialized(model: Model) -> Iterator[Finding]:
    built_as = model.settings.get("materialized")
    if built_as is not None and built_as.value not in (None, *_BUILT_INSIDE):
        yield Finding(
            built_as.path,
            built_as.line,
            f"`{model.path.stem}` is materialized as `{built_as.value}`, which is not kept in the "
            "domain's build.",
            f"Use one of {', '.join(_BUILT_INSIDE)}.",
        )


def _place(model: Model) -> Iterator[Finding]:
    for name in ("schema", "database"):
        if setting := model.settings.get(name):
            yield _misplaced(setting, name, model.path.stem)


def _misplaced(setting: Setting, name: str, model: str) -> Finding:
    return Finding(
        setting.path,
        setting.line,
        f"`{name}` of `{model}`: everything that a domain builds is in its own private schema.",
        f"Remove `{name}`.",
    )


def _full_refresh(model: Model) -> Iterator[Finding]:
    if setting := _is(model, "full_refresh", False):
        yield Finding(
            setting.path,
            setting.line,
            f"`full_refresh: false` keeps rows of `{model.path.stem}` that older code has made, "
            "and they would be published as made by the present code.",
            "Remove it: a run builds from nothing only when code or declarations changed.",
        )


def _microbatch(model: Model) -> Iterator[Finding]:
    if setting := _is(model, "incremental_strategy", "microbatch"):
        yield Finding(
            setting.path,
            setting.line,
            f"microbatch leaves out rows of `{model.path.stem}` that land later than its lookback, "
            "and it reads the clock.",
            "Use another strategy with landed_since_last_build(), which misses no late row.",
        )


_WRITES = re.compile(
    r"\b(alter|attach|call|copy|create|delete|drop|execute|export|grant|insert|install|load|merge|"
    r"put|replace|revoke|truncate|update|use|vacuum)\b",
    re.IGNORECASE,
)
_JINJA_WITH_THIS = re.compile(r"\{\{[^}]*\bthis\b[^}]*\}\}")
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


def _hooks(model: Model) -> Iterator[Finding]:
    for name in HOOKS:
        setting = model.settings.get(name)
        for text in _texts(setting.value) if setting else ():
            for statement in text.split(";"):
                writes = _WRITES.search(_JINJA.sub(" ", statement))
                if setting and writes and not _JINJA_WITH_THIS.search(statement):
                    yield Finding(
                        setting.path,
                        setting.line,
                        f"`{name}` of `{model.path.stem}` has a statement ({writes[0].lower()}) "
                        "that does not name {{ this }}: what it writes elsewhere is neither "
                        "audited nor taken back.",
                        "Write to {{ this }} only, and make a model of anything else.",
                    )


def _texts(hook: Any) -> list[str]:
    if isinstance(hook, list):
        return [text for each in hook for text in _texts(each)]
    if isinstance(hook, dict):
        return _texts(hook.get("sql"))
    return [hook] if isinstance(hook, str) else []


def _project_hooks(repository: Repository, domain: Domain) -> Iterator[Finding]:
    path = domain.path / "dbt_project.yml"
    project = read(path)
    for name in ("on-run-start", "on-run-end"):
        if project.get(name):
            yield Finding(
                path,
                project.line_of(name),
                f"`{name}` runs beside the models of {domain.name}: what it writes is neither "
                "audited nor taken back, and a change of it rebuilds nothing.",
                "Use `pre_hook` or `post_hook` of the model that needs it.",
            )


_OURS = ("generate_schema_name", "generate_alias_name", "generate_database_name", "ref", "source")
_MACRO = re.compile(
    r"\{%-?\s*macro\s+(?:(?:default|duckdb|spark|snowflake)__)?(" + "|".join(_OURS) + r")\s*\("
)


def _macros(repository: Repository, domain: Domain) -> Iterator[Finding]:
    folder = domain.path / "macros"
    for path in sorted(folder.rglob("*.sql")):
        text = path.read_text(errors="replace")
        for match in _MACRO.finditer(text):
            # The mesh's own; that dbt builds where it says is seen by every run.
            if folder == repository.root / "macros" and match[1] == "generate_schema_name":
                continue
            yield Finding(
                path,
                text.count("\n", 0, match.start()) + 1,
                f"the macro `{match[1]}` decides where things are built and read, which the mesh "
                f"must know of {domain.name}.",
                "Remove it; the mesh's own names everything.",
            )


def _seeds(repository: Repository, domain: Domain) -> Iterator[Finding]:
    for folder in ("models", "seeds"):
        for path, content in properties(domain.path / folder):
            for seed in entries(content, "seeds"):
                settings = settings_in(path, seed)
                name = str(seed.get("name"))
                if "access" in settings:
                    yield Finding(
                        path,
                        settings["access"].line,
                        f"the seed `{name}` has an `access`, but only a model can be a product.",
                        f"Select from ref('{name}') in a model and make that public.",
                    )
                for key in ("schema", "database"):
                    if key in settings:
                        yield _misplaced(settings[key], key, name)


_SNAPSHOT = re.compile(r"\{%-?\s*snapshot\s+(\w+)")
_SNAPSHOT_PLACES = ("schema", "database", "target_schema", "target_database")
_TARGET_SETTING = re.compile(r"\b(target_schema|target_database)\s*=")


def _snapshots(repository: Repository, domain: Domain) -> Iterator[Finding]:
    for folder in ("models", "snapshots"):
        for path, content in properties(domain.path / folder):
            for snapshot in entries(content, "snapshots"):
                name = str(snapshot.get("name"))
                yield from _snapshot(Setting(name, path, snapshot.line))
                for place in (snapshot, snapshot.get("config") or snapshot):
                    for key in _SNAPSHOT_PLACES:
                        if key in place:
                            yield _misplaced(Setting(None, path, place.line_of(key)), key, name)
        for path in sorted((domain.path / folder).rglob("*.sql")):
            text = path.read_text(errors="replace")
            for match in _SNAPSHOT.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                yield from _snapshot(Setting(match[1], path, line))
                for place in _TARGET_SETTING.finditer(text):
                    line = text.count("\n", 0, place.start()) + 1
                    yield _misplaced(Setting(None, path, line), place[1], match[1])


def _snapshot(setting: Setting) -> Iterator[Finding]:
    if dialect_in_use().target != "local":
        yield Finding(
            setting.path,
            setting.line,
            f"the snapshot `{setting.value}`: {SNAPSHOTS_NEED_LOCAL}",
            "Run this domain with MESH_TARGET=local, or read the history from a topic.",
        )
