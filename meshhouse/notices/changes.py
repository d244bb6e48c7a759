"""Notices of change: what a publication means for each domain that reads the product.

Belongs here: pure functions from entries of the ledger to messages, one for each consumer domain
and publication. Not here: what is wrong without anybody's decision (causes.py), judging changes
(governance/), or reading the ledger (gather.py).

A consumer's message names its own models, its own columns and the changes that hit them, nothing of
other consumers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from meshhouse.catalog import paths
from meshhouse.governance.change import Verdict
from meshhouse.governance.contract import Contract
from meshhouse.governance.readers import EVERY
from meshhouse.governance.returned import returned_columns
from meshhouse.heads import Turn
from meshhouse.notices.audience import UNKNOWN, said
from meshhouse.notices.causes import BREACH, RECOVERY
from meshhouse.notices.facts import Use
from meshhouse.notices.message import NOTICE, Message

NEW_VERSION, DEPRECATION, CHANGE = "new_version", "deprecation", "change"
ROLLBACK, RETIREMENT, RENAMING = "rollback", "retirement", "renaming"
WORST_FIRST = (
    RETIREMENT, BREACH, ROLLBACK, RENAMING, DEPRECATION, NEW_VERSION, RECOVERY, CHANGE,
)  # fmt: skip
"""Kinds of notices. A message that holds several has the first of them as its kind."""
_OF_DATES = ("Y1", "Y2", "Y3")
"""Kinds of change that are about the date of a deprecation, which is a notice itself."""

Entry = Mapping[str, Any]
Audience = Callable[[Sequence[str]], Sequence[Use]]
"""Names of a product -> who reads it."""
Undone = Callable[[Entry], Turn | None]
"""The entry of a rollback -> which publication it took back, and which readers see again."""


@dataclass(frozen=True)
class Known:
    """What was last seen of one product."""

    product: str
    """`domain.model`, which all its versions share; empty if no contract was stored."""
    version: int = 1
    names: tuple[str, ...] = ()
    """Every relation under which it can be read."""
    ends: str = ""
    """Its last promised day."""
    owner: str = ""
    shown: str = ""
    """`rolled back` or `retired`, if the last entry says so."""

    @classmethod
    def of(cls, relation: str, contract: Contract | None, shown: str = "") -> Known:
        """From a contract, if there is one."""
        if contract is None:
            return cls("", names=(relation,), shown=shown)
        owner = contract.get("owner", {})
        contact = str(owner.get("contact") or owner.get("email") or "")
        return cls(
            contract.product,
            contract.version,
            tuple(dict.fromkeys((relation, *map(str, contract.get("aliases", ()))))),
            str(contract.get("deprecation_date") or "")[:10],
            " ".join(each for each in (str(owner.get("name") or ""), contact) if each),
            shown,
        )

    def as_json(self) -> dict[str, Any]:
        """For the memory of the outbox."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Known:
        """Reads what `as_json` wrote."""
        return cls(**{**stored, "names": tuple(stored["names"])})


@dataclass(frozen=True)
class _Said:
    """One sentence of a notice."""

    kind: str
    text: str
    only: str = ""
    """The consumer domain that it concerns; empty for everyone who reads the product."""
    column: str = ""
    """The column that it concerns, in lower case; empty for everyone who reads the product."""

    def concerns(self, use: Use) -> bool:
        """Whether a consumer reads what it is about."""
        if self.only not in ("", use.domain):
            return False
        read = {each.lower() for _, columns in use.models for each in columns}
        return (
            not self.column
            or not read.isdisjoint((EVERY, UNKNOWN, self.column))
            or any(each.startswith(f"{self.column}.") for each in read)
        )


def notices(
    entries: Sequence[Entry],
    known: Mapping[str, Known],
    contract_of: Callable[[str], Contract | None],
    audience: Audience,
    undone: Undone = lambda entry: None,
) -> tuple[list[Message], dict[str, Known]]:
    """The messages about new publications, and what is known after them.

    Args:
        entries: new entries of the ledger's publications, in the order of their numbers.
        known: relation -> what was seen before.
        contract_of: the contract with a hash.
        audience: who reads a product now.
        undone: what a rollback took back.
    """
    after = dict(known)
    messages: list[Message] = []
    for entry in entries:
        relation = f"{entry['domain']}.{entry['product']}"
        before = after.get(relation)
        sentences, names, now = _judged(entry, relation, before, after, contract_of, undone)
        if now is not None:
            after[relation] = now
        if entry.get("renamed_from"):
            after.pop(str(entry["renamed_from"]), None)
        if sentences:
            owner = (now or before or Known("")).owner
            messages += _messages(entry, relation, sentences, audience(names), owner)
    return messages, after


def _judged(
    entry: Entry,
    relation: str,
    before: Known | None,
    known: Mapping[str, Known],
    contract_of: Callable[[str], Contract | None],
    undone: Undone,
) -> tuple[list[_Said], tuple[str, ...], Known | None]:
    """The sentences of an entry, the names whose readers it concerns, and what is known after."""
    kind, names = entry["kind"], before.names if before else (relation,)
    promised = entry.get("contract_hash")
    now = Known.of(relation, contract_of(promised) if promised else None)
    if kind == "rollback":
        said = list(_of_rollback(relation, undone(entry), contract_of))
        return said, names, replace(now, shown="rolled back")
    if kind == "retire":
        text = f"{relation} was retired and cannot be read any more."
        kept = replace(before or now, shown="retired")
        return [_Said(RETIREMENT, text)], names, kept
    if kind == "unretire":
        return [_Said(RECOVERY, f"{relation} is back and can be read again.")], names, now
    if kind == "rename":
        old = str(entry["renamed_from"])
        names = known[old].names if old in known else (old,)
        text = f"{old} is called {relation} now. The old name can still be read."
        return [_Said(RENAMING, text)], (*names, relation), now
    if kind == "end":
        ended = str(entry["alias"])
        text = f"The name {ended} cannot be read any more. Read {relation}."
        return [_Said(RETIREMENT, text)], (ended,), now
    if kind != "publish":
        return [], names, before
    sentences, names = _of_publication(entry, relation, before, now, known)
    return sentences, names, now


def _of_publication(
    entry: Entry, relation: str, before: Known | None, now: Known, known: Mapping[str, Known]
) -> tuple[list[_Said], tuple[str, ...]]:
    names = (*now.names, *(before.names if before else ()))
    found: list[_Said] = []
    if before is None:
        older = {
            other: each
            for other, each in known.items()
            if now.product and each.product == now.product and other != relation
        }
        if older:
            text = f"Version {now.version} of {now.product} was published as {relation}."
            found.append(_Said(NEW_VERSION, text))
            names = (*names, *(name for each in older.values() for name in each.names))
    elif before.ends != now.ends:
        text = (
            f"{relation} is deprecated: it is promised until {now.ends}."
            if now.ends
            else f"{relation} is not deprecated any more."
        )
        found.append(_Said(DEPRECATION, text))
    if before is not None and before.shown:
        found.append(_Said(RECOVERY, f"{relation} was published again; it was {before.shown}."))
    return [*found, *_changes(entry)], tuple(dict.fromkeys(names))


def _of_rollback(
    relation: str, turn: Turn | None, contract_of: Callable[[str], Contract | None]
) -> Iterator[_Said]:
    """What a rollback undid, and which columns it gives back, for each consumer its own ones."""
    if turn is None:
        text = f"{relation} was rolled back: readers see an earlier publication again."
        yield _Said(ROLLBACK, text)
        return
    yield _Said(
        ROLLBACK,
        f"{relation} was rolled back: publication {turn.before['number']} was undone, and readers "
        f"see publication {turn.after['number']} again.",
    )
    before, after = (contract_of(each) if each else None for each in turn.hashes)
    for found in returned_columns(before, after, turn.before.get("changes") or ()):
        text = f"Your column {found.column} {found.how}."
        yield _Said(ROLLBACK, text, column=found.column.lower())
    for each in _changes(turn.before):
        yield replace(each, kind=ROLLBACK, text=f"Undone: {each.text}")


def _changes(entry: Entry) -> Iterator[_Said]:
    """What the publication changed, for each consumer that it hits."""
    for each in entry.get("changes") or ():
        if str(each["change"]).partition(":")[0] in _OF_DATES:
            continue
        refused = (str(Verdict.BREAKING), str(Verdict.FORBIDDEN))
        kind = BREACH if each["verdict"] in refused else CHANGE
        for consumer in sorted({str(hit).partition(".")[0] for hit in each.get("hits") or ()}):
            yield _Said(kind, f"Change {each['change']} ({each['verdict']}): {each['what']}",
                        consumer)  # fmt: skip


def _key(entry: Entry, relation: str, consumer: str) -> str:
    """What tells a repetition of a notice from another notice.

    The number alone does not: after the mesh was restored from a backup, numbers come again.
    """
    identity = entry.get("publication_id") or entry.get("run_id") or ""
    return f"publication:{relation}:{entry['number']}:{identity}:{consumer}"


def _messages(
    entry: Entry, relation: str, sentences: Sequence[_Said], found: Sequence[Use], owner: str
) -> Iterator[Message]:
    for use in found:
        own = [each for each in sentences if each.concerns(use)]
        if not own:
            continue
        own.sort(key=lambda each: WORST_FIRST.index(each.kind))
        at = entry.get("finished_at")
        first, *others = (each.text for each in own)
        lines = [*others, f"Your models: {said(use)}."]
        lines += [f"Owner: {owner}."] if owner else []
        yield Message(
            key=_key(entry, relation, use.domain),
            state=NOTICE,
            kind=own[0].kind,
            domain=use.domain,
            title=first,
            lines=tuple(lines),
            facts={
                "product": relation,
                "publication": entry["number"],
                "published_at": at.isoformat() if isinstance(at, datetime) else None,
                "kinds": list(dict.fromkeys(each.kind for each in own)),
                "consumer": use.domain,
                "models": dict(use.models),
            },
            link=paths.public_url(paths.product(relation)) or "",
            groups=use.groups,
            to_consumer=True,
        )
