"""A new domain.

Belongs here: which files it has, and the names it cannot have. Not here: the texts
(meshhouse/templates/domain/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meshhouse.errors import UsageError
from meshhouse.repository import Repository, names, printable
from meshhouse.scaffold.templates import refuse_unwritable, rendered


@dataclass(frozen=True)
class Owner:
    """Who answers for a domain."""

    name: str
    email: str
    contact: str = ""
    """Where to ask, such as a channel; empty for nowhere else."""


def check_domain_name(repository: Repository, name: str) -> None:
    """Refuses a name that no new domain can have.

    Raises:
        UsageError: with the reason.
    """
    if problem := names.bad_domain(name):
        raise UsageError(problem)
    if name in repository.domain_names:
        raise UsageError(f"There is a domain `{name}` already. Choose another name.")


def new_domain(
    repository: Repository, name: str, owner: Owner, about: str = ""
) -> Mapping[Path, str]:
    """The files of a new domain.

    Args:
        repository: the mesh.
        name: of the domain.
        owner: who answers for it.
        about: what it is about, for its README.

    Raises:
        UsageError: the name or the address cannot be used.
    """
    check_domain_name(repository, name)
    if not names.EMAIL.fullmatch(owner.email):
        raise UsageError(
            f"`{printable(owner.email)}` is not an e-mail address, such as {name}@example.com."
        )
    for text in (owner.name, owner.contact, about):
        refuse_unwritable(text)
    values = {
        "name": name,
        "owner": owner.name.strip() or f"{name} team",
        "email": owner.email,
        "contact": owner.contact.strip(),
        "about": about.strip() or f"What `{name}` is about: its topics and its products.",
    }
    folder = repository.root / "domains" / name
    return {folder / path: text for path, text in rendered("domain", values).items()}
