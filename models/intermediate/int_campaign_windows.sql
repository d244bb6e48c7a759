with

campaigns as (

    select * from {{ ref('stg_marketing__campaigns') }}

),

orders as (

    select * from {{ ref('stg_sales__orders') }}

),

data_bounds as (

    select
        min(order_date) as first_data_date,
        max(order_date) as last_data_date

    from orders

),

windows as (

    select
        campaign_id,
        'before' as period,
        {{ add_days('start_date', '-duration_days') }} as window_start_date,
        {{ add_days('start_date', '-1') }} as window_end_date

    from campaigns

    union all

    select
        campaign_id,
        'during' as period,
        start_date as window_start_date,
        end_date as window_end_date

    from campaigns

    union all

    select
        campaign_id,
        'after' as period,
        {{ add_days('end_date', '1') }} as window_start_date,
        {{ add_days('end_date', 'duration_days') }} as window_end_date

    from campaigns

),

final as (

    select
        windows.campaign_id,
        windows.period,
        cast(windows.window_start_date as date) as window_start_date,
        cast(windows.window_end_date as date) as window_end_date,
        cast(
            greatest(
                0,
                coalesce(
                    1 + {{ days_between(
                        larger_of('windows.window_start_date', 'data_bounds.first_data_date'),
                        smaller_of('windows.window_end_date', 'data_bounds.last_data_date'),
                    ) }},
                    0
                )
            ) as integer
        ) as days_with_data,
        cast(
            windows.window_start_date < data_bounds.first_data_date
            or windows.window_end_date > data_bounds.last_data_date as boolean
        ) as is_cut

    from windows

    cross join data_bounds

)

select * from final
