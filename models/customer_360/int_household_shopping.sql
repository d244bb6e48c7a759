with

orders as (

    select * from {{ ref('stg_sales__orders') }}

),

newest_order as (

    -- Recency counts from the newest day in the data, so the same data gives the same result.
    select max(order_date) as newest_order_date from orders

),

orders_by_household as (

    select
        household_id,
        min(order_date) as first_order_date,
        max(order_date) as last_order_date,
        count(*) as orders,
        sum(sales_value) as sales_value

    from orders

    group by household_id

)

select
    orders_by_household.household_id,
    orders_by_household.first_order_date,
    orders_by_household.last_order_date,
    {{ days_between('orders_by_household.last_order_date', 'newest_order.newest_order_date') }}
        as recency_days,
    orders_by_household.orders,
    orders_by_household.sales_value,
    cast(
        {{ ratio('orders_by_household.sales_value', 'orders_by_household.orders') }}
        as decimal(12, 2)
    ) as average_basket_value

from orders_by_household

cross join newest_order
