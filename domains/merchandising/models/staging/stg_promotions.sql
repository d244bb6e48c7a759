with

promotions as (

    select * from {{ source('merchandising_raw', 'promotions') }}

),

renamed as (

    select
        product_id,
        store_id,
        week,
        display_location as display_location_code,
        mailer_location as mailer_location_code,
        _landed_at as landed_at

    from promotions

)

select * from renamed
