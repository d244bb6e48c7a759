{#- How an incremental model replaces rows of the same key, wherever it runs. -#}
{% macro replace_rows_strategy() -%}
    {{ return('merge' if target.type in ('snowflake', 'spark') else 'delete+insert') }}
{%- endmacro %}

{#- Keeps rows that landed since `this` was last built. Landing times only grow, whatever
    an event's own time is, so that late events are among them. Where rows changed or went
    instead (`mesh land --again-from`, `mesh rejected replay`), the next run builds the model
    from nothing. -#}
{% macro landed_since_last_build(landed_at='landed_at') -%}
    {{ landed_at }} > (
        select coalesce(max(landed_at), cast('1970-01-01 00:00:00+00' as {{ type_timestamptz() }}))
        from {{ this }}
    )
{%- endmacro %}

{#- The last event of each key, by its position in the topic and not by when it landed: a
    rejected event that is replayed lands late and is older than what landed before it.

    In a partition the offset decides, whatever the producers' clocks said. A key lives in
    one partition. Where it moved, because partitions were added, the last event of each of
    its partitions is compared: the newest time decides, and an event without a time is the
    oldest; then the one that landed later; then the greater partition number. -#}
{% macro last_event_per_key(
    relation,
    keys,
    partition='event_partition',
    offset='event_offset',
    time='event_at',
    landed_at='landed_at'
) -%}
    (
        select *
        from (
            select
                *,
                row_number() over (
                    partition by {{ keys | join(', ') }}
                    order by {{ time }} desc nulls last, {{ landed_at }} desc, {{ partition }} desc
                ) as _recency
            from (
                select
                    *,
                    row_number() over (
                        partition by {{ keys | join(', ') }}, {{ partition }}
                        order by {{ offset }} desc, {{ landed_at }} desc
                    ) as _place_in_partition
                from {{ relation }}
            ) as placed
            where _place_in_partition = 1
        ) as compared
        where _recency = 1
    )
{%- endmacro %}
