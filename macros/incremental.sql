{#- How an incremental model replaces rows of the same key, wherever it runs. -#}
{% macro replace_rows_strategy() -%}
    {{ return('merge' if target.type in ('snowflake', 'spark') else 'delete+insert') }}
{%- endmacro %}

{#- Keeps rows that landed since `this` was last built. Landing times only grow, whatever
    an event's own time is, so that late events are among them. -#}
{% macro landed_since_last_build(landed_at='landed_at') -%}
    {{ landed_at }} > (
        select coalesce(max(landed_at), cast('1970-01-01 00:00:00+00' as {{ type_timestamptz() }}))
        from {{ this }}
    )
{%- endmacro %}
