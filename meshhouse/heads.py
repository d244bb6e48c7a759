"""Heads: what is current of each product, from the entries of the ledger.

Belongs here: how an entry changes a head, the same for a commit and for the whole history. Not
here: where heads are stored (lake/heads.py, engines/snowflake/heads.py), or the fields of a head
(ledger.py).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from meshhouse.ledger import Head, Ledger, user

Entry = Mapping[str, Any]
Entries = Mapping[str, Sequence[Entry]]
Key = tuple[str, str]
"""Domain, and the product's name; an empty name for the domain itself."""
CHANGE_HEADS = ("publications", "runs")
"""Ledgers whose entries change heads."""
_CONFIRM = ("published", "unchanged")
_KEPT = ("publication_id", "version", "snapshot_id", "rows", "bytes", "score", "code_version",
         "contract_hash")  # fmt: skip


REPEATS = ("rollback", "rename", "alias", "end", "retire", "unretire")
"""Kinds of entries that do not publish new rows."""


@dataclass
class Standing:
    """The publications of one product that were not rolled back, while its entries are read."""

    shown: list[Entry] = field(default_factory=list)
    """Oldest first; consumers see the last one. Empty while the product is retired."""
    retired: list[Entry] = field(default_factory=list)

    @classmethod
    def after(cls, history: Iterable[Entry]) -> Standing:
        """The publications of a product after all its entries, oldest first."""
        found = cls()
        for entry in history:
            found.add(entry)
        return found

    def add(self, entry: Entry) -> None:
        """Reads the next entry."""
        match entry["kind"]:
            case "rollback":
                del self.shown[-1:]
            case "retire":
                self.shown, self.retired = [], self.shown
            case "unretire":
                self.shown, self.retired = self.retired, []
            case "rename" | "alias" | "end":
                pass  # the same rows; another name shows them, or none does
            case _:
                self.shown.append(entry)


class Turn(NamedTuple):
    """An entry of a product's history that changes which rows readers see."""

    entry: Entry
    before: Entry
    """The publication that readers saw until then."""
    after: Entry
    """The publication that they see since."""

    @property
    def hashes(self) -> tuple[str, str]:
        """Of both contracts; empty where none was stored."""
        before, after = (str(each.get("contract_hash") or "") for each in (self.before, self.after))
        return before, after

    @property
    def changes_contract(self) -> bool:
        """Whether both have contracts that differ."""
        before, after = self.hashes
        return bool(before and after and before != after)


def turns_of(history: Iterable[Entry]) -> Iterator[Turn]:
    """Every entry after which readers see another publication, oldest first.

    The first publication is left out, and so is the one after a retirement: readers saw nothing.
    """
    standing = Standing()
    for entry in history:
        before = standing.shown[-1] if standing.shown else None
        standing.add(entry)
        after = standing.shown[-1] if standing.shown else None
        if before is not None and after is not None and after is not before:
            yield Turn(entry, before, after)


def effective_publications(history: Iterable[Entry]) -> list[Entry]:
    """Publications that were not rolled back, oldest first; consumers see the last one.

    Of a product that is retired, consumers see none.
    """
    return Standing.after(history).shown


def by_product(entries: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """`domain.product` -> its entries; those before a renaming belong to the present name.

    Args:
        entries: of the ledger's publications, oldest first.

    Returns:
        The entries of each product, oldest first, and before them those of any earlier product
        that had the same name when this one was renamed.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        relation = f"{entry['domain']}.{entry['product']}"
        if before := entry.get("renamed_from"):
            # What had this name earlier was another table, whose entries come first: the table
            # that goes on under this name shows the last of its publications.
            found[relation] = [*found.get(relation, ()), *found.pop(before, ())]
        found.setdefault(relation, []).append(entry)
    return found


def publications_of(ledger: Ledger, domain: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """`domain.product` -> its entries, oldest first, of one domain or of all.

    What moved from another domain brings its entries along; what moved away took them along.
    """
    entries = ledger.entries("publications") if domain is None else _with_moved(ledger, {domain})
    found = by_product(entries)
    return {name: each for name, each in found.items() if domain in (None, name.partition(".")[0])}


def _with_moved(ledger: Ledger, domains: Collection[str]) -> list[dict[str, Any]]:
    """Publications of domains, and of all domains from which their products moved.

    Also the entries of products that moved away from these domains.
    """
    renames = ledger.renames()
    wanted: set[str] = set()
    found = {*domains}
    while found - wanted:
        wanted |= found
        found = {_former(each)[0] for each in renames if each["domain"] in wanted}
    entries = [each for domain in sorted(wanted) for each in ledger.entries("publications", domain)]
    entries += [
        each for each in renames if each["domain"] not in wanted and _former(each)[0] in wanted
    ]
    return sorted(entries, key=lambda each: each["number"])


def _former(entry: Entry) -> Key:
    """Domain and name that a renamed product had."""
    domain, _, product = str(entry["renamed_from"]).partition(".")
    return domain, product


def domains_of(entries: Entries) -> set[str]:
    """The domains whose heads a commit changes."""
    changing = [entry for name in CHANGE_HEADS for entry in entries.get(name, ())]
    moved = {_former(entry)[0] for entry in changing if entry.get("renamed_from")}
    return {str(entry["domain"]) for entry in changing} | moved


def after_commit(
    heads: Mapping[Key, Head], entries: Entries, number: int, ledger: Ledger
) -> dict[Key, Head]:
    """Heads of some domains after a commit.

    Args:
        heads: all heads of the domains of the commit, with their documents.
        entries: the entries of the commit.
        number: the number of the commit.
        ledger: as it is without the commit. A rollback reads the history of its product.
    """
    found = dict(heads)
    for entry in entries.get("publications", ()):
        key = str(entry["domain"]), str(entry["product"])
        before = _take_over(found, key, entry)
        numbered = {**entry, "number": number}
        if entry["kind"] in REPEATS:
            others = {_former(entry)[0]} if entry.get("renamed_from") else set()
            history = by_product([*_with_moved(ledger, {key[0], *others}), numbered])
            standing = effective_publications(history[before.relation])
            documents = _documents_of(standing[-1:], ledger)
        else:
            standing = [*([{"number": before.number}] if before.is_published else []), numbered]
            documents = _given_documents(entry, entries)
        found[key] = _shown(before, entry, standing, *documents)
    for run in entries.get("runs", ()):
        _add_run(found, run)
    return found


def from_history(ledger: Ledger, domain: str | None = None) -> dict[Key, Head]:
    """All heads, from every entry of the ledger."""
    # Of all domains, because a product brings along what happened to it in another domain.
    publications = ledger.entries("publications")
    commits: dict[int, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in publications:
        commits[entry["number"]]["publications"].append(entry)
    for entry in ledger.entries("runs"):
        commits[entry["number"]]["runs"].append(entry)
    keys = {(str(each["domain"]), str(each["product"])) for each in publications}
    found = {key: Head(*key) for key in keys}  # for old runs, see `_add_run`
    stacks: dict[Key, Standing] = defaultdict(Standing)
    histories: dict[Key, list[Entry]] = defaultdict(list)
    for number in sorted(commits):
        for entry in commits[number]["publications"]:
            key = str(entry["domain"]), str(entry["product"])
            before = _take_over(found, key, entry)
            if entry.get("renamed_from"):
                stacks.pop(_former(entry), None)
                histories[key] += histories.pop(_former(entry), [])
                stacks[key] = Standing.after(histories[key])
            histories[key].append(entry)
            stacks[key].add(entry)
            found[key] = _shown(before, entry, stacks[key].shown, None, None)
        for run in commits[number]["runs"]:
            _add_run(found, run)
    found = {key: head for key, head in found.items() if domain in (None, key[0])}
    return _with_documents(found, ledger)


def differing(stored: Mapping[Key, Head], right: Mapping[Key, Head]) -> list[str]:
    """Relations and domains whose stored heads are not right."""
    return sorted(
        (stored.get(key) or right[key]).relation
        for key in stored.keys() | right.keys()
        if stored.get(key) != right.get(key)
    )


def _take_over(found: dict[Key, Head], key: Key, entry: Entry) -> Head:
    """The head of a product before an entry; a renamed product takes over that of its old name."""
    before = found.get(key, Head(*key))
    if not entry.get("renamed_from"):
        return before
    old = found.pop(_former(entry), before)
    return replace(old, domain=key[0], product=key[1])


def _shown(
    before: Head,
    entry: Entry,
    standing: Sequence[Entry],
    contract: str | None,
    statistics: str | None,
) -> Head:
    """The head after an entry of the ledger's publications.

    Args:
        before: the head before it.
        entry: of any kind.
        standing: at least the last two publications that are not rolled back after it; none of a
            product that is retired.
        contract: the contract of the last one.
        statistics: its statistics.
    """
    shown = standing[-1] if standing else {}
    kind = entry["kind"]
    retired: Entry = entry if kind == "retire" else {}
    return replace(
        before,
        **{name: shown.get(name) for name in _KEPT},
        number=shown.get("number"),
        kind=kind,
        published_at=shown.get("finished_at"),
        previous=standing[-2]["number"] if len(standing) > 1 else None,
        # What runs said before a rollback, they said of the publication that was taken back.
        refreshed_at=shown.get("finished_at") if kind == "rollback" else before.refreshed_at,
        retired_at=retired.get("finished_at"),
        # An entry gets the user's name only when it is stored.
        retired_by=(retired.get("done_by") or user()) if retired else None,
        retired_version=retired.get("version"),
        retired_rows=retired.get("rows"),
        contract=contract,
        statistics=statistics,
    )


def _add_run(found: dict[Key, Head], run: Entry) -> None:
    """Notes in heads how a run ended."""
    domain = str(run["domain"])
    became = run.get("products")
    if isinstance(became, str):
        became = json.loads(became)
    if became is None:  # an old run, which was about all products
        became = {
            product: run.get("outcome") for owner, product in found if owner == domain and product
        }
    for product, outcome in {**became, "": run.get("outcome")}.items():
        head = found.get((domain, product), Head(domain, product))
        at = run.get("finished_at")
        refreshed = at if outcome in _CONFIRM else head.refreshed_at
        found[domain, product] = replace(
            head, last_run=outcome, last_run_at=at, refreshed_at=refreshed
        )


def _given_documents(entry: Entry, entries: Entries) -> tuple[str | None, str | None]:
    """Contract and statistics of a publication, as a commit brings them."""
    product = (entry["domain"], entry["product"])
    contracts = {
        (each["domain"], each["product"]): each["contract"] for each in entries.get("contracts", ())
    }
    measured = {
        (each["domain"], each["product"]): each["statistics"]
        for each in entries.get("statistics", ())
    }
    return contracts.get(product), _text(measured.get(product))


def _documents_of(shown: Sequence[Entry], ledger: Ledger) -> tuple[str | None, str | None]:
    """Contract and statistics of an earlier publication."""
    if not shown:
        return None, None
    [entry] = shown
    promised = entry.get("contract_hash")
    identity = entry.get("publication_id")
    measured = ledger.statistics([identity]) if identity else {}
    return ledger.contract(promised) if promised else None, measured.get(identity)


def _with_documents(heads: Mapping[Key, Head], ledger: Ledger) -> dict[Key, Head]:
    contracts = {each["hash"]: each["contract"] for each in ledger.entries("contracts")}
    measured = ledger.statistics(
        [head.publication_id for head in heads.values() if head.publication_id]
    )
    return {
        key: replace(
            head,
            contract=contracts.get(head.contract_hash),
            statistics=measured.get(head.publication_id),
        )
        for key, head in heads.items()
    }


def _text(document: Any) -> str | None:
    return document if document is None or isinstance(document, str) else json.dumps(document)
