{#- The last event of each key of a changelog, without keys whose last event is a deletion.
    `last_event_per_key` defines which event is the last. -#}
{% macro newest_per_key(relation) -%}
    (
        select *
        from {{ last_event_per_key(
            relation, ['_key'], '_topic_partition', '_offset', '_timestamp', '_landed_at'
        ) }} as events
        where not _tombstone
    )
{%- endmacro %}
