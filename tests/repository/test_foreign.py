"""Texts of dbt projects from elsewhere: types, and edits of YAML and SQL."""

from __future__ import annotations

import pytest
import yaml

from meshhouse.repository.foreign.calls import (
    version_in,
    with_project_name,
    with_refs,
    without_own_macros,
)
from meshhouse.repository.foreign.columns import columns_read
from meshhouse.repository.foreign.edit import with_entries, with_setting, without_settings
from meshhouse.repository.foreign.products import typed_sql
from meshhouse.repository.foreign.settings import _without_places
from meshhouse.repository.foreign.types import mesh_type


@pytest.mark.parametrize(
    ("written", "adapter", "expected"),
    [
        ("character varying(255)", "postgres", "string"),
        ("timestamp without time zone", "postgres", "timestamp"),
        ("timestamp(6) with time zone", "postgres", "timestamptz"),
        ("double precision", "postgres", "double"),
        ("jsonb", "postgres", "string"),
        ("int4", "redshift", "integer"),
        ("SUPER", "redshift", "string"),
        ("NUMBER(38,0)", "snowflake", "decimal(38,0)"),
        ("number(12, 2)", "snowflake", "decimal(12,2)"),
        ("NUMBER", "snowflake", "decimal(38,0)"),
        ("INT", "snowflake", "bigint"),
        ("TIMESTAMP_NTZ(9)", "snowflake", "timestamp"),
        ("VARIANT", "snowflake", "string"),
        ("INT64", "bigquery", "bigint"),
        ("FLOAT64", "bigquery", "double"),
        ("TIMESTAMP", "bigquery", "timestamptz"),
        ("DATETIME", "bigquery", "timestamp"),
        ("NUMERIC", "bigquery", "decimal(38,9)"),
        ("timestamp", "databricks", "timestamptz"),
        ("long", "spark", "bigint"),
        ("HUGEINT", "duckdb", "bigint"),
        ("DECIMAL", "duckdb", "decimal(18,3)"),
        ("TIMESTAMP WITH TIME ZONE", "duckdb", "timestamptz"),
        ("geography", "bigquery", None),
        ("numeric(2,5)", "postgres", None),
        ("'); drop table x; --", "", None),
        ("", "", None),
    ],
)
def test_a_type_of_an_adapter_is_a_type_of_the_mesh(written, adapter, expected):
    assert mesh_type(written, adapter) == expected


YAML = """\
version: 2

models:
  # About the first.
  - name: first
    description: One.   # why not
    columns:
      - name: a

  # About the second.
  - name: second
    tests: [x]

  - name: third

# The end.
metrics: []
"""


def test_an_entry_is_replaced_and_everything_else_stays_as_it_was():
    after = with_entries(YAML, "models", {"second": {"name": "second", "description": "Two."}})
    assert after == YAML.replace("    tests: [x]\n", "    description: Two.\n")


def test_an_entry_is_removed_and_an_empty_list_with_its_key():
    after = with_entries(YAML, "models", {"first": None, "third": None})
    assert [each["name"] for each in yaml.safe_load(after)["models"]] == ["second"]
    assert "# About the second." in after
    none = with_entries(YAML, "models", dict.fromkeys(("first", "second", "third")))
    assert yaml.safe_load(none) == {"version": 2, "metrics": []}


@pytest.mark.parametrize(
    "text",
    [
        "models: [{name: a, x: 1}, {name: b}]\n",
        "{models: [{name: a, x: 1}, {name: b}]}\n",
        "models:\n- name: a\n  x: 1\n- {name: b}\n",
        "models:\n- x: |\n    - name: a\n\n\n  name: a\n- name: b",
    ],
)
def test_any_form_of_yaml_can_be_edited(text):
    after = yaml.safe_load(with_entries(text, "models", {"a": {"name": "a", "y": {"z": [1]}}}))
    assert after == {"models": [{"name": "a", "y": {"z": [1]}}, {"name": "b"}]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{{ config(schema='x') }}\nselect 1", "\nselect 1"),
        ("{{ config(schema = 'x', tags=['a, schema=1']) }}", "{{ config(tags=['a, schema=1']) }}"),
        ("{{ config(tags='t', schema=var('s', [1, 2])) }}", "{{ config(tags='t') }}"),
        ("{{- config(\n    schema='x',\n    alias='y'\n) -}}", "{{ config(alias='y') }}"),
        ("{{ config(on_schema_change='fail') }}", "{{ config(on_schema_change='fail') }}"),
        ("select schema='x'", "select schema='x'"),
    ],
)  # fmt: skip
def test_a_setting_is_removed_from_sql(before, after):
    assert without_settings(before, ["schema", "database"]) == after


def test_a_setting_in_sql_gets_another_value():
    before = "{{ config(materialized = \"view\", tags='view') }}"
    assert with_setting(before, "materialized", "table") == (
        "{{ config(materialized='table', tags='view') }}"
    )


def test_settings_of_folders_keep_a_folder_that_is_called_like_a_setting():
    before = {"x": {"+schema": "a", "schema": {"+tags": "b"}, "y": {"database": "c"}}}
    assert _without_places(before) == {"x": {"schema": {"+tags": "b"}}}


def test_only_the_macros_that_the_mesh_decides_are_left_out():
    kept = "{% macro a() %}1{% endmacro %}"
    text = f"{kept}\n{{%- macro snowflake__generate_alias_name(x) -%}}y{{%- endmacro -%}}\n"
    rest, removed = without_own_macros(text)
    assert (rest.strip(), removed) == (kept, ["generate_alias_name"])


def test_calls_of_own_macros_follow_the_new_name():
    text = "{{ old.a() }} {{ adapter.dispatch('a', 'old')() }} old.column 'old' {{ cold.a() }}"
    assert with_project_name(text, "old", "new") == (
        "{{ new.a() }} {{ adapter.dispatch('a', 'new')() }} old.column 'old' {{ cold.a() }}"
    )


def test_columns_of_a_source_are_those_that_its_only_reader_selects():
    sql = """
    with source as (select * from {{ source('s', 't') }}),
    renamed as (
        select id as t_id, {{ cents('Price') }} as price, {{ dbt.date_trunc('day', 'at') }} as day
        from source where deleted is null
    )
    select t_id, price, day from renamed
    """
    joined = "select * from {{ source('s', 'a') }} join {{ source('s', 'b') }} using (x)"
    assert columns_read([sql, joined, "select (("], "") == {
        ("s", "t"): ["id", "price", "at", "deleted"]
    }


@pytest.mark.parametrize(
    "text",
    [
        "models:\n-   name: a\n    description: x\n-   name: b\n",
        "models:\n  - name: a\n    description: &said x\n  - name: b\n    description: *said\n",
    ],
)
def test_valid_yaml_of_any_style_can_be_edited(text):
    edited = yaml.safe_load(with_entries(text, "models", {"a": {"name": "a", "config": {}}}))
    assert edited["models"] == [{"name": "a", "config": {}}, yaml.safe_load(text)["models"][1]]


def test_a_ref_keeps_the_version_that_it_asks_for():
    asked = "select * from {{ ref('old', 'dim', v=1) }} join {{ ref('old', 'fact') }}"
    assert with_refs(asked, lambda _, model, rest: f"ref('{model}'{rest})") == (
        "select * from {{ ref('dim', v=1) }} join {{ ref('fact') }}"
    )
    assert [version_in(each) for each in ("", ", v=1", ", version = '2' ")] == [None, "1", "2"]
    with pytest.raises(ValueError, match="newest"):
        version_in(", v=newest ~ 1")


def test_a_cast_to_a_nested_type_is_written_for_each_target():
    sql = typed_sql("select tags, at from x", {"tags": "array<string>", "at": "timestamptz"}, ())
    assert "cast(tags as {{ engine_type('array<string>') }}) as tags" in sql
    assert mesh_type("struct<orderId string>") == "struct<orderId string>"
