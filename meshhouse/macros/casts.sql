{#- A cast that is null if the value cannot be converted; a plain cast fails on every target.
    dbt's own safe_cast is a plain cast on DuckDB and Spark. -#}
{% macro duckdb__safe_cast(field, type) -%}
    try_cast({{ field }} as {{ engine_type(type) }})
{%- endmacro %}

{% macro spark__safe_cast(field, type) -%}
    {%- set type = engine_type(type) -%}
    {%- if cast_from_string_unsupported_for(type) and field is string -%}
        cast({{ field.strip('"').strip("'") }} as {{ type }})
    {%- else -%}
        try_cast({{ field }} as {{ type }})
    {%- endif -%}
{%- endmacro %}
