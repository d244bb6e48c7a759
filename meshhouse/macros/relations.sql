{#- The tables and views of a schema. dbt-spark's own macro lists tables only, so dbt would not
    drop an Iceberg view before it creates a table of the same name. -#}
{% macro spark__list_relations_without_caching(relation) -%}
    {%- set found = [] -%}
    {%- for row in run_query('show table extended in ' ~ relation.schema ~ " like '*'") -%}
        {%- do found.append((row[0], row[1], row[2], row[3])) -%}
    {%- endfor -%}
    {%- for row in run_query('show views in ' ~ relation.schema ~ " like '*'") if not row[2] -%}
        {%- do found.append((row[0], row[1], row[2], 'Type: VIEW')) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}
