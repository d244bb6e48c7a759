{#- This target's name for a declared type. Declarations have one spelling of nested types, such as
    `struct<id bigint, tags array<string>>`, which is also Spark's. -#}
{% macro engine_type(data_type) -%}
    {{- adapter.dispatch('engine_type')(data_type) -}}
{%- endmacro %}

{% macro default__engine_type(data_type) -%}
    {{- data_type -}}
{%- endmacro %}

{#- DuckDB writes `struct("id" bigint, "tags" string[])`. Names are quoted, because they may be
    reserved words. Types are rewritten from the inside out. -#}
{% macro duckdb__engine_type(data_type) -%}
    {%- set found = namespace(text=data_type | string) -%}
    {%- if '<' in found.text -%}
        {%- set found.text = modules.re.sub('(?i)timestamp\\s+with\\s+time\\s+zone', 'timestamptz', found.text) -%}
        {%- set found.text = modules.re.sub('\\s*([<>,])\\s*', '\\1', found.text) -%}
        {%- set found.text = modules.re.sub(
            '(?<=[<,])(?:([A-Za-z_][A-Za-z0-9_]*)|`([^`]+)`)(?:\\s*:\\s*|\\s+)(?=[A-Za-z])',
            '"\\1\\2" ',
            found.text
        ) -%}
        {%- for _ in range(found.text.count('<')) -%}
            {%- set found.text = modules.re.sub('(?i)\\barray<([^<>]*)>', '\\1[]', found.text) -%}
            {%- set found.text = modules.re.sub('(?i)\\b(struct|map)<([^<>]*)>', '\\1(\\2)', found.text) -%}
        {%- endfor -%}
    {%- endif -%}
    {{- found.text -}}
{%- endmacro %}

{#- Spark's names of single types differ; see `spark_type`. A name before another word is that of a
    field, so it stays. -#}
{% macro spark__engine_type(data_type) -%}
    {%- set found = namespace(text=data_type | string) -%}
    {%- if '<' in found.text -%}
        {%- set found.text = modules.re.sub('(?i)timestamp\\s+with\\s+time\\s+zone', 'timestamptz', found.text) -%}
        {%- for word in ('text', 'varchar', 'timestamp', 'timestamptz') -%}
            {%- set found.text = modules.re.sub(
                '(?i)(?<![`\\w])' ~ word ~ '(?=\\s*(?:[,>]|$))', spark_type(word), found.text
            ) -%}
        {%- endfor -%}
        {{- found.text -}}
    {%- else -%}
        {{- spark_type(data_type) -}}
    {%- endif -%}
{%- endmacro %}

{#- Snowflake's tables hold JSON values: an object for a struct or a map, an array for an array.
    Structured types would compare every field, but no replacement of Snowflake has them to test. -#}
{% macro snowflake__engine_type(data_type) -%}
    {%- set text = data_type | string | trim | lower -%}
    {%- if '<' in text -%}
        {{- 'array' if text.startswith('array') else 'object' -}}
    {%- else -%}
        {{- data_type -}}
    {%- endif -%}
{%- endmacro %}

{#- dbt compares a contract with a model by casts of null to the declared types. -#}
{% macro duckdb__cast(expression, data_type) -%}
    cast({{ expression }} as {{ engine_type(data_type) }})
{%- endmacro %}

{% macro spark__cast(expression, data_type) -%}
    cast({{ expression }} as {{ engine_type(data_type) }})
{%- endmacro %}

{% macro snowflake__cast(expression, data_type) -%}
    cast({{ expression }} as {{ engine_type(data_type) }})
{%- endmacro %}

{#- dbt creates the table of a contract with its declared types. -#}
{% macro duckdb__get_table_columns_and_constraints() -%}
    {{ return(table_columns_of_engine()) }}
{%- endmacro %}

{% macro snowflake__get_table_columns_and_constraints() -%}
    {{ return(table_columns_of_engine()) }}
{%- endmacro %}

{% macro table_columns_of_engine() -%}
    {%- set columns = {} -%}
    {%- for name, column in model['columns'].items() -%}
        {%- do columns.update({name: dict(column, data_type=engine_type(column['data_type']))}) -%}
    {%- endfor -%}
    {%- set listed = adapter.render_raw_columns_constraints(raw_columns=columns) -%}
    {%- do listed.extend(adapter.render_raw_model_constraints(raw_constraints=model['constraints'])) -%}
    ({{ listed | join(', ') }})
{%- endmacro %}
