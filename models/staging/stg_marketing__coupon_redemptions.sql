select
    household_id,
    coupon_upc,
    campaign_id,
    redemption_date

from {{ ref('marketing', 'coupon_redemptions') }}
