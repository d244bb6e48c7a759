{#- For `post_hook`: rows that later runs write into the table stand in this order in each
    file, and the published table says so. Without effect where the engine decides itself. -#}
{% macro sort_rows(columns) -%}
    {{ adapter.dispatch('sort_rows')(columns) }}
{%- endmacro %}

{% macro default__sort_rows(columns) -%}
{%- endmacro %}

{% macro spark__sort_rows(columns) -%}
    alter table {{ this }} write ordered by
    {%- for column in columns %} {{ adapter.quote(column) }}{{ "," if not loop.last }}{% endfor %}
{%- endmacro %}
