{{ config(
    materialized='incremental', incremental_strategy=replace_rows_strategy(),
    unique_key='basket_id', on_schema_change='fail',
) }}

with

-- A late line changes the totals of its order, so all lines of its basket are added up again.
lines_to_count as (

    select * from {{ ref('order_lines') }}

    {% if is_incremental() %}
        where basket_id in (
            select late.basket_id from {{ ref('order_lines') }} as late
            where {{ landed_since_last_build() }}
        )
    {% endif %}

)

select
    cast(basket_id as bigint) as basket_id,
    cast(min(household_id) as bigint) as household_id,
    cast(min(store_id) as bigint) as store_id,
    cast(min(ordered_at) as {{ type_timestamptz() }}) as ordered_at,
    cast(min(order_date) as date) as order_date,
    cast(count(*) as bigint) as lines,
    cast(sum(quantity) as bigint) as units,
    cast(sum(sales_value) as decimal(18, 2)) as sales_value,
    cast(sum(retail_discount) as decimal(18, 2)) as retail_discount,
    cast(sum(coupon_discount) as decimal(18, 2)) as coupon_discount,
    cast(sum(coupon_match_discount) as decimal(18, 2)) as coupon_match_discount,
    cast(max(landed_at) as {{ type_timestamptz() }}) as landed_at

from lines_to_count

group by basket_id
