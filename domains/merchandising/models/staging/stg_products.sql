with

newest_events as (

    select * from {{ newest_per_key(source('merchandising_raw', 'products')) }}

),

renamed as (

    select
        product_id,
        manufacturer_id,
        department,
        brand,
        product_category,
        product_type,
        package_size

    from newest_events

)

select * from renamed
