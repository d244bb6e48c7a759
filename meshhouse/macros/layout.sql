{#- For `post_hook`: later runs sort the rows in each file of the table by these columns, and the
    published table has this sort order. No effect on targets that order rows themselves. -#}
{% macro sort_rows(columns) -%}
    {{ adapter.dispatch('sort_rows')(columns) }}
{%- endmacro %}

{% macro default__sort_rows(columns) -%}
{%- endmacro %}

{% macro spark__sort_rows(columns) -%}
    alter table {{ this }} write ordered by
    {%- for column in columns %} {{ adapter.quote(column) }}{{ "," if not loop.last }}{% endfor %}
{%- endmacro %}
