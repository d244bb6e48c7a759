{{
    config(
        materialized='incremental',
        incremental_strategy=replace_rows_strategy(),
        unique_key=['product_id', 'store_id', 'week', 'display_location_code', 'mailer_location_code'],
        on_schema_change='fail',
    )
}}

with

new_events as (

    select * from {{ ref('stg_promotions') }}

    {% if is_incremental() %}
        where {{ landed_since_last_build() }}
    {% endif %}

),

-- The same promotion may be sent more than once; keep one.
promotions as (

    select
        product_id,
        store_id,
        week,
        display_location_code,
        mailer_location_code,
        max(landed_at) as landed_at

    from new_events

    group by product_id, store_id, week, display_location_code, mailer_location_code

)

select
    cast(product_id as bigint) as product_id,
    cast(store_id as bigint) as store_id,
    cast(week as integer) as week,
    -- Weeks start on Monday. Week 1 has one day with data: Sunday, 1 January 2017.
    cast({{ add_days("cast('2016-12-26' as date)", '7 * (cast(week as integer) - 1)') }} as date)
        as week_start_date,
    cast(display_location_code as string) as display_location_code,
    cast(
        case display_location_code
            when '0' then 'not on display'
            when '1' then 'store front'
            when '2' then 'store rear'
            when '3' then 'front end cap'
            when '4' then 'mid-aisle end cap'
            when '5' then 'rear end cap'
            when '6' then 'side aisle end cap'
            when '7' then 'in-aisle'
            when '9' then 'secondary location display'
            when 'A' then 'in-shelf'
            else 'unknown'
        end as string
    ) as display_location,
    cast(mailer_location_code as string) as mailer_location_code,
    cast(
        case mailer_location_code
            when '0' then 'not on ad'
            when 'A' then 'interior page feature'
            when 'C' then 'interior page line item'
            when 'D' then 'front page feature'
            when 'F' then 'back page feature'
            when 'H' then 'wrap front feature'
            when 'J' then 'wrap interior coupon'
            when 'L' then 'wrap back feature'
            when 'P' then 'interior page coupon'
            when 'X' then 'free on interior page'
            when 'Z' then 'free on front page, back page or wrap'
            else 'unknown'
        end as string
    ) as mailer_location,
    cast(landed_at as {{ type_timestamptz() }}) as landed_at

from promotions
