-- A table: affinity reads it once and recommendations twice, and it is a tenth of the lines.
{{ config(materialized='table') }}

with

order_lines as (

    select * from {{ ref('stg_sales__order_lines') }}

),

catalogue as (

    select * from {{ ref('stg_merchandising__product_catalogue') }}

),

goods as (

    -- What a shopper can be offered: not fuel, a coupon or a gift card, and not one of the
    -- few products that the catalogue does not know.
    select product_id

    from catalogue

    where department not in ('COUPON', 'FUEL', 'MISCELLANEOUS')

),

final as (

    select distinct
        order_lines.household_id,
        order_lines.product_id

    from order_lines

    inner join goods
        on order_lines.product_id = goods.product_id

)

select * from final
