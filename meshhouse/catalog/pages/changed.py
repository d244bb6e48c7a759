"""The pages of publications and rollbacks that changed a contract.

Belongs here: which page says what. Not here: how changes look (change.py), or what changed
(gather/contract_changes.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from meshhouse.catalog import paths
from meshhouse.catalog.documents import ContractChangeFacts, Mesh, is_listed
from meshhouse.catalog.page import Page
from meshhouse.catalog.pages.change import ChangedProduct, ShownChange, body, named, verdict_of
from meshhouse.catalog.pages.render import html

Owners = Sequence[tuple[str, str]]


def pages(mesh: Mesh) -> Iterator[Page]:
    """One page for each contract change that documents hold."""
    owners = {each.name: each.owner.name or each.owner.email for each in mesh.domains}
    for product in mesh.products:
        if not is_listed(mesh, product.domain):
            continue
        for change in product.contract_changes:
            domains = sorted({_domain(hit) for each in change.changes for hit in each.hits or ()})
            known = tuple((each, owners[each]) for each in domains if each in owners)
            inputs = (product.relation, change, product.older_contract_changes, known)
            path = paths.change(product.relation, change.number)
            yield Page(path, inputs, partial(_render, *inputs))


def _render(relation: str, change: ContractChangeFacts, older: int, owners: Owners) -> str:
    changed = ChangedProduct(
        relation,
        change.version,
        change.owner,
        change.bump,
        tuple(
            ShownChange(
                each.key,
                verdict_of(each.verdict, each.is_silent),
                each.what,
                each.effect,
                allowed=each.allowed,
                hits=tuple(named(_domain(hit), hit) for hit in each.hits)
                if each.hits is not None
                else None,
            )
            for each in change.changes
        ),
    )
    return html(
        "changed.html",
        paths.change(relation, change.number),
        relation=relation,
        change=change,
        older=older,
        lead=_lead(change),
        **body([changed], dict(owners), [name for name, _ in owners]),
    )


def _lead(change: ContractChangeFacts) -> str:
    if change.kind == "rollback":
        return (
            f"Readers see an earlier contract again: publication {change.before} was taken back. "
            "The changes below lead from its contract to the one that holds again. No run judged "
            "them; the verdicts say what they mean for readers."
        )
    return f"What this publication changed in the contract, beside publication {change.before}."


def _domain(hit: str) -> str:
    return hit.partition(".")[0]
