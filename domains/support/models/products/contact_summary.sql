with

tickets as (

    select
        household_id,
        status,
        opened_at,
        satisfaction

    from {{ ref('tickets') }}

),

messages as (

    select
        household_id,
        author,
        sent_at

    from {{ ref('stg_messages') }}

),

ticket_summary as (

    select
        household_id,
        count(*) as tickets,
        sum(case when status <> 'closed' then 1 else 0 end) as open_tickets,
        sum(satisfaction) as satisfaction_total,
        count(satisfaction) as satisfaction_answers,
        max(opened_at) as last_opened_at

    from tickets

    group by household_id

),

message_summary as (

    select
        household_id,
        count(*) as messages,
        max(case when author = 'customer' then sent_at end) as last_written_at

    from messages

    group by household_id

),

households as (

    select household_id from ticket_summary
    union distinct
    select household_id from message_summary

)

select
    cast(households.household_id as bigint) as household_id,
    cast(coalesce(ticket_summary.tickets, 0) as bigint) as tickets,
    cast(coalesce(ticket_summary.open_tickets, 0) as bigint) as open_tickets,
    cast(coalesce(message_summary.messages, 0) as bigint) as messages,
    -- An agent's message is not a contact by the household. On some engines greatest() is
    -- null if one argument is null.
    cast(
        coalesce(
            greatest(ticket_summary.last_opened_at, message_summary.last_written_at),
            ticket_summary.last_opened_at,
            message_summary.last_written_at
        ) as {{ type_timestamptz() }}
    ) as last_contact_at,
    cast(
        {{ ratio('ticket_summary.satisfaction_total', 'ticket_summary.satisfaction_answers') }}
        as decimal(4, 2)
    ) as average_satisfaction

from households

left join ticket_summary
    on households.household_id = ticket_summary.household_id

left join message_summary
    on households.household_id = message_summary.household_id
