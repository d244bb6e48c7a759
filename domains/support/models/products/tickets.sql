with

events as (

    select
        ticket_id,
        household_id,
        status,
        topic,
        priority,
        satisfaction,
        event_at,
        -- Two steps may have the same time; then the later step of the lifecycle is newer.
        case status when 'opened' then 1 when 'answered' then 2 when 'closed' then 3 end as step

    from {{ ref('stg_ticket_events') }}

),

messages as (

    select ticket_id

    from {{ ref('stg_messages') }}

    where ticket_id is not null

),

events_newest_first as (

    select
        ticket_id,
        household_id,
        status,
        topic,
        priority,
        satisfaction,
        event_at,
        row_number() over (
            partition by ticket_id
            -- Targets sort nulls differently by default, so state the order.
            order by
                event_at desc,
                step desc nulls last,
                topic asc nulls last,
                priority asc nulls last,
                satisfaction desc nulls last
        ) as position

    from events

),

newest_events as (

    select
        ticket_id,
        household_id,
        status,
        topic,
        priority,
        satisfaction,
        event_at

    from events_newest_first

    where position = 1

),

milestones as (

    select
        ticket_id,
        min(case when status = 'opened' then event_at end) as opened_at,
        min(case when status = 'answered' then event_at end) as first_answered_at

    from events

    group by ticket_id

),

messages_counted as (

    select
        ticket_id,
        count(*) as messages

    from messages

    group by ticket_id

),

lifecycles as (

    select
        newest_events.ticket_id,
        newest_events.household_id,
        newest_events.topic,
        newest_events.priority,
        newest_events.status,
        newest_events.satisfaction,
        milestones.opened_at,
        milestones.first_answered_at,
        -- A reopened ticket is not closed.
        case when newest_events.status = 'closed' then newest_events.event_at end as closed_at,
        newest_events.event_at as updated_at,
        coalesce(messages_counted.messages, 0) as messages

    from newest_events

    inner join milestones
        on newest_events.ticket_id = milestones.ticket_id

    left join messages_counted
        on newest_events.ticket_id = messages_counted.ticket_id

)

select
    cast(ticket_id as bigint) as ticket_id,
    cast(household_id as bigint) as household_id,
    cast(topic as string) as topic,
    cast(priority as string) as priority,
    cast(status as string) as status,
    cast(opened_at as {{ type_timestamptz() }}) as opened_at,
    cast(first_answered_at as {{ type_timestamptz() }}) as first_answered_at,
    cast(closed_at as {{ type_timestamptz() }}) as closed_at,
    cast(updated_at as {{ type_timestamptz() }}) as updated_at,
    cast({{ ratio(seconds_between('opened_at', 'closed_at'), 3600) }} as decimal(12, 2))
        as hours_to_close,
    cast(satisfaction as integer) as satisfaction,
    cast(messages as bigint) as messages

from lifecycles
