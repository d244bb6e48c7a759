{#- A moment, whatever zone it was written in. -#}
{% macro type_timestamptz() -%}
    {{ adapter.dispatch('type_timestamptz')() }}
{%- endmacro %}

{% macro default__type_timestamptz() -%}
    timestamptz
{%- endmacro %}

{% macro spark__type_timestamptz() -%}
    timestamp
{%- endmacro %}

{#- Contracts and unit tests name our types; Spark has another word for this one. -#}
{% macro spark__cast(expression, data_type) -%}
    cast({{ expression }} as {{ type_timestamptz() if data_type == 'timestamptz' else data_type }})
{%- endmacro %}

{#- The business day, in New York, of a moment: stores close their books at local midnight. -#}
{% macro business_date(moment) -%}
    {{ adapter.dispatch('business_date')(moment) }}
{%- endmacro %}

{% macro default__business_date(moment) -%}
    cast(timezone('America/New_York', {{ moment }}) as date)
{%- endmacro %}

{% macro spark__business_date(moment) -%}
    to_date(from_utc_timestamp({{ moment }}, 'America/New_York'))
{%- endmacro %}

{% macro snowflake__business_date(moment) -%}
    cast(convert_timezone('America/New_York', {{ moment }}) as date)
{%- endmacro %}

{#- The Monday on which a week of the retail data begins: week 1 holds 1 January 2017, a Sunday. -#}
{% macro week_start_date(week) -%}
    {{ add_days("cast('2016-12-26' as date)", "7 * (cast(" ~ week ~ " as integer) - 1)") }}
{%- endmacro %}
