"""What ODCS and ODPS, the standards of Bitol, have in common.

Belongs here: fields that both have, and their YAML. Not here: the standards (odcs.py, odps.py).
"""

from __future__ import annotations

from typing import Any

import yaml

from meshhouse.catalog.documents import ProductFacts

# libyaml writes 8 times as fast; a PyYAML that was built without it has only the other.
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def status_of(product: ProductFacts) -> str:
    """Where a product is in its life, in the words of both standards."""
    if product.state in ("retired", "not declared"):
        return "retired"
    return "active" if product.deprecated_on is None else "deprecated"


def team_of(product: ProductFacts) -> dict[str, Any]:
    """The owner, as a team with one member."""
    owner = product.owner
    members = [{"username": owner.email, "role": "owner"}] if owner.email else []
    return {"name": owner.name, "members": members}


def support_of(product: ProductFacts) -> list[dict[str, Any]]:
    """How to reach the owner; ODPS requires an address, so a bare name of a channel is left out."""
    email = product.owner.email
    if not email:
        return []
    return [{"channel": email, "url": f"mailto:{email}", "tool": "email"}]


def without_empty(value: Any) -> Any:
    """A document without empty fields: leaving a field out is how both standards say nothing."""
    if isinstance(value, dict):
        kept = {key: without_empty(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each not in (None, "", [], {})}
    if isinstance(value, list):
        return [without_empty(each) for each in value]
    if isinstance(value, str):  # half of a surrogate pair has no place in a file
        return value.encode(errors="replace").decode()
    return value


def as_yaml(document: Any) -> str:
    """A document as YAML, its fields in their order."""
    return yaml.dump(document, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=100)
