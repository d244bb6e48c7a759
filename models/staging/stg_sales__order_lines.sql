select
    household_id,
    product_id

from {{ ref('sales', 'order_lines') }}
