with

windows as (

    select * from {{ ref('int_campaign_windows') }}

),

reach as (

    select * from {{ ref('int_campaign_reach') }}

),

audience as (

    select * from {{ ref('stg_marketing__campaign_audience') }}

),

household_days as (

    select
        household_id,
        order_date,
        sum(sales_value) as sales_value

    from {{ ref('stg_sales__orders') }}

    group by household_id, order_date

),

days as (

    select
        order_date,
        sum(sales_value) as sales_value

    from household_days

    group by order_date

),

everybody_in_window as (

    select
        windows.campaign_id,
        windows.period,
        sum(days.sales_value) as sales_value

    from windows

    inner join days
        on days.order_date between windows.window_start_date and windows.window_end_date

    group by windows.campaign_id, windows.period

),

audience_in_window as (

    select
        windows.campaign_id,
        windows.period,
        sum(household_days.sales_value) as sales_value

    from windows

    inner join audience
        on windows.campaign_id = audience.campaign_id

    inner join household_days
        on audience.household_id = household_days.household_id
        and household_days.order_date between windows.window_start_date and windows.window_end_date

    group by windows.campaign_id, windows.period

),

both_groups as (

    -- The comparison households are all shoppers outside the audience. Subtracting the
    -- audience from everybody avoids a second, much larger join.
    select
        windows.campaign_id,
        windows.period,
        windows.days_with_data,
        windows.is_cut,
        coalesce(audience_in_window.sales_value, 0) as audience_sales_value,
        coalesce(everybody_in_window.sales_value, 0) - coalesce(audience_in_window.sales_value, 0)
            as comparison_sales_value

    from windows

    left join everybody_in_window
        on windows.campaign_id = everybody_in_window.campaign_id
        and windows.period = everybody_in_window.period

    left join audience_in_window
        on windows.campaign_id = audience_in_window.campaign_id
        and windows.period = audience_in_window.period

),

final as (

    select
        both_groups.campaign_id,
        both_groups.period,
        both_groups.days_with_data,
        both_groups.is_cut,
        cast(both_groups.audience_sales_value as decimal(18, 2)) as audience_sales_value,
        cast(both_groups.comparison_sales_value as decimal(18, 2)) as comparison_sales_value,
        cast(
            {{ ratio(
                'both_groups.audience_sales_value',
                'reach.reach * both_groups.days_with_data',
            ) }} as decimal(12, 4)
        ) as audience_daily_sales_value,
        cast(
            {{ ratio(
                'both_groups.comparison_sales_value',
                'reach.comparison_households * both_groups.days_with_data',
            ) }} as decimal(12, 4)
        ) as comparison_daily_sales_value

    from both_groups

    inner join reach
        on both_groups.campaign_id = reach.campaign_id

)

select * from final
