"""Pages about the whole mesh: policies, ledger, glossary.

Belongs here: what each lists, and how much of it. Not here: markup (templates/), operations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from meshhouse.catalog import paths
from meshhouse.catalog.documents import Mesh, PolicyFacts, PublicationFacts
from meshhouse.catalog.newest import newest_publications
from meshhouse.catalog.page import Page
from meshhouse.catalog.pages.render import html

MOST_ENTRIES = 200
MOST_TERMS = 300
MOST_MEANINGS = 6
MOST_USERS = 5


@dataclass(frozen=True)
class Term:
    """The name of a column that several products use."""

    name: str
    products: int
    types: tuple[str, ...]
    meanings: tuple[tuple[str, tuple[str, ...], int], ...]
    """Description, the first products that use it, and how many more do."""
    left_out: int
    """Meanings beyond the first."""


def policy_pages(mesh: Mesh) -> Iterator[Page]:
    """The policy report."""
    waived = tuple((each.name, each.waivers) for each in mesh.domains if each.waivers)
    inputs = (mesh.policies, waived)
    yield Page(paths.POLICIES, inputs, partial(_policies, *inputs))


def ledger_pages(mesh: Mesh) -> Iterator[Page]:
    """The newest entries of the ledger."""
    newest = tuple(newest_publications(mesh.products, MOST_ENTRIES))
    entries = mesh.entries
    if entries is None:
        entries = sum(len(each.publications) for each in mesh.products)
    inputs = (newest, entries - len(newest))
    yield Page(paths.LEDGER, inputs, partial(_ledger, *inputs))


def glossary_pages(mesh: Mesh) -> Iterator[Page]:
    """The vocabulary of columns. The build before has it if contracts are the same."""
    if mesh.listed is not None:
        return
    inputs = _terms(mesh)
    yield Page(paths.GLOSSARY, inputs, partial(_glossary, *inputs))


def _policies(policies: PolicyFacts | None, waived: Sequence[tuple[str, Sequence[str]]]) -> str:
    findings = policies.findings if policies else ()
    by_rule = sorted(findings, key=lambda each: (each.severity != "error", each.rule, each.file))
    grouped = [
        (rule, list(listed)) for (_, rule), listed in
        groupby(by_rule, key=lambda each: (each.severity, each.rule))
    ]  # fmt: skip
    counted = Counter(each.rule for each in findings)
    rules = [
        {"name": each.name, "severity": each.severity, "asks": each.asks,
         "findings": counted[each.name]}
        for each in (policies.rules if policies else ())
    ]  # fmt: skip
    return html(
        "policies.html",
        paths.POLICIES,
        findings=grouped if policies else None,
        errors=sum(each.severity == "error" for each in findings),
        warnings=sum(each.severity != "error" for each in findings),
        waived=waived,
        waivers=sum(len(listed) for _, listed in waived),
        rules=rules,
    )


def _ledger(entries: Sequence[tuple[str, PublicationFacts]], left_out: int) -> str:
    return html("ledger.html", paths.LEDGER, entries=entries, left_out=left_out)


def _glossary(terms: Sequence[Term], left_out: int) -> str:
    return html("glossary.html", paths.GLOSSARY, terms=terms, left_out=left_out)


def _terms(mesh: Mesh) -> tuple[tuple[Term, ...], int]:
    """The names that most products use, by name; and how many more names are shared."""
    used: dict[str, dict[str, list[str]]] = {}
    types: dict[str, set[str]] = {}
    for product in mesh.products:
        if not product.is_latest:
            continue  # versions of one product share nearly all names
        for column in product.columns:
            meanings = used.setdefault(column.name, {})
            meanings.setdefault(" ".join(column.description.split()), []).append(product.relation)
            types.setdefault(column.name, set()).add(column.type)
    shared = {name: sum(map(len, found.values())) for name, found in used.items()}
    shared = {name: users for name, users in shared.items() if users > 1}
    chosen = sorted(shared, key=lambda name: (-shared[name], name))[:MOST_TERMS]
    terms = tuple(_term(name, shared[name], used[name], types[name]) for name in sorted(chosen))
    return terms, len(shared) - len(terms)


def _term(name: str, products: int, used: dict[str, list[str]], types: set[str]) -> Term:
    meanings = sorted(used.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    shown = tuple(
        (meaning, tuple(users[:MOST_USERS]), max(0, len(users) - MOST_USERS))
        for meaning, users in meanings[:MOST_MEANINGS]
    )
    return Term(name, products, tuple(sorted(types)), shown, max(0, len(meanings) - MOST_MEANINGS))
