"""Channels: who receives messages, by settings and by owners' addresses.

Belongs here: which channels exist, and their addresses. Not here: the form of a message
(webhook.py, mail.py).

A channel is stored by a name, such as `webhook:sales`, never by its address: an address of a
webhook is a secret. It is looked up when a message is sent, so a corrected setting counts for
messages that wait.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from meshhouse.errors import UsageError
from meshhouse.notices.message import Message
from meshhouse.repository import Repository
from meshhouse.settings import value

WEBHOOK, SLACK, EMAIL = "webhook", "slack", "email"
_HOOKS = {WEBHOOK: "MESH_ALERT_WEBHOOK", SLACK: "MESH_ALERT_SLACK"}
_OF_DOMAIN = {WEBHOOK: "MESH_ALERT_WEBHOOK_", SLACK: "MESH_ALERT_SLACK_"}
_SECRET, _SECRET_OF_DOMAIN = "MESH_ALERT_SECRET", "MESH_ALERT_SECRET_"
_EMAIL_TO, _EMAIL_FROM, _SMTP_HOST = (
    "MESH_ALERT_EMAIL_TO",
    "MESH_ALERT_EMAIL_FROM",
    "MESH_SMTP_HOST",
)
_OWNERS = "MESH_ALERT_OWNERS"


@dataclass(frozen=True)
class Channel:
    """One receiver."""

    name: str
    """`kind`, `kind:domain` or `email:domain:group`."""
    kind: str
    setting: str
    """The variable that has its address, for messages to people; never the address."""
    address: str
    secret: str = ""
    """Key that signs its messages; empty if they are not signed."""

    @property
    def parts(self) -> list[str]:
        """Its addresses, in lower case."""
        ones = self.address.split(",") if self.kind == EMAIL else [self.address]
        return [each.strip().lower() for each in ones]


@dataclass(frozen=True)
class Channels:
    """Every channel that can be used now."""

    by_name: Mapping[str, Channel]
    unknown: tuple[str, ...] = ()
    """Settings that end with a name that is not a domain's."""

    @classmethod
    def of(cls, repository: Repository) -> Channels:
        """From the environment and the owners of domains."""
        found = [*_shared()]
        for domain in repository.readings:
            found += _of_domain(domain.name)
            if value(_OWNERS) != "off" and value(_SMTP_HOST) and value(_EMAIL_FROM):
                found += _owners(domain.name, domain.owners)
        return cls({each.name: each for each in found}, tuple(_unknown(repository.domain_names)))

    def require(self) -> None:
        """Refuses to look if nobody would hear of it.

        Raises:
            UsageError: no channel has a setting.
        """
        if value(_OWNERS) not in ("on", "off"):
            raise UsageError(f"{_OWNERS} must be `on` or `off`.")
        if self.unknown:
            raise UsageError(
                f"{', '.join(self.unknown)}: there is no domain of this name. Correct or unset it."
            )
        if not self.by_name:
            raise UsageError(
                f"Nobody receives alerts: set {_HOOKS[WEBHOOK]}, {_HOOKS[SLACK]} or {_EMAIL_TO}."
            )

    def receivers(self, message: Message) -> list[str]:
        """Names of the channels that get a message.

        Owners get what concerns their domain, and the mesh's channels get all alerts. What only
        concerns a consumer goes to the mesh's channels if the consumer has no channel.
        """
        own = [
            each
            for each in self.by_name.values()
            if _is_of(each.name, message.domain, message.groups)
        ]
        shared = [each for each in self.by_name.values() if ":" not in each.name]
        chosen = own if message.to_consumer and own else [*own, *shared]
        # The same address twice is one receiver. An owner may be in a list of addresses.
        lists = [each for each in chosen if ":" not in each.name]
        reached = {(each.kind, one) for each in lists for one in each.parts}
        seen: dict[tuple[str, str], str] = {}
        for each in chosen:
            key = each.kind, each.address.lower()
            if ":" not in each.name or key not in reached:
                seen.setdefault(key, each.name)
        return list(seen.values())


def _shared() -> Iterable[Channel]:
    for kind, setting in _HOOKS.items():
        if address := value(setting).strip():
            yield Channel(kind, kind, setting, address, value(_SECRET))
    if address := value(_EMAIL_TO).strip():
        yield Channel(EMAIL, EMAIL, _EMAIL_TO, address)


def _of_domain(domain: str) -> Iterable[Channel]:
    for kind, prefix in _OF_DOMAIN.items():
        setting = f"{prefix}{domain.upper()}"
        if address := os.environ.get(setting, "").strip():
            secret = os.environ.get(f"{_SECRET_OF_DOMAIN}{domain.upper()}") or value(_SECRET)
            yield Channel(f"{kind}:{domain}", kind, setting, address, secret)


def _unknown(domains: Iterable[str]) -> Iterable[str]:
    known = {each.upper() for each in domains}
    prefixes = (*_OF_DOMAIN.values(), _SECRET_OF_DOMAIN)
    for name in sorted(os.environ):
        prefix = next((each for each in prefixes if name.startswith(each)), None)
        if prefix and name.removeprefix(prefix) not in known:
            yield name


def _owners(domain: str, owners: Mapping[str, Mapping[str, str]]) -> Iterable[Channel]:
    for group, owner in owners.items():
        address = str(owner.get("email") or "").strip()
        if is_address(address):
            yield Channel(
                f"{EMAIL}:{domain}:{group}", EMAIL, f"e-mail of the group {group} of {domain}",
                address,
            )  # fmt: skip


def _is_of(name: str, domain: str, groups: Collection[str]) -> bool:
    """Whether a channel belongs to a domain, or to one of these groups of it; none means all."""
    _, _, owner = name.partition(":")
    its_domain, _, group = owner.partition(":")
    return bool(owner) and its_domain == domain and (not group or not groups or group in groups)


def is_address(text: str) -> bool:
    """Whether a text can be one e-mail address; nothing in it can add a header or a receiver."""
    name, at, host = text.partition("@")
    safe = all(each.isprintable() and each not in ' ,;:<>"()[]\\' for each in text)
    return bool(name and at and host) and safe and "@" not in host
