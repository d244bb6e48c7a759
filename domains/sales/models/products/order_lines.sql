{{
    config(
        materialized='incremental',
        incremental_strategy=replace_rows_strategy(),
        unique_key=['basket_id', 'product_id'],
        on_schema_change='fail',
    )
}}

with

transactions as (

    select * from {{ ref('stg_transactions') }}

    {% if is_incremental() %}
        where {{ landed_since_last_build() }}
    {% endif %}

),

last_deliveries as (

    select * from {{ last_event_per_key('transactions', ['basket_id', 'product_id']) }} as events

)

select
    cast(basket_id as bigint) as basket_id,
    cast(product_id as bigint) as product_id,
    cast(household_id as bigint) as household_id,
    cast(store_id as bigint) as store_id,
    cast(quantity as bigint) as quantity,
    cast(sales_value as decimal(12, 2)) as sales_value,
    cast(retail_discount as decimal(12, 2)) as retail_discount,
    cast(coupon_discount as decimal(12, 2)) as coupon_discount,
    cast(coupon_match_discount as decimal(12, 2)) as coupon_match_discount,
    cast(ordered_at as {{ type_timestamptz() }}) as ordered_at,
    cast(order_date as date) as order_date,
    cast(landed_at as {{ type_timestamptz() }}) as landed_at

from last_deliveries
