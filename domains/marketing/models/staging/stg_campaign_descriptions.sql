with

newest_descriptions as (

    select * from {{ newest_per_key(source('marketing_raw', 'campaign_descriptions')) }}

),

renamed as (

    select
        cast(campaign_id as bigint) as campaign_id,
        cast(campaign_type as string) as campaign_type,
        cast(start_date as date) as start_date,
        cast(end_date as date) as end_date

    from newest_descriptions

)

select * from renamed
