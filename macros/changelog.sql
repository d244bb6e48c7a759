{#- The last event of each key of a changelog; a key whose last event is a deletion is gone.

    In a partition the offset decides, whatever the producers' clocks said. A key lives in
    one partition. Where it moved, because partitions were added, the last event of each of
    its partitions is compared: the newest time decides, and an event without a time is the
    oldest; then the one that landed later; then the greater partition number. -#}
{% macro newest_per_key(relation) -%}
    (
        select *
        from (
            select
                *,
                row_number() over (
                    partition by _key
                    order by _timestamp desc nulls last, _landed_at desc, _topic_partition desc
                ) as _recency
            from (
                select
                    *,
                    row_number() over (
                        partition by _key, _topic_partition
                        order by _offset desc, _landed_at desc
                    ) as _place_in_partition
                from {{ relation }}
            ) as placed
            where _place_in_partition = 1
        ) as events
        where _recency = 1 and not _tombstone
    )
{%- endmacro %}
