with

transactions as (

    select * from {{ source('sales_raw', 'transactions') }}

),

renamed as (

    select
        basket_id,
        product_id,
        household_id,
        store_id,
        quantity,
        sales_value,
        coalesce(retail_disc, 0) as retail_discount,
        coalesce(coupon_disc, 0) as coupon_discount,
        coalesce(coupon_match_disc, 0) as coupon_match_discount,
        transaction_timestamp as ordered_at,
        -- Stores close their books at midnight in New York.
        {{ date_in_zone('transaction_timestamp', 'America/New_York') }} as order_date,
        _timestamp as event_at,
        _landed_at as landed_at,
        _topic_partition as event_partition,
        _offset as event_offset

    from transactions

)

select * from renamed
