select
    cast(campaign_id as bigint) as campaign_id,
    cast(household_id as bigint) as household_id

from {{ ref('stg_campaign_audience') }}
