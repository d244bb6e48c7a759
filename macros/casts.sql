{#- Null where a value is none of the type; a plain cast fails there, on every target.
    dbt's own is a plain cast on DuckDB, and on Spark, where it was null without ANSI mode. -#}
{% macro duckdb__safe_cast(field, type) -%}
    try_cast({{ field }} as {{ type }})
{%- endmacro %}

{% macro spark__safe_cast(field, type) -%}
    {%- set type = spark_type(type) -%}
    {%- if cast_from_string_unsupported_for(type) and field is string -%}
        cast({{ field.strip('"').strip("'") }} as {{ type }})
    {%- else -%}
        try_cast({{ field }} as {{ type }})
    {%- endif -%}
{%- endmacro %}
