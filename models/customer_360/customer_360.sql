with

demographics as (

    select * from {{ ref('stg_customers__households') }}

),

shopping as (

    select * from {{ ref('int_household_shopping') }}

),

campaigns as (

    select * from {{ ref('int_household_campaigns') }}

),

contacts as (

    select * from {{ ref('stg_support__contact_summary') }}

),

households as (

    select household_id from shopping
    union distinct
    select household_id from demographics

)

select
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
    cast(shopping.recency_days as integer) as recency_days,
    cast(coalesce(shopping.orders, 0) as bigint) as orders,
    cast(coalesce(shopping.sales_value, 0) as decimal(18, 2)) as sales_value,
    cast(shopping.average_basket_value as decimal(12, 2)) as average_basket_value,
    ---------- campaigns
    cast(coalesce(campaigns.campaigns_received, 0) as bigint) as campaigns_received,
    cast(coalesce(campaigns.campaigns_redeemed, 0) as bigint) as campaigns_redeemed,
    cast(coalesce(campaigns.coupons_redeemed, 0) as bigint) as coupons_redeemed,
    ---------- support (synthetic)
    cast(coalesce(contacts.tickets, 0) as bigint) as support_tickets,
    cast(coalesce(contacts.open_tickets, 0) as bigint) as support_open_tickets,
    cast(coalesce(contacts.messages, 0) as bigint) as support_messages,
    cast(contacts.last_contact_at as {{ type_timestamptz() }}) as last_support_contact_at,
    cast(contacts.average_satisfaction as decimal(4, 2)) as average_support_satisfaction

from households

left join demographics
    on households.household_id = demographics.household_id

left join shopping
    on households.household_id = shopping.household_id

left join campaigns
    on households.household_id = campaigns.household_id

left join contacts
    on households.household_id = contacts.household_id
