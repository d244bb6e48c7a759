{#- Days from one date to another, as an integer; negative where the second is earlier. -#}
{% macro days_between(first_date, last_date) -%}
    {{ adapter.dispatch('days_between')(first_date, last_date) }}
{%- endmacro %}

{% macro default__days_between(first_date, last_date) -%}
    datediff('day', {{ first_date }}, {{ last_date }})
{%- endmacro %}

{% macro spark__days_between(first_date, last_date) -%}
    datediff({{ last_date }}, {{ first_date }})
{%- endmacro %}

{#- A date some days (an integer, or an expression of that type) after another. -#}
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

{#- Seconds from one moment to another, parts of a second cut off from both. -#}
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

{#- A quotient, null where there is nothing to divide by; cast it to a decimal of at most 8
    digits behind the point. DuckDB has no division of decimals, and Spark's and Snowflake's
    round at different places: so all divide doubles, once, and only in an average or a rate,
    never in a sum. The billionth lifts what should lie exactly between two decimals, and as
    a double does not, to the same side on all of them. -#}
{% macro ratio(numerator, denominator) -%}
    (cast({{ numerator }} as double) / nullif(cast({{ denominator }} as double), 0) + 1e-9)
{%- endmacro %}

{#- The larger of two values; the other one where one is null. greatest() is null there on
    Snowflake. -#}
{% macro larger_of(first, second) -%}
    (case when {{ second }} is null or {{ first }} >= {{ second }} then {{ first }} else {{ second }} end)
{%- endmacro %}

{#- The smaller of two values; the other one where one is null. -#}
{% macro smaller_of(first, second) -%}
    (case when {{ second }} is null or {{ first }} <= {{ second }} then {{ first }} else {{ second }} end)
{%- endmacro %}
