"""Which features of dbt a domain may use; docs/reference.md lists them all.

Belongs here: refusing features that would publish something other than the declaration, or
write to tables that publication does not protect. Not here: reading settings (settings.py),
or other mistakes in a declaration (rules.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meshhouse.engines.dbt_snapshots import SNAPSHOTS_NEED_LOCAL
from meshhouse.lint.finding import Finding
from meshhouse.lint.hooks import hook_findings
from meshhouse.lint.settings import (
    Model,
    Setting,
    entries,
    models_of,
    properties,
    read,
    settings_in,
)
from meshhouse.lint.sql.dialects import dialect, dialect_in_use
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.environment import split_schema
from meshhouse.repository.manifest import Manifest
from meshhouse.repository.yaml import Located

_TABLES = ("table", "incremental")
_BUILT_INSIDE = (*_TABLES, "view", "ephemeral")
_MAKE_A_TABLE = "Set `materialized` to table or incremental."


def feature_findings(repository: Repository, domain: Domain) -> list[Finding]:
    """A finding for each forbidden feature that the files of a domain use."""
    products = {each.sql_path.with_suffix(""): each for each in domain.products}
    findings: list[Finding] = []
    for model in models_of(domain):
        product = products.get(model.path.with_suffix(""))
        if product is not None:
            findings += _product(product, model)
        elif setting := _is(model, "access", "public"):
            findings.append(_undeclared(domain, model, setting))
        for rule in (_materialized, _place, _full_refresh, _microbatch, hook_findings):
            findings += rule(model)
    for domain_rule in (_project_hooks, _macros, _seeds, _snapshots):
        findings += domain_rule(repository, domain)
    findings += target_findings(domain, dialect_in_use().target)
    # A setting in dbt_project.yml affects many models, but is one mistake: report it once.
    return list({(each.path, each.line, each.remedy): each for each in reversed(findings)}.values())


def target_findings(domain: Domain, target: str) -> Iterator[Finding]:
    """A finding for each feature in use that a target does not support."""
    if dialect(target).has_every_feature:
        return
    for name, path, line in _declared_snapshots(domain):
        yield Finding(
            path,
            line,
            f"the snapshot `{name}`: {SNAPSHOTS_NEED_LOCAL}",
            "Run this domain with MESH_TARGET=local, or read the history from a topic.",
        )
    for path in sorted((domain.path / "models").rglob("*.py")):
        yield Finding(
            path,
            1,
            f"the Python model `{path.stem}` runs on target `local` only.",
            "Write it in SQL, or run this domain with MESH_TARGET=local.",
        )


def manifest_findings(domain: Domain, manifest: Manifest) -> list[Finding]:
    """A finding for each difference between dbt's manifest and the declarations.

    Jinja may set anything, and only dbt renders it. A product that is missing in the manifest is
    disabled.
    """
    declared = {manifest.model_id(each): each for each in domain.products}
    findings: list[Finding] = []
    taken = {each for product in domain.products for each in manifest.ancestors(product)}
    for node in manifest.own_models():
        path = domain.path / node["original_file_path"]
        if node["resource_type"] == "snapshot" and node["unique_id"] not in taken:
            findings.append(Finding(path, 1, *_not_taken(node["name"])))
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
            f"Everything must be built in `{domain.build_schema}`; the mesh's macro "
            "generate_schema_name sets that schema.",
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
    if built_as is not None and built_as.value in ("view", "ephemeral"):
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
            f"product {product.relation} has an alias, but a product must have its model's name.",
            "Remove the alias; to rename the product, rename its model.",
        )


_DECLARE_ACCESS = (
    "Set `access: public` in the model's YAML, beside its SQL, and declare the product there."
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
    for name in ("schema", "database", "catalog_name"):
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
            f"`full_refresh: false` keeps rows of `{model.path.stem}` that older code made; a run "
            "would publish them as rows of the current code.",
            "Remove it: a run rebuilds all rows only when code or declarations changed.",
        )


def _microbatch(model: Model) -> Iterator[Finding]:
    if setting := _is(model, "incremental_strategy", "microbatch"):
        yield Finding(
            setting.path,
            setting.line,
            f"microbatch skips rows of `{model.path.stem}` that land later than its lookback, "
            "and it reads the clock.",
            "Use another strategy with landed_since_last_build(), which misses no late row.",
        )


def _project_hooks(repository: Repository, domain: Domain) -> Iterator[Finding]:
    path = domain.path / "dbt_project.yml"
    project = read(path)
    for name in ("on-run-start", "on-run-end"):
        if project.get(name):
            yield Finding(
                path,
                project.line_of(name),
                f"`{name}` runs outside the models of {domain.name}: its writes are neither "
                "audited nor rolled back, and changing it does not rebuild any model.",
                "Use `pre_hook` or `post_hook` of the model that needs it.",
            )


_OURS = ("generate_schema_name", "generate_alias_name", "generate_database_name", "ref", "source")
_MACRO = re.compile(
    r"\{%-?\s*macro\s+(?:(?:default|duckdb|spark|snowflake)__)?(" + "|".join(_OURS) + r")\s*\("
)


def _macros(repository: Repository, domain: Domain) -> Iterator[Finding]:
    shared = repository.root / "macros"
    for folder in _macro_folders(domain):
        for path in sorted(folder.rglob("*.sql")):
            # The shared macros are reported once, with the root domain.
            if shared in path.parents and domain.path != repository.root:
                continue
            text = path.read_text(errors="replace")
            for match in _MACRO.finditer(text):
                yield Finding(
                    path,
                    text.count("\n", 0, match.start(1)) + 1,
                    f"the macro `{match[1]}` changes where {domain.name} builds and reads tables, "
                    "but the mesh decides that.",
                    "Remove it; the mesh has its own macro for these names.",
                )


def _macro_folders(domain: Domain) -> set[Path]:
    """The folders where dbt looks for a domain's macros, and `macros/`, where people look."""
    declared = read(domain.path / "dbt_project.yml").get("macro-paths")
    names = declared if isinstance(declared, list) else []
    return {(domain.path / str(name)).resolve() for name in ["macros", *names]}


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
    read_by_models = _refs(domain)
    for name, path, line in _declared_snapshots(domain):
        if name not in read_by_models:
            yield Finding(path, line, *_not_taken(name))
        if path.suffix == ".sql":
            text = path.read_text(errors="replace")
            for place in _TARGET_SETTING.finditer(text):
                line_set = text.count("\n", 0, place.start()) + 1
                yield _misplaced(Setting(None, path, line_set), place[1], name)
    for path, snapshot in _snapshots_in_yaml(domain):
        for place in (snapshot, snapshot.get("config")):
            for key in _SNAPSHOT_PLACES:
                if isinstance(place, Located) and key in place:
                    setting = Setting(None, path, place.line_of(key))
                    yield _misplaced(setting, key, str(snapshot.get("name")))


def _declared_snapshots(domain: Domain) -> Iterator[tuple[str, Path, int]]:
    """Name and place of each snapshot."""
    for path, snapshot in _snapshots_in_yaml(domain):
        # An entry with `relation` declares a snapshot; others only describe one.
        if "relation" in snapshot:
            yield str(snapshot.get("name")), path, snapshot.line
    for folder in ("models", "snapshots"):
        for path in sorted((domain.path / folder).rglob("*.sql")):
            text = path.read_text(errors="replace")
            for match in _SNAPSHOT.finditer(text):
                yield match[1], path, text.count("\n", 0, match.start()) + 1


def _snapshots_in_yaml(domain: Domain) -> Iterator[tuple[Path, Located]]:
    for folder in ("models", "snapshots"):
        for path, content in properties(domain.path / folder):
            for snapshot in entries(content, "snapshots"):
                yield path, snapshot


_REF = re.compile(r"""\bref\(\s*['"](\w+)['"]\s*\)""")


def _refs(domain: Domain) -> set[str]:
    """Names of the models, seeds and snapshots that some model of the domain reads."""
    folder = domain.path / "models"
    paths = (*folder.rglob("*.sql"), *folder.rglob("*.py"))
    return {name for path in paths for name in _REF.findall(path.read_text(errors="replace"))}


def _not_taken(name: str) -> tuple[str, str]:
    return (
        f"no product reads the snapshot `{name}`, so no run takes it.",
        "Select from it in a product, or remove it.",
    )
