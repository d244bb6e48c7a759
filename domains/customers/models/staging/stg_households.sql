with

newest_events as (

    select * from {{ newest_per_key(source('customers_raw', 'households')) }}

),

renamed as (

    select
        household_id,
        age,
        income,
        home_ownership,
        marital_status,
        household_size,
        household_comp,
        kids_count

    from newest_events

)

select * from renamed
