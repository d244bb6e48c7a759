{#- Text of a value in a JSON text, such as `json_text('payload', 'customer.tags[0]')`. It is null for
    a null, a missing value, and a text that is not JSON. -#}
{% macro json_text(json, path) -%}
    {{- adapter.dispatch('json_text')(json, path) -}}
{%- endmacro %}

{% macro duckdb__json_text(json, path) -%}
    case when json_valid({{ json }}) then json_extract_string({{ json }}, {{ json_path(path, '."', '"') }}) end
{%- endmacro %}

{% macro spark__json_text(json, path) -%}
    get_json_object({{ json }}, {{ json_path(path, '.', '') }})
{%- endmacro %}

{% macro snowflake__json_text(json, path) -%}
    cast(get_path(try_parse_json({{ json }}), '{{ path }}') as varchar)
{%- endmacro %}

{#- A path as a SQL text: `$."customer"."tags"[0]`. -#}
{% macro json_path(path, before, after) -%}
    {%- set parts = ['$'] -%}
    {%- for step in path.split('.') -%}
        {%- set name, bracket, place = step.partition('[') -%}
        {%- do parts.append(before ~ name ~ after ~ bracket ~ place) -%}
    {%- endfor -%}
    '{{ parts | join('') | replace("'", "''") }}'
{%- endmacro %}

{#- A field inside of a struct: `nested_field('customer', 'address.zip', 'integer')`. -#}
{% macro nested_field(struct, path, data_type) -%}
    {{- adapter.dispatch('nested_field')(struct, path, data_type) -}}
{%- endmacro %}

{% macro default__nested_field(struct, path, data_type) -%}
    {{- dbt.cast('(' ~ struct ~ ').' ~ quoted_path(path), data_type) -}}
{%- endmacro %}

{% macro snowflake__nested_field(struct, path, data_type) -%}
    {{- dbt.cast("get_path(" ~ struct ~ ", '" ~ path ~ "')", data_type) -}}
{%- endmacro %}

{% macro quoted_path(path) -%}
    {%- set names = [] -%}
    {%- for name in path.split('.') -%}{%- do names.append(adapter.quote(name)) -%}{%- endfor -%}
    {{- names | join('.') -}}
{%- endmacro %}

{#- A relation with one row per element of an array: its columns, the element as `item`, and the
    place of the element from 1 as `item_number`. A row whose array is null or empty has none. For
    elements that are not structs, give their type: Snowflake has only JSON values in arrays. -#}
{% macro array_rows(relation, array, item='item', data_type=none) -%}
    {{- adapter.dispatch('array_rows')(relation, array, item, data_type) -}}
{%- endmacro %}

{% macro duckdb__array_rows(relation, array, item, data_type) -%}
    (
        select *, unnest({{ array }}) as {{ item }}, generate_subscripts({{ array }}, 1) as {{ item }}_number
        from {{ relation }}
    )
{%- endmacro %}

{% macro spark__array_rows(relation, array, item, data_type) -%}
    (
        select source_rows.*, items.{{ item }}, items.place + 1 as {{ item }}_number
        from {{ relation }} as source_rows
        lateral view posexplode(source_rows.{{ array }}) items as place, {{ item }}
    )
{%- endmacro %}

{% macro snowflake__array_rows(relation, array, item, data_type) -%}
    (
        select
            source_rows.*,
            {{ dbt.cast('items.value', data_type) if data_type else 'items.value' }} as {{ item }},
            items.index + 1 as {{ item }}_number
        from {{ relation }} as source_rows,
            lateral flatten(input => source_rows.{{ array }}) as items
    )
{%- endmacro %}

{#- A struct of fields, given as name -> SQL: `struct_of({'sku': 'sku', 'price': 'price'})`. -#}
{% macro struct_of(fields) -%}
    {{- adapter.dispatch('struct_of')(fields) -}}
{%- endmacro %}

{% macro duckdb__struct_of(fields) -%}
    {%- set made = [] -%}
    {%- for name, sql in fields.items() -%}{%- do made.append('"' ~ name ~ '" := ' ~ sql) -%}{%- endfor -%}
    struct_pack({{ made | join(', ') }})
{%- endmacro %}

{% macro spark__struct_of(fields) -%}
    named_struct({{ names_and_values(fields) }})
{%- endmacro %}

{% macro snowflake__struct_of(fields) -%}
    object_construct_keep_null({{ names_and_values(fields) }})
{%- endmacro %}

{% macro names_and_values(fields) -%}
    {%- set made = [] -%}
    {%- for name, sql in fields.items() -%}{%- do made.append("'" ~ name ~ "', " ~ sql) -%}{%- endfor -%}
    {{- made | join(', ') -}}
{%- endmacro %}

{#- An aggregate: the array of an expression over the rows of a group, in the order of another
    expression, without nulls. -#}
{% macro array_of(expression, order_by) -%}
    {{- adapter.dispatch('array_of')(expression, order_by) -}}
{%- endmacro %}

{% macro duckdb__array_of(expression, order_by) -%}
    coalesce(list({{ expression }} order by {{ order_by }}) filter (where {{ expression }} is not null), [])
{%- endmacro %}

{% macro spark__array_of(expression, order_by) -%}
    transform(
        array_sort(
            collect_list(named_struct('place', {{ order_by }}, 'item', {{ expression }}))
                filter (where {{ expression }} is not null),
            (a, b) -> case when a.place < b.place then -1 when a.place > b.place then 1 else 0 end
        ),
        each -> each.item
    )
{%- endmacro %}

{% macro snowflake__array_of(expression, order_by) -%}
    array_agg({{ expression }}) within group (order by {{ order_by }})
{%- endmacro %}
