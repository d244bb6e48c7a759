{#- A moment, whatever zone it was written in. -#}
{% macro type_timestamptz() -%}
    {{ adapter.dispatch('type_timestamptz')() }}
{%- endmacro %}

{% macro default__type_timestamptz() -%}
    timestamptz
{%- endmacro %}

{% macro spark__type_timestamptz() -%}
    timestamp_ltz
{%- endmacro %}

{#- Contracts and unit tests use the words of declarations; Spark has other words for some. -#}
{% macro spark__cast(expression, data_type) -%}
    cast({{ expression }} as {{ spark_type(data_type) }})
{%- endmacro %}

{% macro spark_type(data_type) -%}
    {%- set words = {
        'text': 'string',
        'varchar': 'string',
        'timestamp': 'timestamp_ntz',
        'timestamptz': type_timestamptz(),
        'timestamp with time zone': type_timestamptz(),
    } -%}
    {{- words.get(data_type | lower | trim, data_type) -}}
{%- endmacro %}

{#- dbt's own makes an instant of every date and timestamp, and drops parts of a second. -#}
{% macro spark__dateadd(datepart, interval, from_date_or_timestamp) -%}
    timestampadd({{ datepart }}, {{ interval }}, {{ from_date_or_timestamp }})
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

{#- 1 for Monday to 7 for Sunday. -#}
{% macro day_of_week(date) -%}
    {{ adapter.dispatch('day_of_week')(date) }}
{%- endmacro %}

{% macro default__day_of_week(date) -%}
    cast(isodow({{ date }}) as integer)
{%- endmacro %}

{% macro spark__day_of_week(date) -%}
    cast(extract(dayofweek_iso from {{ date }}) as integer)
{%- endmacro %}

{% macro snowflake__day_of_week(date) -%}
    cast(dayofweekiso({{ date }}) as integer)
{%- endmacro %}
