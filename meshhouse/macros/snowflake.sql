{#- Tags the queries of a model in Snowflake's query history, so that their cost can be attributed.
    The tag is computed when a model runs: at parse time, the run's id would change the manifest. -#}
{% macro snowflake__set_query_tag() -%}
    {%- set tag = {
        'database': target.database | upper,
        'environment': env_var('MESH_ENV', '') | trim | lower,
        'domain': project_name,
        'product': model.name,
        'run': env_var('MESH_RUN_ID', invocation_id),
    } -%}
    {#- The same session settings as on other targets, regardless of the account's defaults. -#}
    {%- do run_query("alter session set timezone = 'UTC'") -%}
    {%- do run_query("alter session set timestamp_type_mapping = 'TIMESTAMP_NTZ'") -%}
    {%- do run_query("alter session set default_null_ordering = 'FIRST'") -%}
    {%- do run_query("alter session set query_tag = '" ~ tojson(tag) | replace("'", "''") ~ "'") -%}
{%- endmacro %}

{#- Does nothing: the next model sets its own tag. -#}
{% macro snowflake__unset_query_tag(original_query_tag) -%}
{%- endmacro %}
