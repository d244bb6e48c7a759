with

descriptions as (

    select
        campaign_id,
        campaign_type,
        start_date,
        end_date

    from {{ ref('stg_campaign_descriptions') }}

),

coupon_products as (

    select
        campaign_id,
        coupon_upc,
        product_id

    from {{ ref('stg_coupon_products') }}

),

coupons_counted as (

    select
        campaign_id,
        count(distinct coupon_upc) as coupons,
        count(distinct product_id) as products

    from coupon_products

    group by campaign_id

)

select
    cast(descriptions.campaign_id as bigint) as campaign_id,
    cast(descriptions.campaign_type as string) as campaign_type,
    cast(descriptions.start_date as date) as start_date,
    cast(descriptions.end_date as date) as end_date,
    -- The last day is a day of the campaign too.
    cast({{ days_between('descriptions.start_date', 'descriptions.end_date') }} + 1 as integer)
        as duration_days,
    cast(coalesce(coupons_counted.coupons, 0) as bigint) as coupons,
    cast(coalesce(coupons_counted.products, 0) as bigint) as products

from descriptions

left join coupons_counted
    on descriptions.campaign_id = coupons_counted.campaign_id
