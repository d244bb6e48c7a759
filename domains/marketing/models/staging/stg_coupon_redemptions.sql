with

redemptions as (

    select * from {{ source('marketing_raw', 'coupon_redemptions') }}

),

each_once as (

    select distinct
        cast(household_id as bigint) as household_id,
        cast(coupon_upc as bigint) as coupon_upc,
        cast(campaign_id as bigint) as campaign_id,
        cast(redemption_date as date) as redemption_date

    from redemptions

)

select * from each_once
