{#- What a statement is for, in Snowflake's own history of queries, so that its cost is
    attributable. Read when a model runs, so that a run's name is no part of what is parsed. -#}
{% macro snowflake__set_query_tag() -%}
    {%- set tag = {
        'domain': project_name,
        'product': model.name,
        'run': env_var('MESH_RUN_ID', invocation_id),
    } -%}
    {#- As on other targets, whatever the account's own is. -#}
    {%- do run_query("alter session set timezone = 'UTC'") -%}
    {%- do run_query("alter session set timestamp_type_mapping = 'TIMESTAMP_NTZ'") -%}
    {%- do run_query("alter session set default_null_ordering = 'FIRST'") -%}
    {%- do run_query("alter session set query_tag = '" ~ tojson(tag) | replace("'", "''") ~ "'") -%}
{%- endmacro %}

{#- The next model says its own. -#}
{% macro snowflake__unset_query_tag(original_query_tag) -%}
{%- endmacro %}
