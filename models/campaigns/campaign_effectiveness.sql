{%- set periods = ['before', 'during', 'after'] -%}
{%- set amounts = [
    ('audience_sales_value', 'decimal(18, 2)'),
    ('comparison_sales_value', 'decimal(18, 2)'),
    ('audience_daily_sales_value', 'decimal(12, 4)'),
    ('comparison_daily_sales_value', 'decimal(12, 4)'),
] -%}

with

campaigns as (

    select * from {{ ref('stg_marketing__campaigns') }}

),

reach as (

    select * from {{ ref('int_campaign_reach') }}

),

{% for period in periods %}

    {{ period }}_sales as (

        select * from {{ ref('int_campaign_sales') }}

        where period = '{{ period }}'

    ){{ ',' if not loop.last }}

{% endfor %}

select
    cast(campaigns.campaign_id as bigint) as campaign_id,
    cast(campaigns.campaign_type as string) as campaign_type,
    cast(campaigns.start_date as date) as start_date,
    cast(campaigns.end_date as date) as end_date,
    cast(campaigns.duration_days as integer) as duration_days,
    ---------- households
    cast(reach.reach as bigint) as reach,
    cast(reach.redeeming_households as bigint) as redeeming_households,
    cast(reach.redemptions as bigint) as redemptions,
    cast({{ ratio('reach.redeeming_households', 'reach.reach') }} as decimal(9, 6))
        as redemption_rate,
    cast(reach.comparison_households as bigint) as comparison_households,
    ---------- sales before, during and after the campaign
    {% for period in periods %}
        cast({{ period }}_sales.days_with_data as integer) as days_{{ period }},
        cast({{ period }}_sales.is_cut as boolean) as is_cut_{{ period }},
        {% for amount, type in amounts %}
            cast({{ period }}_sales.{{ amount }} as {{ type }}) as {{ amount }}_{{ period }},
        {% endfor %}
    {% endfor %}
    ---------- change of the audience beyond the change of the comparison households
    cast(
        during_sales.audience_daily_sales_value - before_sales.audience_daily_sales_value
        - during_sales.comparison_daily_sales_value + before_sales.comparison_daily_sales_value
        as decimal(12, 4)
    ) as daily_sales_value_uplift

from campaigns

inner join reach
    on campaigns.campaign_id = reach.campaign_id

{% for period in periods %}
    inner join {{ period }}_sales
        on campaigns.campaign_id = {{ period }}_sales.campaign_id
{% endfor %}
