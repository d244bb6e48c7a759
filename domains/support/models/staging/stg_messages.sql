with

events as (

    select * from {{ source('support_raw', 'chats') }}

),

each_once as (

    -- Messages have no id: two events that are equal in every column are one message.
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
