{#- The New York business day of a timestamp: stores close their books at local midnight. -#}
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

{#- The Monday on which a week of the retail data starts. Week 1 has one day with data: Sunday,
    1 January 2017. -#}
{% macro week_start_date(week) -%}
    {{ add_days("cast('2016-12-26' as date)", "7 * (cast(" ~ week ~ " as integer) - 1)") }}
{%- endmacro %}
