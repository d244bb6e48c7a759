"""Rules about promises: freshness, required objectives, notice, versions, waivers.

Belongs here: rules with their examples. Not here: measuring promises (governance/objectives.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta

from meshhouse.governance.comparison import NOTICE_DAYS
from meshhouse.governance.policies.rule import Breach, DomainFacts, Mesh, Options, Rule
from meshhouse.repository.keys import REFRESHED_WITHIN_HOURS


def _freshness(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        hours = each.product.promises.get(REFRESHED_WITHIN_HOURS.name)
        if hours is None:
            yield each.breach("promises no freshness.")
        elif hours > options["most_hours"]:
            yield each.breach(
                f"promises a refresh within {hours:g} hours, more than {options['most_hours']:g}."
            )


FRESHNESS_PROMISE = Rule(
    name="freshness_promise",
    demands="Every product promises how fresh it is.",
    because="A consumer cannot tell a quiet day from a broken pipeline.",
    remedy="Set config.meta.promises.refreshed_within_hours.",
    check=_freshness,
    passes={"product": "config: {meta: {promises: {refreshed_within_hours: 24}}}"},
    fails={"product": "config: {meta: {promises: {refreshed_within_hours: null}}}"},
    options={"most_hours": 168},
)


def _promises(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        missing = [name for name in options["required"] if name not in each.product.promises]
        if missing:
            yield each.breach(f"does not promise {', '.join(missing)}.")


PROMISES = Rule(
    name="promises",
    demands="Every product makes the required promises.",
    because="Consumers compare products by them, and agreements refer to them.",
    remedy="Add the promise under config.meta.promises.",
    check=_promises,
    passes={"product": "config: {meta: {promises: {availability_percent: 99}}}"},
    fails={"product": "config: {meta: {promises: {availability_percent: null}}}"},
    options={"required": ["availability_percent"]},
)


def _live(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    versions = Counter(each.product.model for each in domain.products)
    for each in domain.products:
        count = versions[each.product.model]
        if each.product.is_latest and count > options["most"]:
            yield each.breach(f"has {count} live versions, more than {options['most']}.")


_VERSIONS = "versions: [{v: 1, deprecation_date: 2999-01-01}, {v: 2}]"

LIVE_VERSIONS = Rule(
    name="live_versions",
    demands="A product has few live versions.",
    because="Each version is built, checked and explained as long as it lives.",
    remedy="Retire an old version: move its readers, then remove it.",
    check=_live,
    passes={"product": _VERSIONS},
    fails={"product": "versions: [{v: 1}, {v: 2}, {v: 3}]"},
    options={"most": 2},
)


def _old(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        product = each.product
        if product.version < product.latest_version and not product.deprecation_date:
            yield each.breach(f"is an old version (the latest is {product.latest_version}) "
                              "without an end.")  # fmt: skip


OLD_VERSIONS_END = Rule(
    name="old_versions_end",
    demands="Every version before the latest has a deprecation date.",
    because="Consumers do not move before they know until when they must.",
    remedy="Set `deprecation_date` of the old version.",
    check=_old,
    passes={"product": _VERSIONS},
    fails={"product": "versions: [{v: 1}, {v: 2}]"},
)


def _notice(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        product = each.product
        end, published = _day(product.deprecation_date), mesh.published.get(product.relation)
        if end is None or published is None:
            continue  # nobody can read a version that was never published
        before = _day(published.get("deprecation_date"))
        days = (end - mesh.today).days
        if days < options["days"] and (before is None or end < before):
            yield each.breach(f"is deprecated from {end}, in {days} days: less than the notice "
                              f"of {options['days']} days.")  # fmt: skip


def _day(text: object) -> date | None:
    return date.fromisoformat(str(text)[:10]) if text else None


DEPRECATION_NOTICE = Rule(
    name="deprecation_notice",
    demands="A published version is deprecated with the minimum notice.",
    because="Consumers need time to move; a date that was announced is not moved forward.",
    remedy="Choose a later deprecation_date.",
    check=_notice,
    passes={
        "product": "deprecation_date: 2999-01-01",
        "published": "{product: sales.orders, version: 1}",
    },
    fails={
        "product": "deprecation_date: 2017-01-01",
        "published": "{product: sales.orders, version: 1}",
    },
    options={"days": NOTICE_DAYS},
)


def _waivers(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    last = mesh.today + timedelta(days=options["most_days"])
    for each in domain.waivers.waivers:
        if each.until > last:
            text = (
                f"the waiver of {each.change or each.policy} of {each.product} lasts until "
                f"{each.until}, more than {options['most_days']} days."
            )
            yield Breach(each.path, each.line, text, each.product)


WAIVERS_END_SOON = Rule(
    name="waivers_end_soon",
    demands="A waiver ends within a year.",
    because="An exception without an end is a rule that nobody wrote down.",
    remedy="Choose an earlier end; extend it when it is still needed.",
    check=_waivers,
    passes={"waivers.yml": "waivers: []"},
    fails={
        "waivers.yml": "waivers: [{change: S2, product: sales.orders, why: Agreed., "
        "owner: Ann, until: 2999-01-01}]"
    },
    options={"most_days": 366},
)

RULES = (
    FRESHNESS_PROMISE,
    PROMISES,
    LIVE_VERSIONS,
    OLD_VERSIONS_END,
    DEPRECATION_NOTICE,
    WAIVERS_END_SOON,
)
