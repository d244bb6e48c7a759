{#- The type of a timestamp with time zone, that is of an instant. -#}
{% macro type_timestamptz() -%}
    {{ adapter.dispatch('type_timestamptz')() }}
{%- endmacro %}

{% macro default__type_timestamptz() -%}
    timestamptz
{%- endmacro %}

{% macro spark__type_timestamptz() -%}
    timestamp_ltz
{%- endmacro %}

{#- Contracts and unit tests use the type names of declarations; Spark has other names for some. -#}
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

{#- dbt's own macro converts every date and timestamp to an instant, and drops fractions of a
    second. -#}
{% macro spark__dateadd(datepart, interval, from_date_or_timestamp) -%}
    timestampadd({{ datepart }}, {{ interval }}, {{ from_date_or_timestamp }})
{%- endmacro %}

{#- The day of the week of a date: 1 for Monday to 7 for Sunday. -#}
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

{#- The date that an instant has in a time zone, such as 'America/New_York'. -#}
{% macro date_in_zone(moment, zone) -%}
    {{ adapter.dispatch('date_in_zone')(moment, zone) }}
{%- endmacro %}

{% macro default__date_in_zone(moment, zone) -%}
    cast(timezone('{{ zone }}', {{ moment }}) as date)
{%- endmacro %}

{% macro spark__date_in_zone(moment, zone) -%}
    to_date(from_utc_timestamp({{ moment }}, '{{ zone }}'))
{%- endmacro %}

{% macro snowflake__date_in_zone(moment, zone) -%}
    cast(convert_timezone('{{ zone }}', {{ moment }}) as date)
{%- endmacro %}
