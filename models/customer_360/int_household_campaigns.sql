with

received as (

    select
        household_id,
        count(*) as campaigns_received

    from {{ ref('stg_marketing__campaign_audience') }}

    group by household_id

),

redeemed as (

    select
        household_id,
        count(distinct campaign_id) as campaigns_redeemed,
        count(*) as coupons_redeemed

    from {{ ref('stg_marketing__coupon_redemptions') }}

    group by household_id

)

select
    coalesce(received.household_id, redeemed.household_id) as household_id,
    coalesce(received.campaigns_received, 0) as campaigns_received,
    coalesce(redeemed.campaigns_redeemed, 0) as campaigns_redeemed,
    coalesce(redeemed.coupons_redeemed, 0) as coupons_redeemed

from received

full outer join redeemed
    on received.household_id = redeemed.household_id
