{#- The last event of each key of a changelog, without keys whose last event is a deletion.
    `last_event_per_key` defines which event is the last. -#}
{% macro newest_per_key(relation, position=none) -%}
{%- if position -%}
    {#- The position in the source's log decides, such as Debezium's `__position`; an event without
        one, such as a tombstone, is the oldest. Offsets decide between equal positions. -#}
    (
        select *
        from (
            select
                *,
                row_number() over (
                    partition by _key
                    order by {{ position }} desc nulls last, _timestamp desc nulls last, _offset desc
                ) as _recency
            from {{ relation }}
        ) as placed
        where _recency = 1 and not _tombstone
    )
{%- else -%}
    (
        select *
        from {{ last_event_per_key(
            relation, ['_key'], '_topic_partition', '_offset', '_timestamp', '_landed_at'
        ) }} as events
        where not _tombstone
    )
{%- endif -%}
{%- endmacro %}
