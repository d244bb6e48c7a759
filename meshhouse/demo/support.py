"""Synthetic support topics: generated tickets and chats.

Belongs here: a generator over the real households and baskets, its probabilities and its
vocabulary. Not here: real data (retail.py); each synthetic event has the header `synthetic`.

The real data has no support events. Here about one basket in forty leads to a ticket, so
households that buy more ask more. Every choice is the MD5 of a basket's number, not a random
number, so the events are the same in every run and on every machine.
"""

from __future__ import annotations

import duckdb

from meshhouse.demo.topic import DemoTopic, literal

# fmt: off
_ITEMS = (
    "apples", "bananas", "bread", "butter", "carrots", "cereal",
    "cheese", "coffee", "cookies", "crackers", "eggs", "flour",
    "frozen pizza", "grapes", "honey", "ice cream", "juice", "milk",
    "oatmeal", "onions", "pasta", "peanut butter", "popcorn", "potatoes",
    "rice", "salad", "soup", "sugar", "tea", "yogurt",
)
# fmt: on

_OPENERS = {
    "billing": (
        "My receipt shows {item} twice, but I bought one.",
        "The shelf said a lower price for {item} than my receipt.",
        "The total on my receipt looks too high. Could you check {item}?",
    ),
    "delivery": (
        "My order arrived without the {item}.",
        "My delivery came an hour later than planned. Is that usual?",
        "Can I still move my delivery to tomorrow morning?",
    ),
    "product": (
        "The {item} I bought was past its date.",
        "Do you still carry the large pack of {item}?",
        "The package of {item} was open when I came home.",
    ),
    "coupon": (
        "My coupon for {item} was not taken off at the register.",
        "Until when can I use the coupon for {item}?",
        "The coupon says two packs of {item}. Does any brand count?",
    ),
    "other": (
        "When does the store open on Sunday?",
        "Where do I find {item} in the store?",
        "How do I change the store that I shop at?",
    ),
}

# Each answer has the same index as its opener.
_ANSWERS = {
    "billing": (
        "You are right, we will refund one of them.",
        "Thank you for telling us. We will refund the difference.",
        "I have checked it, and the price on your receipt is the current one.",
    ),
    "delivery": (
        "Sorry about that. The {item} will come with your next order.",
        "Sorry, the van was late today. Usually it is on time.",
        "Yes, I have moved it for you.",
    ),
    "product": (
        "Sorry to hear that. We will replace it.",
        "Yes, it is back on the shelf this week.",
        "Sorry to hear that. We will refund it.",
    ),
    "coupon": (
        "I see it. I have credited the coupon now.",
        "It is valid until the last day of the campaign.",
        "Yes, any brand counts.",
    ),
    "other": (
        "It opens at eight, as on any other day.",
        "In the middle of the store; the signs above the aisles show it.",
        "You can choose another store in your profile.",
    ),
}

_LATER = {
    3: (
        "Thank you. Can I see that in the app too?",
        "Good. Is that the same in every store?",
        "That helps, thank you.",
    ),
    4: (
        "Yes, the app shows it as well.",
        "Yes, in every store.",
        "You are welcome. Is there anything else?",
    ),
    5: ("Great, thanks for your help.", "All clear, thank you.", "No, that is all."),
    6: ("Have a nice day.", "Glad to help. Enjoy your {item}.", "Have a nice day."),
}

_SETUP = """
create macro draw(purpose, id, sides) as
    cast(md5_number_lower(concat('support-2017/', purpose, '/', id)) % sides as integer);

-- A table, not a CTE: otherwise DuckDB computes the draws for every line of a basket.
create table baskets as
    select
        basket_id,
        household_id,
        min(transaction_timestamp) as bought_at,
        max(coupon_disc) > 0 as used_coupon,
    from transactions
    group by basket_id, household_id;

create table support_baskets as
    select
        *,
        draw('ticket', basket_id, 10000) < 260 as has_ticket,
        draw('chat', basket_id, 10000) < 130 as has_chat,
        draw('topic', basket_id, 100) as topic_draw,
        case
            when used_coupon and topic_draw < 40 then 'coupon'
            when topic_draw < 40 then 'product'
            when topic_draw < 65 then 'billing'
            when topic_draw < 80 then 'delivery'
            when topic_draw < 90 then 'coupon'
            else 'other'
        end as topic,
    from baskets
    where has_ticket or has_chat;

create table support_lives as
    select
        basket_id,
        household_id,
        topic,
        case
            when draw('priority', basket_id, 100) < (case topic when 'billing' then 30 else 10 end)
                then 'high'
            when draw('priority', basket_id, 100) < 70 then 'normal'
            else 'low'
        end as priority,
        bought_at + to_minutes(60 + draw('opened', basket_id, 4260)) as opened_at,
        case priority when 'high' then 480 when 'normal' then 2160 else 4320 end as patience,
        5 + draw('answered', basket_id, patience) as wait_minutes,
        opened_at + to_minutes(wait_minutes) as answered_at,
        case
            when draw('never closed', basket_id, 100) >= 5
                then answered_at + to_minutes(30 + draw('closed', basket_id, 5760))
        end as closed_at,
        case
            when draw('silent', basket_id, 100) < 40 then null
            when wait_minutes < 240 then 3 + draw('mood', basket_id, 3)
            when wait_minutes < 1440 then 2 + draw('mood', basket_id, 4)
            else 1 + draw('mood', basket_id, 4)
        end as mood,
        100000 + row_number() over (order by opened_at, basket_id) as ticket_id,
    from support_baskets
    where has_ticket;

create table support_tickets as
    select ticket_id, household_id, status, topic, priority, event_at, satisfaction
    from (
        select *, 1 as step, 'opened' as status, opened_at as event_at, null as satisfaction
        from support_lives
        union all by name
        select *, 2 as step, 'answered' as status, answered_at as event_at, null as satisfaction
        from support_lives
        union all by name
        select *, 3 as step, 'closed' as status, closed_at as event_at, mood as satisfaction
        from support_lives
    )
    where event_at < day_begins(date '2018-01-01');

create table support_talks as
    select
        500000 + row_number() over (order by started_at, basket_id) as chat_id,
        talk.*,
        case when draw('channel', basket_id, 100) < 60 then 'web' else 'app' end as channel,
        2 + draw('length', basket_id, 5) as turns,
        draw('subject', basket_id, 3) as subject,
        draw('manner', basket_id, 3) as manner,
        items.list[1 + draw('item', basket_id, len(items.list))] as item,
    from (
        select basket_id, household_id, ticket_id, topic, opened_at as started_at
        from support_lives
        where draw('by chat', basket_id, 100) < 40
        union all
        select
            basket_id, household_id, null as ticket_id, topic,
            bought_at + to_minutes(30 + draw('started', basket_id, 7200)) as started_at
        from support_baskets
        where has_chat and not has_ticket
    ) as talk
    cross join support_items as items;

create table support_chats as
    select
        chat_id,
        household_id,
        ticket_id,
        channel,
        started_at + to_seconds(75 * (turn - 1) + draw(concat('pause ', turn), basket_id, 60))
            as event_at,
        case turn % 2 when 1 then 'customer' else 'agent' end as author,
        replace(texts[1 + if(turn <= 2, subject, manner)], '{item}', item) as message,
    from support_talks
    join support_phrases using (topic)
    where turn <= turns and event_at < day_begins(date '2018-01-01');
"""

TOPICS = (
    DemoTopic(
        name="support.tickets",
        partitions=2,
        rows="from support_tickets",
        key="ticket_id",
        value="to_json({ticket_id: ticket_id, household_id: household_id, status: status, "
        "topic: topic, priority: priority, event_at: instant(event_at), "
        "satisfaction: satisfaction})",
        order="ticket_id, status",
        is_synthetic=True,
    ),
    DemoTopic(
        name="support.chats",
        partitions=2,
        rows="from support_chats",
        key="household_id",
        value="to_json({chat_id: chat_id, household_id: household_id, ticket_id: ticket_id, "
        "channel: channel, sent_at: instant(event_at), author: author, message: message})",
        order="chat_id",
        is_synthetic=True,
    ),
)


def add_support(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates the tables behind the support topics, from the tables of `open_retail`."""
    phrases = ", ".join(
        f"({literal(topic)}, {turn}, {literal(texts)})"
        for topic in _OPENERS
        for turn, texts in {1: _OPENERS[topic], 2: _ANSWERS[topic], **_LATER}.items()
    )
    connection.execute(f"create table support_items as select {literal(_ITEMS)} as list")
    connection.execute(
        f"create table support_phrases as from (values {phrases}) as phrase(topic, turn, texts)"
    )
    connection.execute(_SETUP)
