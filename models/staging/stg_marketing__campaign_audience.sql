select
    campaign_id,
    household_id

from {{ ref('marketing', 'campaign_audience') }}
