with

received as (

    select * from {{ source('marketing_raw', 'campaigns') }}

),

each_once as (

    select distinct
        cast(campaign_id as bigint) as campaign_id,
        cast(household_id as bigint) as household_id

    from received

)

select * from each_once
