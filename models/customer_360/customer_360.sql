with

orders as (

    select
        household_id,
        order_date,
        sales_value

    from {{ ref('stg_sales__orders') }}

),

demographics as (

    select
        household_id,
        age,
        income,
        home_ownership,
        marital_status,
        household_size,
        household_comp,
        kids_count

    from {{ ref('stg_customers__households') }}

),

audience as (

    select household_id from {{ ref('stg_marketing__campaign_audience') }}

),

redemptions as (

    select
        household_id,
        campaign_id

    from {{ ref('stg_marketing__coupon_redemptions') }}

),

contacts as (

    select
        household_id,
        tickets,
        open_tickets,
        messages,
        last_contact_at,
        average_satisfaction

    from {{ ref('stg_support__contact_summary') }}

),

households as (

    select household_id from orders
    union distinct
    select household_id from demographics

),

newest_order as (

    -- Recency counts from the newest day in the data, so the same data gives the same result.
    select max(order_date) as newest_order_date from orders

),

shopping as (

    select
        household_id,
        min(order_date) as first_order_date,
        max(order_date) as last_order_date,
        count(*) as orders,
        sum(sales_value) as sales_value

    from orders

    group by household_id

),

campaigns_received as (

    select
        household_id,
        count(*) as campaigns_received

    from audience

    group by household_id

),

campaigns_redeemed as (

    select
        household_id,
        count(distinct campaign_id) as campaigns_redeemed,
        count(*) as coupons_redeemed

    from redemptions

    group by household_id

),

final as (

    select
        ---------- who
        cast(households.household_id as bigint) as household_id,
        cast(demographics.household_id is not null as boolean) as has_demographics,
        cast(demographics.age as string) as age,
        cast(demographics.income as string) as income,
        cast(demographics.home_ownership as string) as home_ownership,
        cast(demographics.marital_status as string) as marital_status,
        cast(demographics.household_size as string) as household_size,
        cast(demographics.household_comp as string) as household_comp,
        cast(demographics.kids_count as string) as kids_count,
        ---------- shopping
        cast(shopping.first_order_date as date) as first_order_date,
        cast(shopping.last_order_date as date) as last_order_date,
        cast(
            {{ days_between('shopping.last_order_date', 'newest_order.newest_order_date') }}
            as integer
        ) as recency_days,
        cast(coalesce(shopping.orders, 0) as bigint) as orders,
        cast(coalesce(shopping.sales_value, 0) as decimal(18, 2)) as sales_value,
        cast({{ ratio('shopping.sales_value', 'shopping.orders') }} as decimal(12, 2))
            as average_basket_value,
        ---------- campaigns
        cast(coalesce(campaigns_received.campaigns_received, 0) as bigint) as campaigns_received,
        cast(coalesce(campaigns_redeemed.campaigns_redeemed, 0) as bigint) as campaigns_redeemed,
        cast(coalesce(campaigns_redeemed.coupons_redeemed, 0) as bigint) as coupons_redeemed,
        ---------- support (synthetic)
        cast(coalesce(contacts.tickets, 0) as bigint) as support_tickets,
        cast(coalesce(contacts.open_tickets, 0) as bigint) as support_open_tickets,
        cast(coalesce(contacts.messages, 0) as bigint) as support_messages,
        cast(contacts.last_contact_at as {{ type_timestamptz() }}) as last_support_contact_at,
        cast(contacts.average_satisfaction as decimal(4, 2)) as average_support_satisfaction

    from households

    cross join newest_order

    left join demographics
        on households.household_id = demographics.household_id

    left join shopping
        on households.household_id = shopping.household_id

    left join campaigns_received
        on households.household_id = campaigns_received.household_id

    left join campaigns_redeemed
        on households.household_id = campaigns_redeemed.household_id

    left join contacts
        on households.household_id = contacts.household_id

)

select
    household_id,
    has_demographics,
    age,
    income,
    home_ownership,
    marital_status,
    household_size,
    household_comp,
    kids_count,
    first_order_date,
    last_order_date,
    recency_days,
    orders,
    sales_value,
    average_basket_value,
    campaigns_received,
    campaigns_redeemed,
    coupons_redeemed,
    support_tickets,
    support_open_tickets,
    support_messages,
    last_support_contact_at,
    average_support_satisfaction

from final
