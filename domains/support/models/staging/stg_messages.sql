with

events as (

    select * from {{ source('support_raw', 'chats') }}

),

each_once as (

    -- A message has no number of its own: what is equal in everything came twice.
    select distinct
        ---------- ids
        cast(chat_id as bigint) as chat_id,
        cast(household_id as bigint) as household_id,
        cast(ticket_id as bigint) as ticket_id,
        ---------- text
        cast(channel as string) as channel,
        cast(author as string) as author,
        cast(message as string) as message,
        ---------- times
        cast(sent_at as {{ type_timestamptz() }}) as sent_at

    from events

)

select * from each_once
