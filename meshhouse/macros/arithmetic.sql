{#- Days from one date to another, as an integer; negative if the second date is earlier. -#}
{% macro days_between(first_date, last_date) -%}
    {{ adapter.dispatch('days_between')(first_date, last_date) }}
{%- endmacro %}

{% macro default__days_between(first_date, last_date) -%}
    datediff('day', {{ first_date }}, {{ last_date }})
{%- endmacro %}

{% macro spark__days_between(first_date, last_date) -%}
    datediff({{ last_date }}, {{ first_date }})
{%- endmacro %}

{#- The date that is `days` after another; `days` is an integer expression. -#}
{% macro add_days(date, days) -%}
    {{ adapter.dispatch('add_days')(date, days) }}
{%- endmacro %}

{% macro default__add_days(date, days) -%}
    ({{ date }} + ({{ days }}))
{%- endmacro %}

{% macro spark__add_days(date, days) -%}
    date_add({{ date }}, {{ days }})
{%- endmacro %}

{% macro snowflake__add_days(date, days) -%}
    dateadd(day, {{ days }}, {{ date }})
{%- endmacro %}

{#- Whole seconds from one timestamp to another; both are truncated to the second first. -#}
{% macro seconds_between(first_moment, last_moment) -%}
    {{ adapter.dispatch('seconds_between')(first_moment, last_moment) }}
{%- endmacro %}

{% macro default__seconds_between(first_moment, last_moment) -%}
    datediff('second', {{ first_moment }}, {{ last_moment }})
{%- endmacro %}

{% macro spark__seconds_between(first_moment, last_moment) -%}
    (
        unix_seconds(cast({{ last_moment }} as timestamp_ltz))
        - unix_seconds(cast({{ first_moment }} as timestamp_ltz))
    )
{%- endmacro %}

{#- A quotient as a double, null if the divisor is 0 or null. Cast it to a decimal with at most 8
    digits after the point. DuckDB does not divide decimals exactly, and Spark and Snowflake round
    such quotients to different digits. So all targets divide doubles. Use it only for averages
    and rates, never in a sum. Adding 1e-9 makes all targets round halves the same way: as a
    double, a value halfway between two decimals may be slightly below or above it. -#}
{% macro ratio(numerator, denominator) -%}
    (cast({{ numerator }} as double) / nullif(cast({{ denominator }} as double), 0) + 1e-9)
{%- endmacro %}

{#- The larger of two values; if one is null, the other one. (Snowflake's greatest() is null then.) -#}
{% macro larger_of(first, second) -%}
    (case when {{ second }} is null or {{ first }} >= {{ second }} then {{ first }} else {{ second }} end)
{%- endmacro %}

{#- The smaller of two values; if one is null, the other one. -#}
{% macro smaller_of(first, second) -%}
    (case when {{ second }} is null or {{ first }} <= {{ second }} then {{ first }} else {{ second }} end)
{%- endmacro %}
