with

campaigns as (

    select * from {{ ref('stg_marketing__campaigns') }}

),

audience as (

    select * from {{ ref('stg_marketing__campaign_audience') }}

),

redemptions as (

    select * from {{ ref('stg_marketing__coupon_redemptions') }}

),

shoppers as (

    select distinct household_id from {{ ref('stg_sales__orders') }}

),

shoppers_counted as (

    select count(*) as shoppers from shoppers

),

audience_counted as (

    select
        audience.campaign_id,
        count(*) as reach,
        count(shoppers.household_id) as reached_shoppers

    from audience

    left join shoppers
        on audience.household_id = shoppers.household_id

    group by audience.campaign_id

),

redemptions_counted as (

    -- Only redemptions by the audience, so that the redemption rate is at most 1.
    select
        redemptions.campaign_id,
        count(distinct redemptions.household_id) as redeeming_households,
        count(*) as redemptions

    from redemptions

    inner join audience
        on redemptions.campaign_id = audience.campaign_id
        and redemptions.household_id = audience.household_id

    group by redemptions.campaign_id

),

final as (

    select
        campaigns.campaign_id,
        coalesce(audience_counted.reach, 0) as reach,
        coalesce(redemptions_counted.redeeming_households, 0) as redeeming_households,
        coalesce(redemptions_counted.redemptions, 0) as redemptions,
        shoppers_counted.shoppers - coalesce(audience_counted.reached_shoppers, 0)
            as comparison_households

    from campaigns

    cross join shoppers_counted

    left join audience_counted
        on campaigns.campaign_id = audience_counted.campaign_id

    left join redemptions_counted
        on campaigns.campaign_id = redemptions_counted.campaign_id

)

select * from final
