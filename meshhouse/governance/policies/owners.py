"""Rules about owners: who answers for a domain and its products.

Belongs here: rules with their examples. Not here: what products promise (promises.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from meshhouse.governance.policies.rule import Breach, DomainFacts, Mesh, Options, Rule


def _owner(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        if not domain.domain.owners.get(each.product.group or "", {}).get("email"):
            yield each.breach("has no owner.")


OWNER = Rule(
    name="owner",
    demands="Every product has an owner with a name and an e-mail address.",
    because="Consumers need to know whom to ask, and agreements need an approver.",
    remedy="Set config.group to a group of this domain whose owner has a name and an e-mail "
    "address.",
    check=_owner,
    passes={"product": "config: {group: sales}"},
    fails={"product": "config: {group: null}"},
    is_core=True,
)


def _owner_address(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    endings = tuple(str(each).lower() for each in options["endings"])
    for group, owner in domain.domain.owners.items():
        email = str(owner.get("email") or "").lower()
        if not email:
            yield domain.breach(f"has the group `{group}`, whose owner has no e-mail address.")
        elif endings and not email.endswith(endings):
            yield domain.breach(
                f"has the group `{group}`, whose owner's address `{email}` ends with none of "
                f"{', '.join(endings)}."
            )


OWNER_ADDRESS = Rule(
    name="owner_address",
    demands="The owner of every group has an e-mail address with an allowed ending.",
    because="A private address leaves with the person; a team's address stays.",
    remedy="Give the group's owner the address of a team.",
    check=_owner_address,
    passes={"group": "owner: {email: sales@example.com}"},
    fails={"group": "owner: {email: ann@elsewhere.example}"},
    options={"endings": ["@example.com"]},
)


def _contact(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for group, owner in domain.domain.owners.items():
        if not any(str(owner.get(key) or "").strip() for key in options["keys"]):
            yield domain.breach(
                f"has the group `{group}`, whose owner names no {' or '.join(options['keys'])}."
            )


CONTACT = Rule(
    name="contact",
    demands="The owner of every group names a place where consumers can ask.",
    because="A question in a channel is answered for everybody; one by mail for one reader.",
    remedy="Add `contact:` to the group's owner: a channel or the address of a page.",
    check=_contact,
    passes={"group": "owner: {contact: '#sales-data'}"},
    fails={"group": "owner: {contact: null}"},
    options={"keys": ["contact", "slack"]},
)


def _group(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    if not any(owner.get("name") for owner in domain.domain.owners.values()):
        yield domain.breach("declares no group with an owner.")


DOMAIN_GROUP = Rule(
    name="domain_group",
    demands="Every domain declares a group with an owner.",
    because="Topics, private models and incidents belong to a team, not only products.",
    remedy="Declare `groups:` in models/domain.yml with the owner's name and e-mail address.",
    check=_group,
    passes={"group": "owner: {name: Sales team}"},
    fails={"models/domain.yml": "version: 2"},
)


def _readme(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    if not domain.has_readme:
        yield domain.breach("has no README.md.")


DOMAIN_README = Rule(
    name="domain_readme",
    demands="Every domain has a README.md.",
    because="A new colleague or consumer starts there.",
    remedy="Write README.md in the domain's folder: what the domain is about, and its products.",
    check=_readme,
    passes={"README.md": "# Sales"},
    fails={"README.md": ""},
)

RULES = (OWNER, OWNER_ADDRESS, CONTACT, DOMAIN_GROUP, DOMAIN_README)
