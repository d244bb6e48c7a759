"""The shape of each YAML file: its keys, and the kind of value of each key.

Belongs here: the keys that dbt or the mesh reads, and whether each holds a list, a mapping or
a single value. Not here: comparing a file with its shape (misfits.py), the meaning of a value
(domain.py, names.py), or finding files (domain.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshhouse.repository import keys as declared
from meshhouse.repository.misfits import ANY, FLAG, TEXT, Many, Map
from meshhouse.repository.yaml import Located


def shape_of(path: Path) -> Map:
    """The shape of a domain's YAML file, by the file's name."""
    if path.name.endswith(".checks.yml"):
        return CHECKS_FILE
    return {"dependencies.yml": DEPENDENCIES, "dbt_project.yml": PROJECT}.get(path.name, PROPERTIES)


def meta_of(entry: Located) -> Located:
    """`config.meta` of an entry, or `meta`, the older key for the same."""
    return mapping(mapping(entry.get("config")).get("meta", entry.get("meta")))


def mapping(value: Any) -> Located:
    """The value if it is a mapping, otherwise an empty mapping."""
    return value if isinstance(value, Located) else Located()


def mappings(value: Any) -> list[Located]:
    """The mappings in a list; empty if the value is not a list."""
    return [each for each in value if isinstance(each, Located)] if isinstance(value, list) else []


def _open(what: str, **keys: Any) -> Map:
    return Map(what, keys, is_open=True)


def _any(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, ANY)


def _meta(place: str) -> Map:
    """The shape of `config.meta` in a place: the mesh's keys, and any that the domain adds."""
    return Map(
        place,
        declared.keys_of(place),
        is_open=True,
        finds_misspelt=True,
        elsewhere=declared.elsewhere(place),
    )


_TESTS = Many(ANY)
_COLUMN_META = _meta(declared.COLUMN)
_FRESHNESS = _any("freshness", "loaded_at_field", "loaded_at_query")
_SEMANTIC_LAYER = (
    "semantic_model", "metrics", "agg_time_dimension", "primary_entity", "derived_semantics",
)  # fmt: skip
"""Keys of a model for tools that read dbt's semantic layer."""


def _column(meta: Any) -> Map:
    keys = {
        "name": TEXT, "description": TEXT, "data_type": TEXT,
        "config": _open("config of a column", meta=meta), "meta": meta,
        "constraints": Many(_open("a constraint", type=TEXT)), "data_tests": _TESTS,
        "tests": _TESTS,
        **_any(
            "quote", "tags", "granularity", "docs", "policy_tags", "dimension", "entity",
            "classifiers", "column_mask", "databricks_tags",
        ),
    }  # fmt: skip
    return Map("a column", keys, required=("name",))


_COLUMNS = Many(_column(_COLUMN_META))
_PRODUCT_META = _meta(declared.PRODUCT)
_PRIVATE_META = Map(
    declared.PRODUCT, declared.keys_of(declared.PRIVATE_MODEL), is_open=True, finds_misspelt=True
)
"""For a private model: the mesh reads one key; the domain may add any others."""


def _model_config(meta: Map) -> Map:
    keys = {
        "access": TEXT, "group": TEXT, "materialized": TEXT, "enabled": FLAG, "meta": meta,
        "contract": Map("config.contract", {"enforced": FLAG, "alias_types": FLAG}),
        "alias": TEXT, "schema": TEXT, "database": TEXT, "full_refresh": FLAG,
        **_any(
            "tags", "unique_key", "incremental_strategy", "incremental_predicates", "file_format",
            "on_schema_change", "location_root", "partition_by", "cluster_by", "clustered_by",
            "buckets",
            "tblproperties", "options", "pre_hook", "post_hook", "pre-hook", "post-hook",
            "persist_docs", "quoting", "grants", "docs", "event_time", "batch_size", "begin",
            "lookback", "concurrent_batches", "transient", "snowflake_warehouse", "query_tag",
            "copy_grants", "secure", "target_lag", "indexes", "on_configuration_change", "packages",
            "sql_header", "merge_update_columns", "merge_exclude_columns", "submission_method",
            "deprecation_date", "column_types", "delimiter", "quote_columns", "static_analysis",
            "table_format", "automatic_clustering", "format", "location", "freshness",
            "latest_version", "latest_version_pointer", "python_version", "imports", "secrets",
            "external_access_integrations", "use_anonymous_sproc", "catalog", "catalog_name",
            "external_volume", "base_location_root", "base_location_subpath", "change_tracking",
            "data_retention_time_in_days", "max_data_extension_time_in_days", "table_tag",
            "row_access_policy", "refresh_mode", "initialize", "tmp_relation_type", "predicates",
            "primary_key", "description", "on_error", "timeout", "unlogged",
        ),
    }  # fmt: skip
    return Map("config of a model", keys)


def _model(meta: Map, column: Map) -> Map:
    config = _model_config(meta)
    version = Map(
        "a version of a model",
        {
            "v": ANY, "defined_in": TEXT, "config": config, "description": TEXT, "access": TEXT,
            "columns": Many(
                Map("a column of a version", {**column.keys, **_any("include", "exclude")})
            ),
            **_any("constraints", "data_tests", "tests", "docs", "deprecation_date"),
        },
        required=("v",),
    )  # fmt: skip
    keys = {
        "name": TEXT, "description": TEXT, "config": config, "meta": meta, "columns": Many(column),
        "constraints": Many(_open("a constraint", type=TEXT)), "data_tests": _TESTS,
        "tests": _TESTS, "versions": Many(version), "access": TEXT, "group": TEXT,
        **_any(
            "latest_version", "deprecation_date", "docs", "quote_columns", "time_spine",
            *_SEMANTIC_LAYER,
        ),
    }  # fmt: skip
    return Map("a model", keys, required=("name",))


_PRODUCT = _model(_PRODUCT_META, _column(_COLUMN_META))
_PRIVATE = _model(_PRIVATE_META, _column(ANY))


def _model_as_declared(value: Any) -> Map:
    """The shape of a model; the mesh reads every key of a product, few of a private model."""
    model = mapping(value)
    entries = [model, *mappings(model.get("versions"))]
    places = [*entries, *(mapping(each.get("config")) for each in entries)]
    return _PRODUCT if any(place.get("access") == "public" for place in places) else _PRIVATE


_TABLE_META = _meta(declared.SOURCE_TABLE)
_TABLE = Map(
    "a source table",
    {
        "name": TEXT, "description": TEXT, "columns": _COLUMNS, "identifier": TEXT,
        "config": _open("config of a source table", meta=_TABLE_META), "meta": _TABLE_META,
        "data_tests": _TESTS, "tests": _TESTS, **_FRESHNESS,
        **_any("loader", "quoting", "tags", "external", "docs"),
    },
    required=("name",),
)  # fmt: skip
_SOURCE = Map(
    "a source",
    {
        "name": TEXT, "description": TEXT, "schema": TEXT, "database": TEXT, "tables": Many(_TABLE),
        **_FRESHNESS, **_any("config", "loader", "quoting", "tags", "meta", "overrides"),
    },
    required=("name",),
)  # fmt: skip
_OWNER = _open("an owner", name=TEXT, email=TEXT)
_UNIT_TEST = Map(
    "a unit test",
    {
        "name": TEXT, "model": TEXT, "description": TEXT,
        "given": Many(_open("an input", input=TEXT)),
        "expect": _open("expected rows"), "overrides": _open("overrides"),
        **_any("config", "versions", "tags", "meta"),
    },
    required=("name", "model"),
)  # fmt: skip
PROPERTIES = Map(
    "a dbt properties file",
    {
        "models": Many(_model_as_declared), "sources": Many(_SOURCE),
        "unit_tests": Many(_UNIT_TEST),
        "groups": Many(
            Map(
                "a group",
                {"name": TEXT, "owner": _OWNER, **_any("config", "description")},
                ("name", "owner"),
            )
        ),
        **dict.fromkeys(
            (
                "exposures", "macros", "snapshots", "seeds", "analyses", "semantic_models",
                "metrics", "saved_queries",
            ),
            Many(_open("an entry")),
        ),
        **_any("version", "data_tests", "tests", "functions", "anchors"),
    },
)  # fmt: skip
DEPENDENCIES = Map(
    "dependencies.yml",
    {
        "projects": Many(Map("a project", {"name": TEXT}, required=("name",))),
        "packages": Many(_open("a package")),
    },
)
PROJECT = Map(
    "dbt_project.yml",
    {
        "name": TEXT, "description": TEXT, "profile": TEXT, "vars": _open("vars"),
        "models": _open("models"), "flags": _open("flags"),
        "dispatch": Many(_open("an entry of dispatch")),
        **dict.fromkeys(
            (
                "model-paths", "macro-paths", "seed-paths", "test-paths", "snapshot-paths",
                "analysis-paths", "asset-paths", "docs-paths", "function-paths", "clean-targets",
            ),
            Many(TEXT),
        ),
        **_any(
            "version", "config-version", "require-dbt-version", "query-comment", "on-run-start",
            "on-run-end", "quoting", "snapshots", "seeds", "tests", "data_tests", "sources",
            "unit_tests", "exposures", "metrics", "saved-queries", "semantic-models", "target-path",
            "log-path", "packages-install-path", "dbt-cloud", "restrict-access", "functions",
        ),
    },
    required=("name",),
)  # fmt: skip

_THRESHOLD = Map(
    "a threshold",
    {
        "metric": TEXT, "level": TEXT, "unit": TEXT,
        **_any("must_be_between", "must_be_not_between", "additional"),
        **dict.fromkeys(
            (
                "must_be", "must_not_be", "must_be_greater_than", "must_be_greater_than_or_equal",
                "must_be_less_than", "must_be_less_than_or_equal",
            ),
            ANY,
        ),
    },
    is_of_the_mesh=True,
)  # fmt: skip


def _check(kind: str, *required: str, **more: Any) -> Map:
    common = {"name": TEXT, "qualifier": ANY, "attributes": _open("attributes"), "scope": TEXT}
    keys = {**common, "threshold": _THRESHOLD, "filter": TEXT, **more}
    return Map(f"a check `{kind}`", keys, required, is_of_the_mesh=True)


_SQL_CHECK = {
    "expression": TEXT, "query": TEXT, "rows_tested_query": TEXT, "keys_query": TEXT,
    "key_column_mapping": ANY,
}  # fmt: skip
_MISSING = {"missing_values": Many(ANY), "missing_format": _open("missing_format", regex=TEXT)}
_INVALID = {
    "invalid_values": Many(ANY), "invalid_format": _open("invalid_format", regex=TEXT),
    "valid_values": Many(ANY), "valid_format": _open("valid_format", regex=TEXT),
    "valid_reference_data": _open("valid_reference_data"),
    **_any("valid_min", "valid_max", "valid_length", "valid_min_length", "valid_max_length"),
}  # fmt: skip
_OF_A_COLUMN = Map(
    "the checks of a column",
    {
        "missing": _check("missing", **_MISSING),
        "invalid": _check("invalid", **_INVALID),
        "duplicate": _check("duplicate"),
        "aggregate": _check("aggregate", "function", "threshold", function=TEXT),
        "failed_rows": _check("failed_rows", **_SQL_CHECK),
        "metric": _check("metric", **_SQL_CHECK),
    },
    is_of_the_mesh=True,
)
_OF_A_PRODUCT = Map(
    "the checks of a product",
    {
        "schema": _check("schema", allow_extra_columns=FLAG, allow_other_column_order=FLAG),
        "row_count": _check("row_count"),
        "freshness": _check("freshness", "column", "threshold", column=TEXT),
        "duplicate": _check("duplicate", "columns", columns=Many(TEXT)),
        "failed_rows": _check("failed_rows", **_SQL_CHECK),
        "metric": _check("metric", **_SQL_CHECK),
    },
    is_of_the_mesh=True,
)  # fmt: skip
CHECKS_FILE = Map(
    "a checks file",
    {
        "columns": Many(
            Map(
                "a checked column",
                {"name": TEXT, "checks": Many(_OF_A_COLUMN), "optional": FLAG},
                required=("name",),
                is_of_the_mesh=True,
            )
        ),
        "checks": Many(_OF_A_PRODUCT),
        "filter": TEXT, "description": TEXT,
        "variables": _open("variables"),
    },
    is_of_the_mesh=True,
)  # fmt: skip
