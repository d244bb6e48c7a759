with

-- A topic may hold an event twice, so the last event of each order counts.
orders as (

    select * from {{ last_event_per_key(
        source('shop_raw', 'orders'), ['order_id'], '_topic_partition', '_offset', '_timestamp', '_landed_at'
    ) }} as events

)

select
    order_id,
    customer_id,
    drink,
    quantity,
    amount,
    ordered_at,
    _landed_at as landed_at

from orders
