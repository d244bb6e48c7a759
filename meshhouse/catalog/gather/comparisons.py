"""What two stored contracts of a product say beside each other.

Belongs here: judging them without rows and readers, and remembering the result. Not here: which
contracts are compared (contract_changes.py), or what a run recorded.

Both contracts are in the ledger for good, so what was found holds until another release judges
otherwise. Reading and judging two contracts takes 30 ms, a remembered result 0.01 ms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from meshhouse import files
from meshhouse.governance.change import Change, Verdict
from meshhouse.governance.comparison import Comparison
from meshhouse.governance.contract import Contract
from meshhouse.governance.judgement import judge
from meshhouse.governance.returned import Returned, returned_columns
from meshhouse.ledger import Ledger

_FORMAT = 2
_FEW = 4
"""Contracts of one domain that are read one by one. With more, all of the domain are read at once:
a look for one takes as long as reading them."""
_REMEMBERED = 2_000
"""Comparisons of one domain that are kept: the newest 40 of each of 50 products."""
_NO_PARTS = frozenset({"version", "latest_version", "relation", "format"})


@dataclass(frozen=True)
class Compared:
    """Two contracts of one product, the later one beside the earlier one."""

    changes: tuple[Change, ...]
    columns: tuple[Returned, ...]
    """Columns that differ, as a rollback from the earlier to the later one says it."""
    parts: tuple[str, ...]
    """Parts that differ."""
    owner: str
    names: tuple[str, ...]
    """All columns of both, in lower case."""


class Comparisons:
    """Compares contracts of the ledger. What was found is kept in a file for each domain."""

    def __init__(self, ledgers: Sequence[Ledger], folder: Path | None = None) -> None:
        """Takes where contracts are stored.

        Args:
            ledgers: of the environment in use, and of production behind it.
            folder: for what was found; None to remember nothing.
        """
        self._ledgers = ledgers
        self._folder = folder
        self._known: dict[str, dict[str, Any]] = {}
        self._new: set[str] = set()
        self._texts: tuple[str, dict[str, str]] = ("", {})
        self._asked: dict[str, int] = {}

    def of(self, domain: str, before: str, after: str, on: date) -> Compared | None:
        """The comparison of two contracts; None if the ledger does not have both.

        Args:
            domain: whose product it is.
            before: hash of the earlier contract.
            after: hash of the later one.
            on: the day of the publication.
        """
        known = self._of_domain(domain)
        key = f"{before} {after}"
        # A damaged file is written again.
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            if key in known:
                return _read(known[key])
        texts = self._text(domain, before), self._text(domain, after)
        if not all(texts):
            return None
        found = _compared(Contract.from_text(texts[0]), Contract.from_text(texts[1]), on)
        known[key] = _written(found)
        self._new.add(domain)
        return found

    def remember(self) -> None:
        """Writes what was found since the last call."""
        for domain in sorted(self._new) if self._folder is not None else ():
            assert self._folder is not None
            kept = dict(list(self._known[domain].items())[-_REMEMBERED:])
            document = {"by": _judged_by(), "found": kept}
            # A folder that cannot be written costs time and changes nothing that a page shows.
            with suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                files.replace(self._folder / f"{domain}.json", json.dumps(document))
        self._new.clear()
        self._texts = "", {}

    def _of_domain(self, domain: str) -> dict[str, Any]:
        if domain not in self._known:
            found: dict[str, Any] = {}
            if self._folder is not None:
                with suppress(OSError, ValueError, KeyError, TypeError):
                    document = json.loads((self._folder / f"{domain}.json").read_text())
                    if document["by"] == _judged_by():
                        found = dict(document["found"])
            self._known[domain] = found
        return self._known[domain]

    def _text(self, domain: str, contract_hash: str) -> str:
        if self._texts[0] != domain:
            self._texts = domain, {}
        texts = self._texts[1]
        if contract_hash in texts:
            return texts[contract_hash]
        asked = self._asked[domain] = self._asked.get(domain, 0) + 1
        if asked == _FEW + 1:
            for ledger in reversed(self._ledgers):
                texts.update(
                    (each["hash"], each["contract"]) for each in ledger.entries("contracts", domain)
                )
        if contract_hash not in texts:  # it was stored by another domain, which owned it before
            found = (ledger.contract(contract_hash) for ledger in self._ledgers)
            texts[contract_hash] = next(filter(None, found), "")
        return texts[contract_hash]


def _compared(before: Contract, after: Contract, on: date) -> Compared:
    changes = judge(Comparison(before, after, today=on))
    parts = sorted(
        str(name)
        for name in before.document.keys() | after.document.keys()
        if name not in _NO_PARTS and before.get(name) != after.get(name)
    )
    names = sorted({name.lower() for each in (before, after) for name in each.columns})
    columns = returned_columns(before, after)
    return Compared(changes, columns, tuple(parts), after.owner, tuple(names))


def _judged_by() -> list[Any]:
    """What decides how contracts are compared: another release may judge otherwise."""
    return [_FORMAT, version("meshhouse")]


def _written(found: Compared) -> dict[str, Any]:
    changes = [
        {"row": each.row, "subject": each.subject, "what": each.what, "effect": each.effect,
         "verdict": int(each.verdict), "is_silent": each.is_silent}
        for each in found.changes
    ]  # fmt: skip
    return {**asdict(found), "changes": changes}


def _read(stored: Mapping[str, Any]) -> Compared:
    return Compared(
        tuple(Change(**{**each, "verdict": Verdict(each["verdict"])})
              for each in stored["changes"]),
        tuple(Returned(**each) for each in stored["columns"]),
        tuple(stored["parts"]),
        str(stored["owner"]),
        tuple(stored["names"]),
    )  # fmt: skip
