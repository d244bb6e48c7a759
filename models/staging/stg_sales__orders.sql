select
    basket_id,
    household_id,
    order_date,
    sales_value

from {{ ref('sales', 'orders') }}
