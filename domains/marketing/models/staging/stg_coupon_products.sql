with

coupons as (

    select * from {{ source('marketing_raw', 'coupons') }}

),

each_once as (

    select distinct
        cast(campaign_id as bigint) as campaign_id,
        cast(coupon_upc as bigint) as coupon_upc,
        cast(product_id as bigint) as product_id

    from coupons

)

select * from each_once
