{#- Text of a value in a JSON text, such as `json_text('payload', 'customer.tags[0]')`. It is null for
    a null, a missing value, and a text that is not JSON. -#}
{% macro json_text(json, path) -%}
    {{- adapter.dispatch('json_text')(json, path) -}}
{%- endmacro %}

{% macro duckdb__json_text(json, path) -%}
    case when json_valid({{ json }}) then json_extract_string({{ json }}, {{ json_path(path, '$.', '"') }}) end
{%- endmacro %}

{% macro spark__json_text(json, path) -%}
    get_json_object({{ json }}, {{ json_path(path, '$.', '') }})
{%- endmacro %}

{% macro snowflake__json_text(json, path) -%}
    cast(get_path(try_parse_json({{ json }}), {{ json_path(path, '', '"') }}) as varchar)
{%- endmacro %}

{#- A path as a SQL text: `'$."customer"."tags"[0]'`. -#}
{% macro json_path(path, root, quote) -%}
    {%- set parts = [] -%}
    {%- for step in path.split('.') -%}
        {%- set name, bracket, place = step.partition('[') -%}
        {%- do parts.append(quote ~ name ~ quote ~ bracket ~ place) -%}
    {%- endfor -%}
    '{{ root }}{{ dbt.escape_single_quotes(parts | join('.')) }}'
{%- endmacro %}

{#- A field inside of a struct: `nested_field('customer', 'address.zip', 'integer')`. -#}
{% macro nested_field(struct, path, data_type) -%}
    {{- adapter.dispatch('nested_field')(struct, path, data_type) -}}
{%- endmacro %}

{% macro default__nested_field(struct, path, data_type) -%}
    {%- set field = '(' ~ struct ~ ').' ~ quoted_path(path) -%}
    {#- A field that holds structs has its declared type; a cast on Spark goes by position. -#}
    {{- field if 'struct' in data_type | lower else dbt.cast(field, data_type) -}}
{%- endmacro %}

{% macro snowflake__nested_field(struct, path, data_type) -%}
    {#- Without quotes, `zip code` would not be a valid path. -#}
    {%- set steps = dbt.escape_single_quotes(quoted_path(path)) -%}
    {{- dbt.cast("get_path(" ~ struct ~ ", '" ~ steps ~ "')", data_type) -}}
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

{#- A struct with exactly the fields of a type, given as name -> SQL:
    `struct_of({'sku': 'sku', 'price': 'price'}, 'struct<sku string, price decimal(12,2)>')`. It has
    the order of the type, whatever the order of the fields is: a cast would take them by name on
    DuckDB and by position on Spark. -#}
{% macro struct_of(fields, data_type) -%}
    {%- set made, declared = [], [] -%}
    {%- for name, kind in fields_of_struct(data_type) -%}
        {%- do declared.append(name) -%}
        {%- if name not in fields -%}
            {%- do exceptions.raise_compiler_error('struct_of misses the field `' ~ name ~ '` of ' ~ data_type) -%}
        {%- endif -%}
        {%- set sql = fields[name] if 'struct' in kind | lower else dbt.cast(fields[name], kind) -%}
        {%- do made.append((name, sql)) -%}
    {%- endfor -%}
    {%- for name in fields if name not in declared -%}
        {%- do exceptions.raise_compiler_error('struct_of has the field `' ~ name ~ '`, which is not in ' ~ data_type) -%}
    {%- endfor -%}
    {{- adapter.dispatch('struct_of_typed')(made) -}}
{%- endmacro %}

{% macro duckdb__struct_of_typed(made) -%}
    {%- set listed = [] -%}
    {%- for name, sql in made -%}{%- do listed.append('"' ~ name ~ '" := ' ~ sql) -%}{%- endfor -%}
    struct_pack({{ listed | join(', ') }})
{%- endmacro %}

{% macro spark__struct_of_typed(made) -%}
    named_struct({{ names_and_values(made) }})
{%- endmacro %}

{% macro snowflake__struct_of_typed(made) -%}
    object_construct_keep_null({{ names_and_values(made) }})
{%- endmacro %}

{% macro names_and_values(made) -%}
    {%- set listed = [] -%}
    {%- for name, sql in made -%}{%- do listed.append("'" ~ dbt.escape_single_quotes(name) ~ "', " ~ sql) -%}{%- endfor -%}
    {{- listed | join(', ') -}}
{%- endmacro %}

{#- The fields of a struct type, as a list of name and type. -#}
{% macro fields_of_struct(data_type) -%}
    {%- set text = data_type | string | trim -%}
    {%- if not modules.re.match('(?is)struct\\s*<.*>$', text) -%}
        {%- do exceptions.raise_compiler_error('`' ~ text ~ '` is not a type like `struct<id bigint>`') -%}
    {%- endif -%}
    {%- set state = namespace(depth=0, part='') -%}
    {%- set parts = [] -%}
    {%- for sign in text[text.index('<') + 1:-1] -%}
        {%- set state.depth = state.depth + (1 if sign in '<(' else -1 if sign in '>)' else 0) -%}
        {%- if sign == ',' and state.depth == 0 -%}
            {%- do parts.append(state.part) -%}
            {%- set state.part = '' -%}
        {%- else -%}
            {%- set state.part = state.part ~ sign -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do parts.append(state.part) -%}
    {%- set fields = [] -%}
    {%- for part in parts -%}
        {%- set found = modules.re.match('(?s)\\s*(?:`([^`]+)`|([A-Za-z_]\\w*))\\s*:?\\s*(.+?)\\s*$', part) -%}
        {%- do fields.append((found.group(1) or found.group(2), found.group(3))) -%}
    {%- endfor -%}
    {{ return(fields) }}
{%- endmacro %}

{#- An aggregate: the array of an expression over the rows of a group, in the order of another
    expression, which must differ between the rows of a group: the order of equal ones is not
    defined. Elements that are null are left out; an element whose order is null comes last. -#}
{% macro array_of(expression, order_by) -%}
    {{- adapter.dispatch('array_of')(expression, order_by) -}}
{%- endmacro %}

{% macro duckdb__array_of(expression, order_by) -%}
    coalesce(list({{ expression }} order by {{ order_by }} nulls last) filter (where {{ expression }} is not null), [])
{%- endmacro %}

{% macro spark__array_of(expression, order_by) -%}
    transform(
        array_sort(
            collect_list(named_struct('place', {{ order_by }}, 'item', {{ expression }}))
                filter (where {{ expression }} is not null),
            (a, b) -> case
                when a.place < b.place then -1
                when a.place > b.place then 1
                when a.place is null and b.place is not null then 1
                when a.place is not null and b.place is null then -1
                else 0
            end
        ),
        each -> each.item
    )
{%- endmacro %}

{% macro snowflake__array_of(expression, order_by) -%}
    array_agg({{ expression }}) within group (order by {{ order_by }} nulls last)
{%- endmacro %}
