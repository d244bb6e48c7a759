select
    campaign_id,
    campaign_type,
    start_date,
    end_date,
    duration_days

from {{ ref('marketing', 'campaigns') }}
