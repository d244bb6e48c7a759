"""Keys of the checks of one product: equal ones, and weights without a check.

Belongs here: what `mesh check` says of keys of checks. Not here: how a key is made
(audit/contract.py), or other mistakes in a check (rules.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshhouse.audit import check_key, derived_checks
from meshhouse.lint.finding import Finding
from meshhouse.repository import Product
from meshhouse.repository.shapes import mappings
from meshhouse.repository.yaml import Located


def colliding_checks(product: Product, written: Located) -> Iterator[Finding]:
    """A finding for each check that has the key of an earlier check of the product.

    Keys are compared without case, because some of Dagster's storage databases ignore case.

    Args:
        product: the product that the checks belong to.
        written: the content of its checks file.
    """
    seen: dict[str, str] = {
        key.casefold(): "a check that the mesh adds" for key in _derived(product, written)
    }
    for key, line in _keys(written):
        other = seen.get(key.casefold())
        seen.setdefault(key.casefold(), f"the check in line {line}")
        if other is not None:
            yield Finding(
                product.checks_path,
                line,
                f"this check of {product.relation} and {other} both get the name `{_short(key)}`, "
                "so their results could not be distinguished.",
                "Give it a `qualifier` that differs in letters (a-z) or digits from those of all "
                "other checks of this kind.",
            )


def unknown_weights(product: Product, written: Located) -> Iterator[Finding]:
    """A finding for each weight of the score that is the weight of no check.

    Args:
        product: with the weights.
        written: the content of its checks file.
    """
    derived = _derived(product, written)
    kinds, known = set(derived.values()), set(derived)
    for key, _ in _keys(written):
        known.add(key)
    for place in (written, *mappings(written.get("columns"))):
        kinds |= {kind for check in mappings(place.get("checks")) for kind in check}
    for name in product.weights:
        if name not in known | kinds:
            yield Finding(
                product.path,
                product.line,
                f"the score of {product.relation} has a weight for `{name}`, which is neither the "
                "key nor the kind of one of its checks.",
                f"Kinds: {', '.join(sorted(kinds))}. Keys: {', '.join(sorted(known))}.",
            )


def _derived(product: Product, written: Located) -> dict[str, str]:
    """Key -> kind of each check that the mesh adds."""
    return {
        check_key(each.kind, each.column, each.body.get("qualifier")): each.kind
        for each in derived_checks(product, written)
    }


def _keys(written: Located) -> Iterator[tuple[str, int]]:
    """Key and line of each check of a file, in file order; skips malformed entries."""
    for column in _located(written.get("columns")):
        for check in _located(column.get("checks")):
            yield from _of(check, str(column.get("name")))
    for check in _located(written.get("checks")):
        yield from _of(check, None)


def _of(check: Located, column: str | None) -> Iterator[tuple[str, int]]:
    for kind, body in check.items():
        qualifier = body.get("qualifier") if isinstance(body, Located) else None
        yield check_key(kind, column, qualifier), check.line_of(kind)


def _located(value: Any) -> list[Located]:
    return [each for each in value if isinstance(each, Located)] if isinstance(value, list) else []


def _short(key: str) -> str:
    return key if len(key) <= 80 else f"{key[:77]}..."
