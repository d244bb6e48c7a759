select
    cast(store_id as bigint) as store_id,
    cast(order_date as date) as order_date,
    cast(count(*) as bigint) as orders,
    cast(count(distinct household_id) as bigint) as households,
    cast(sum(units) as bigint) as units,
    cast(sum(sales_value) as decimal(18, 2)) as sales_value,
    cast(sum(retail_discount) as decimal(18, 2)) as retail_discount,
    cast(sum(coupon_discount) as decimal(18, 2)) as coupon_discount,
    cast(sum(coupon_match_discount) as decimal(18, 2)) as coupon_match_discount

from {{ ref('orders') }}

group by store_id, order_date
