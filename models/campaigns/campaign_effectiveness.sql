with

campaigns as (

    select
        campaign_id,
        campaign_type,
        start_date,
        end_date,
        duration_days

    from {{ ref('stg_marketing__campaigns') }}

),

reach as (

    select
        campaign_id,
        reach,
        redeeming_households,
        redemptions,
        comparison_households

    from {{ ref('int_campaign_reach') }}

),

before_sales as (

    select
        campaign_id,
        days_with_data,
        is_cut,
        audience_sales_value,
        comparison_sales_value,
        audience_daily_sales_value,
        comparison_daily_sales_value

    from {{ ref('int_campaign_sales') }}

    where period = 'before'

),

during_sales as (

    select
        campaign_id,
        days_with_data,
        is_cut,
        audience_sales_value,
        comparison_sales_value,
        audience_daily_sales_value,
        comparison_daily_sales_value

    from {{ ref('int_campaign_sales') }}

    where period = 'during'

),

after_sales as (

    select
        campaign_id,
        days_with_data,
        is_cut,
        audience_sales_value,
        comparison_sales_value,
        audience_daily_sales_value,
        comparison_daily_sales_value

    from {{ ref('int_campaign_sales') }}

    where period = 'after'

),

final as (

    select
        cast(campaigns.campaign_id as bigint) as campaign_id,
        cast(campaigns.campaign_type as string) as campaign_type,
        cast(campaigns.start_date as date) as start_date,
        cast(campaigns.end_date as date) as end_date,
        cast(campaigns.duration_days as integer) as duration_days,
        ---------- households
        cast(reach.reach as bigint) as reach,
        cast(reach.redeeming_households as bigint) as redeeming_households,
        cast(reach.redemptions as bigint) as redemptions,
        cast({{ ratio('reach.redeeming_households', 'reach.reach') }} as decimal(9, 6))
            as redemption_rate,
        cast(reach.comparison_households as bigint) as comparison_households,
        ---------- before
        cast(before_sales.days_with_data as integer) as days_before,
        cast(before_sales.is_cut as boolean) as is_cut_before,
        cast(before_sales.audience_sales_value as decimal(18, 2))
            as audience_sales_value_before,
        cast(before_sales.comparison_sales_value as decimal(18, 2))
            as comparison_sales_value_before,
        cast(before_sales.audience_daily_sales_value as decimal(12, 4))
            as audience_daily_sales_value_before,
        cast(before_sales.comparison_daily_sales_value as decimal(12, 4))
            as comparison_daily_sales_value_before,
        ---------- during
        cast(during_sales.days_with_data as integer) as days_during,
        cast(during_sales.is_cut as boolean) as is_cut_during,
        cast(during_sales.audience_sales_value as decimal(18, 2))
            as audience_sales_value_during,
        cast(during_sales.comparison_sales_value as decimal(18, 2))
            as comparison_sales_value_during,
        cast(during_sales.audience_daily_sales_value as decimal(12, 4))
            as audience_daily_sales_value_during,
        cast(during_sales.comparison_daily_sales_value as decimal(12, 4))
            as comparison_daily_sales_value_during,
        ---------- after
        cast(after_sales.days_with_data as integer) as days_after,
        cast(after_sales.is_cut as boolean) as is_cut_after,
        cast(after_sales.audience_sales_value as decimal(18, 2))
            as audience_sales_value_after,
        cast(after_sales.comparison_sales_value as decimal(18, 2))
            as comparison_sales_value_after,
        cast(after_sales.audience_daily_sales_value as decimal(12, 4))
            as audience_daily_sales_value_after,
        cast(after_sales.comparison_daily_sales_value as decimal(12, 4))
            as comparison_daily_sales_value_after,
        ---------- change of the audience beyond the change of the comparison households
        cast(
            during_sales.audience_daily_sales_value - before_sales.audience_daily_sales_value
            - during_sales.comparison_daily_sales_value + before_sales.comparison_daily_sales_value
            as decimal(12, 4)
        ) as daily_sales_value_uplift

    from campaigns

    inner join reach
        on campaigns.campaign_id = reach.campaign_id

    inner join before_sales
        on campaigns.campaign_id = before_sales.campaign_id

    inner join during_sales
        on campaigns.campaign_id = during_sales.campaign_id

    inner join after_sales
        on campaigns.campaign_id = after_sales.campaign_id

)

select
    campaign_id,
    campaign_type,
    start_date,
    end_date,
    duration_days,
    reach,
    redeeming_households,
    redemptions,
    redemption_rate,
    comparison_households,
    days_before,
    is_cut_before,
    audience_sales_value_before,
    comparison_sales_value_before,
    audience_daily_sales_value_before,
    comparison_daily_sales_value_before,
    days_during,
    is_cut_during,
    audience_sales_value_during,
    comparison_sales_value_during,
    audience_daily_sales_value_during,
    comparison_daily_sales_value_during,
    days_after,
    is_cut_after,
    audience_sales_value_after,
    comparison_sales_value_after,
    audience_daily_sales_value_after,
    comparison_daily_sales_value_after,
    daily_sales_value_uplift

from final
