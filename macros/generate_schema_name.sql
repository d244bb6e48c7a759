{% macro generate_schema_name(custom_schema_name, node) -%}
    {#- Everything that a domain builds is in its own private schema; only publication
        writes to `<domain>.<product>`. -#}
    {{ project_name }}_build
{%- endmacro %}
