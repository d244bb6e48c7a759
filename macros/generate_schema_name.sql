{% macro generate_schema_name(custom_schema_name, node) -%}
    {#- Everything that a domain builds is in its own private schema, which each environment
        has for itself; only publication writes to `<domain>.<product>`. -#}
    {%- set environment = env_var('MESH_ENV', '') | trim | lower -%}
    {{ environment ~ '__' if environment }}{{ project_name }}_build
{%- endmacro %}
