{#- Compares the columns of a model's SQL with its contract, including precision and scale. On
    Snowflake (where every number is FIXED) and over Thrift, dbt's own comparison sees only the
    kind of a type, and Snowflake would then round values to the contract's type. On DuckDB,
    dbt's comparison is exact. -#}
{% macro spark__get_assert_columns_equivalent(sql) -%}
    {{ return(assert_exact_contract(sql)) }}
{%- endmacro %}

{% macro snowflake__get_assert_columns_equivalent(sql) -%}
    {{ return(assert_exact_contract(sql)) }}
{%- endmacro %}

{% macro assert_exact_contract(sql) -%}
    {%- set promised = columns_of_query(get_empty_schema_sql(model['columns'])) -%}
    {%- set made = columns_of_query(sql) -%}
    {%- if made | sort(attribute='name') != promised | sort(attribute='name') -%}
        {#- dbt's table of differences shortens types after 50 characters. -#}
        {%- for found in made -%}
            {%- for declared in promised if declared['name'] | lower == found['name'] | lower
                and declared['data_type'] != found['data_type'] and '<' in declared['data_type'] -%}
                {%- do exceptions.raise_compiler_error(
                    'Column ' ~ found['name'] ~ ' is ' ~ found['data_type']
                    ~ ' and the contract says ' ~ declared['data_type'] ~ '.'
                ) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- do exceptions.raise_contract_error(promised, made) -%}
    {%- endif -%}
{%- endmacro %}

{#- The columns of a query, as a list of name, data_type and formatted. -#}
{% macro columns_of_query(sql) -%}
    {{ return(adapter.dispatch('columns_of_query')(sql)) }}
{%- endmacro %}

{% macro default__columns_of_query(sql) -%}
    {{ return(format_columns(get_column_schema_from_query(sql))) }}
{%- endmacro %}

{% macro spark__columns_of_query(sql) -%}
    {%- set columns = [] -%}
    {%- for row in run_query("describe query " ~ get_empty_subquery_sql(sql)) -%}
        {%- do columns.append(column_made(row['col_name'], row['data_type'])) -%}
    {%- endfor -%}
    {{ return(columns) }}
{%- endmacro %}

{#- Snowflake can describe tables only, so this creates an empty one. A contract does not fix the
    precision of integers or the length of text, so these are left out of the comparison. -#}
{% macro snowflake__columns_of_query(sql) -%}
    {%- set empty = this.incorporate(path={'identifier': this.identifier ~ '__types'}) -%}
    {%- set query = get_empty_subquery_sql(sql, config.get('sql_header', none)) -%}
    {%- do run_query("create or replace temporary table " ~ empty ~ " as " ~ query) -%}
    {%- set integers = [] -%}
    {%- for column in model['columns'].values() -%}
        {%- if column['data_type'] | lower | trim in ('integer', 'int', 'bigint') -%}
            {%- do integers.append(column['name'] | lower) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set columns = [] -%}
    {%- for row in run_query("describe table " ~ empty) -%}
        {%- set type = row['type'].replace(' ', '') -%}
        {%- set is_integer = row['name'] | lower in integers and type.endswith(',0)') -%}
        {%- if type.startswith('NUMBER') -%}
            {%- do columns.append(column_made(row['name'], 'integer' if is_integer else type)) -%}
        {%- else -%}
            {%- do columns.append(column_made(row['name'], type.partition('(')[0])) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do run_query("drop table if exists " ~ empty) -%}
    {{ return(columns) }}
{%- endmacro %}

{% macro column_made(name, data_type) -%}
    {%- set formatted = name | lower ~ ' ' ~ data_type -%}
    {{ return({'name': name, 'data_type': data_type, 'formatted': formatted}) }}
{%- endmacro %}

{#- Later builds of an incremental model insert rows through this view, and Spark silently casts
    them to the table's types. dbt compares the contract at the first build only, so compare
    here too. -#}
{% macro spark__create_temporary_view(relation, compiled_code) -%}
    {%- if config.get('contract').enforced -%}
        {%- do assert_exact_contract(compiled_code) -%}
    {%- endif -%}
    create or replace temporary view {{ relation }} as
    {{ compiled_code }}
{%- endmacro %}
