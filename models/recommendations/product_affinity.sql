-- Limits: the 1,500 products that most households bought, so at most 1.1 million pairs
-- for any amount of sales; and at most 20 neighbours per product.
{% set max_products = var('affinity_products', 1500) %}
{% set min_households = var('affinity_min_households', 5) %}
{% set neighbours = var('affinity_neighbours', 20) %}

with

purchases as (

    select
        household_id,
        product_id

    from {{ ref('int_household_goods') }}

),

households_counted as (

    select count(distinct household_id) as all_households from purchases

),

products_counted as (

    select
        product_id,
        count(*) as households

    from purchases

    group by product_id

),

most_popular as (

    select
        product_id,
        households,
        cast(row_number() over (order by households desc, product_id asc) as integer) as popularity

    from products_counted

    where households >= {{ min_households }}

),

products as (

    select
        product_id,
        households,
        popularity

    from most_popular

    where popularity <= {{ max_products }}

),

popular_purchases as (

    select
        purchases.household_id,
        products.popularity

    from purchases

    inner join products
        on purchases.product_id = products.product_id

),

pairs as (

    -- Each pair once. This is the most expensive step: 26 million rows for a year. Joining by
    -- popularity, a small number, takes a third less time than joining by product_id.
    select
        one.popularity,
        other.popularity as related_popularity,
        count(*) as shared_households

    from popular_purchases as one

    inner join popular_purchases as other
        on one.household_id = other.household_id
        and one.popularity < other.popularity

    group by one.popularity, other.popularity

),

similar_pairs as (

    select
        one.product_id,
        other.product_id as related_product_id,
        one.households,
        other.households as related_households,
        pairs.shared_households,
        cast(
            {{ ratio(
                'pairs.shared_households',
                'sqrt(cast(one.households as double) * cast(other.households as double))',
            ) }} as decimal(9, 6)
        ) as similarity

    from pairs

    inner join products as one
        on pairs.popularity = one.popularity

    inner join products as other
        on pairs.related_popularity = other.popularity

),

both_directions as (

    select
        product_id,
        related_product_id,
        households,
        related_households,
        shared_households,
        similarity

    from similar_pairs

    union all

    select
        related_product_id as product_id,
        product_id as related_product_id,
        related_households as households,
        households as related_households,
        shared_households,
        similarity

    from similar_pairs

),

nearest_first as (

    select
        product_id,
        related_product_id,
        households,
        related_households,
        shared_households,
        similarity,
        row_number() over (
            partition by product_id
            order by similarity desc, related_households desc, related_product_id asc
        ) as neighbour_rank

    from both_directions

)

select
    cast(nearest_first.product_id as bigint) as product_id,
    cast(nearest_first.related_product_id as bigint) as related_product_id,
    cast(nearest_first.neighbour_rank as integer) as neighbour_rank,
    cast(nearest_first.similarity as decimal(9, 6)) as similarity,
    cast(
        {{ ratio(
            'nearest_first.shared_households * households_counted.all_households',
            'nearest_first.households * nearest_first.related_households',
        ) }} as decimal(12, 4)
    ) as lift,
    cast(nearest_first.households as bigint) as households,
    cast(nearest_first.related_households as bigint) as related_households,
    cast(nearest_first.shared_households as bigint) as shared_households

from nearest_first

cross join households_counted

where nearest_first.neighbour_rank <= {{ neighbours }}
