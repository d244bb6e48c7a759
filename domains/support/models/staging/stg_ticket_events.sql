with

events as (

    select * from {{ source('support_raw', 'tickets') }}

),

each_once as (

    select distinct
        ---------- ids
        cast(ticket_id as bigint) as ticket_id,
        cast(household_id as bigint) as household_id,
        ---------- text
        cast(status as string) as status,
        cast(topic as string) as topic,
        cast(priority as string) as priority,
        ---------- numbers
        cast(satisfaction as integer) as satisfaction,
        ---------- times
        cast(event_at as {{ type_timestamptz() }}) as event_at

    from events

)

select * from each_once
