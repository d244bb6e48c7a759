select
    cast(product_id as bigint) as product_id,
    cast(manufacturer_id as bigint) as manufacturer_id,
    cast(department as string) as department,
    cast(brand as string) as brand,
    cast(product_category as string) as product_category,
    cast(product_type as string) as product_type,
    cast(package_size as string) as package_size

from {{ ref('stg_products') }}
