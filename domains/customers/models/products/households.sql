select
    cast(household_id as bigint) as household_id,
    cast(age as string) as age,
    cast(income as string) as income,
    cast(home_ownership as string) as home_ownership,
    cast(marital_status as string) as marital_status,
    cast(household_size as string) as household_size,
    cast(household_comp as string) as household_comp,
    cast(kids_count as string) as kids_count

from {{ ref('stg_households') }}
