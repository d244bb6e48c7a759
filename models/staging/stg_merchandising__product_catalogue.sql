select
    product_id,
    department,
    product_category,
    product_type

from {{ ref('merchandising', 'product_catalogue') }}
