{#- The newest event of each key of a changelog; a key whose newest event is a deletion is
    gone. Offsets settle what happened at the same time; an event without a time is the oldest. -#}
{% macro newest_per_key(relation) -%}
    (
        select *
        from (
            select
                *,
                row_number() over (
                    partition by _key
                    order by _timestamp desc nulls last, _topic_partition desc, _offset desc
                ) as _recency
            from {{ relation }}
        ) as events
        where _recency = 1 and not _tombstone
    )
{%- endmacro %}
