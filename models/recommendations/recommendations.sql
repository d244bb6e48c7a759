with

purchases as (

    select
        household_id,
        product_id

    from {{ ref('int_household_goods') }}

),

affinity as (

    select
        product_id,
        related_product_id,
        similarity,
        related_households

    from {{ ref('product_affinity') }}

),

catalogue as (

    select
        product_id,
        product_category,
        product_type

    from {{ ref('stg_merchandising__product_catalogue') }}

),

scored as (

    -- Similarities are decimals, so their sum does not depend on the order of addition.
    select
        purchases.household_id,
        affinity.related_product_id as product_id,
        sum(affinity.similarity) as score,
        max(affinity.related_households) as households

    from purchases

    inner join affinity
        on purchases.product_id = affinity.product_id

    group by purchases.household_id, affinity.related_product_id

),

not_bought_yet as (

    select
        scored.household_id,
        scored.product_id,
        scored.score,
        scored.households

    from scored

    left join purchases
        on scored.household_id = purchases.household_id
        and scored.product_id = purchases.product_id

    where purchases.product_id is null

),

best_first as (

    select
        household_id,
        product_id,
        score,
        row_number() over (
            partition by household_id
            order by score desc, households desc, product_id asc
        ) as place

    from not_bought_yet

)

select
    cast(best_first.household_id as bigint) as household_id,
    cast(best_first.place as integer) as rank,
    cast(best_first.product_id as bigint) as product_id,
    cast(catalogue.product_category as string) as product_category,
    cast(catalogue.product_type as string) as product_type,
    cast(best_first.score as decimal(12, 6)) as score

from best_first

left join catalogue
    on best_first.product_id = catalogue.product_id

where best_first.place <= 10
