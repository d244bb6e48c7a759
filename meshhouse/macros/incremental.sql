{#- The incremental strategy that replaces rows of the same key on this target. -#}
{% macro replace_rows_strategy() -%}
    {{ return('merge' if target.type in ('snowflake', 'spark') else 'delete+insert') }}
{%- endmacro %}

{#- A condition that keeps rows that landed since the last build of `this`. Landing times always
    increase, even for events with an old timestamp, so late events are included. If existing
    rows changed or were removed (`mesh land --again-from`, `mesh rejected replay`), the next
    run rebuilds the whole model. -#}
{% macro landed_since_last_build(landed_at='landed_at') -%}
    {{ landed_at }} > (
        select coalesce(max(landed_at), cast('1970-01-01 00:00:00+00' as {{ type_timestamptz() }}))
        from {{ this }}
    )
{%- endmacro %}

{#- The last event of each key, by its position in the topic. Landing time would be wrong: a
    replayed rejected event lands late, but is older than events that landed before it.

    Within a partition the offset decides, regardless of the producers' clocks. Usually a key is
    in one partition. If it moved because partitions were added, the last events of its
    partitions are compared: by event time (an event without a time is the oldest), then by
    landing time, then by partition number. -#}
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
