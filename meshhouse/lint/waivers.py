"""Findings in `waivers.yml`.

Belongs here: entries that cannot be used, ended, or have no effect, as far as the repository shows.
Not here: entries that match no change, which only a judgement shows (governance/waivers.py).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import date

from meshhouse.lint.finding import Finding
from meshhouse.repository import Domain, Repository
from meshhouse.repository.waivers import Waivers, read_waivers

_MISSPELT = 0.75
"""Names this similar count as one misspelt name: `ordrs` and `orders` reach 0.91."""


def unusable_waivers(domain: Domain) -> Iterator[Finding]:
    """Entries that cannot be used. A run refuses them: an exception must be clear."""
    for each in read_waivers(domain.path).problems:
        yield Finding(each.path, each.line, each.problem, "")


def waiver_findings(repository: Repository, domain: Domain, today: date) -> Iterator[Finding]:
    """Waivers that ended or name something unknown. They do not stop a run."""
    waivers = read_waivers(domain.path)
    for each in waivers.waivers:
        if each.until < today:
            yield Finding(
                each.path,
                each.line,
                f"the waiver of {each.change or each.policy} of {each.product} ended on "
                f"{each.until}.",
                "Remove it, or agree on a later date with the consumers.",
            )
        for name in each.consent:
            if name not in repository.domain_names or name == domain.name:
                others = ", ".join(other for other in repository.domain_names
                                   if other != domain.name)  # fmt: skip
                yield Finding(
                    each.path,
                    each.line,
                    f"`{name}` cannot consent to a change of {domain.name}.",
                    f"Name domains that read the product: {others}.",
                )
    yield from _unknown_products(domain, waivers)


def _unknown_products(domain: Domain, waivers: Waivers) -> Iterator[Finding]:
    named = [each for each in waivers.waivers if each.change]
    for each in (*named, *waivers.confirmations):
        provider, _, rest = each.product.partition(".")
        if provider != domain.name:
            yield Finding(
                each.path,
                each.line,
                f"{each.product} belongs to another domain, so this entry has no effect.",
                f"Move it to {'' if provider == 'mesh' else f'domains/{provider}/'}waivers.yml.",
            )
        elif close := misspelt_product(domain, rest.partition(".")[0]):
            yield Finding(
                each.path,
                each.line,
                f"{domain.name} declares no product `{rest}`.",
                f"Did you mean {close}?",
            )


def misspelt_product(domain: Domain, name: str) -> str | None:
    """The product that an unknown name is probably meant to be; None if there is none.

    A name without a similar product may be a product that was removed, whose removal is waived.
    """
    known = {each.name for each in domain.products}
    known |= {each.build_name for each in domain.products}
    known |= {each.model for each in domain.products}
    if name in known:
        return None
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=_MISSPELT)
    return f"{domain.name}.{close[0]}" if close else None
