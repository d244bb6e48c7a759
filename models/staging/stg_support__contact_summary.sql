select
    household_id,
    tickets,
    open_tickets,
    messages,
    last_contact_at,
    average_satisfaction

from {{ ref('support', 'contact_summary') }}
