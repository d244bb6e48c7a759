{% macro generate_schema_name(custom_schema_name, node) -%}
    {#- A domain builds everything in its own private schema, one per environment. Only
        publication writes to `<domain>.<product>`. -#}
    {%- set environment = env_var('MESH_ENV', '') | trim | lower -%}
    {{ environment ~ '__' if environment }}{{ project_name }}_build
{%- endmacro %}
