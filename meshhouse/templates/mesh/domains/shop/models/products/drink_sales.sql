select
    cast(drink as {{ dbt.type_string() }}) as drink,
    cast(count(*) as bigint) as orders,
    cast(sum(quantity) as bigint) as quantity,
    cast(sum(amount) as decimal(18, 2)) as sales_value,
    cast(max(ordered_at) as {{ type_timestamptz() }}) as last_ordered_at

from {{ ref('stg_orders') }}

group by drink
