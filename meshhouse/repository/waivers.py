"""Reads `waivers.yml` of a domain: exceptions that its owner answers for.

Belongs here: waivers and confirmations as facts, and the shape of the file. Not here: adding an
entry (new_waivers.py), or which changes and rules they cover (governance/waivers.py).

The file is beside a domain's dbt_project.yml, outside of the folders that dbt reads:

    waivers:
      - change: S1:amount
        product: sales.orders
        why: The column was empty since 2024.
        owner: Sales team <sales@example.com>
        until: 2027-01-31
        consent: [crm]
      - policy: column_units
        product: sales.orders
        why: ...
        owner: ...
        until: 2027-01-31
    confirmations:
      - change: D2
        product: sales.orders
        why: Test orders are left out, as announced.
        owner: Sales team <sales@example.com>
        fingerprint: c3f2a9c81d0aa

An entry that cannot be used is a problem and covers nothing; other entries keep their effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from meshhouse.repository.misfits import ANY, TEXT, Many, Map, misfits
from meshhouse.repository.shapes import mappings
from meshhouse.repository.yaml import DeclarationError, Located, read_yaml

NAME = "waivers.yml"
_CHANGE = re.compile(r"[A-Z]{1,2}\d+[a-z]?(?::\S.*)?")
_FINGERPRINT = re.compile(r"c[0-9a-f]{12}")
_RULE = re.compile(r"[a-z][a-z0-9_]*")
_PRODUCT = re.compile(r"[a-z][a-z0-9_]*\.\w+(?:\.v\d+)?")


@dataclass(frozen=True)
class Waiver:
    """Allows one change of a product, or one breach of a policy, until a date."""

    product: str
    """`sales.orders` for the version that has this name, `sales.orders.v2` for one version; for a
    policy also a column, a raw table or a domain."""
    why: str
    owner: str
    until: date
    """The last day on which it holds."""
    path: Path
    line: int
    change: str = ""
    """Key of the judged change; empty for a policy."""
    policy: str = ""
    """Name of the rule; empty for a change."""
    consent: tuple[str, ...] = ()
    """Domains that read the product and agreed."""

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.path.name}:{self.line}"


@dataclass(frozen=True)
class Confirmation:
    """Says that a silent change of a product is meant."""

    product: str
    change: str
    why: str
    owner: str
    fingerprint: str
    """Identifies the exact change; see `fingerprint` in governance/waivers.py."""
    path: Path
    line: int
    """0 for a confirmation that was given with the run itself."""

    @property
    def place(self) -> str:
        """File and line, or the option of the run, for messages."""
        return f"{self.path.name}:{self.line}" if self.line else "the run's --confirm"


@dataclass(frozen=True)
class Waivers:
    """What one file declares."""

    path: Path
    waivers: tuple[Waiver, ...] = ()
    confirmations: tuple[Confirmation, ...] = ()
    problems: tuple[DeclarationError, ...] = field(default=(), compare=False)
    """What cannot be used, with its line."""


_WAIVER = Map(
    "a waiver",
    {
        "change": TEXT, "policy": TEXT, "product": TEXT, "why": TEXT, "owner": TEXT, "until": ANY,
        "consent": Many(TEXT),
    },
    required=("product", "why", "owner", "until"),
    is_of_the_mesh=True,
)  # fmt: skip
_CONFIRMATION = Map(
    "a confirmation",
    {
        "change": TEXT, "product": TEXT, "why": TEXT, "owner": TEXT,
        "fingerprint": TEXT,
    },
    required=("change", "product", "why", "owner", "fingerprint"),
    is_of_the_mesh=True,
)  # fmt: skip
_FILE = Map(
    NAME,
    {"waivers": Many(_WAIVER), "confirmations": Many(_CONFIRMATION)},
    is_of_the_mesh=True,
)


def read_waivers(folder: Path) -> Waivers:
    """The waivers of the domain in a folder; without a file, none."""
    path = folder / NAME
    if not path.exists() and not path.is_symlink():
        return Waivers(path)
    try:
        content = read_yaml(path)
    except DeclarationError as error:
        return Waivers(path, problems=(error,))
    return waivers_of(path, content)


def waivers_of(path: Path, content: Located) -> Waivers:
    """The waivers in the content of a file."""
    problems = [
        DeclarationError(path, each.line, f"{each.problem} {each.remedy}".rstrip())
        for each in misfits(content, _FILE)
    ]
    waivers: list[Waiver] = []
    confirmations: list[Confirmation] = []
    for entry in mappings(content.get("waivers")):
        found = [DeclarationError(path, line, text) for line, text in _bad_waiver(entry)]
        problems += found
        if not found and _fits(entry, _WAIVER):
            waivers.append(_waiver(path, entry))
    for entry in mappings(content.get("confirmations")):
        found = [DeclarationError(path, line, text) for line, text in _bad_confirmation(entry)]
        problems += found
        if not found and _fits(entry, _CONFIRMATION):
            values = {key: str(entry[key]).strip() for key in _CONFIRMATION.required}
            confirmations.append(Confirmation(**values, path=path, line=entry.line))
    problems += _twice(path, waivers)
    return Waivers(path, tuple(waivers), tuple(confirmations), tuple(dict.fromkeys(problems)))


def _fits(entry: Located, shape: Map) -> bool:
    return next(misfits(entry, shape), None) is None


def _waiver(path: Path, entry: Located) -> Waiver:
    until = _date(entry["until"])
    assert until is not None
    return Waiver(
        product=entry["product"],
        why=entry["why"].strip(),
        owner=entry["owner"].strip(),
        until=until,
        path=path,
        line=entry.line,
        change=entry.get("change") or "",
        policy=entry.get("policy") or "",
        consent=tuple(entry.get("consent") or ()),
    )


def _bad_waiver(entry: Located) -> Iterator[tuple[int, str]]:
    """Line and text of each fault of values that the shape cannot express."""
    if ("change" in entry) == ("policy" in entry):
        yield (
            entry.line,
            "a waiver names either a `change` or a `policy`. Write one of the two.",
        )
    yield from _bad_change(entry)
    policy = entry.get("policy")
    if isinstance(policy, str) and not _RULE.fullmatch(policy):
        yield (
            entry.line_of("policy"),
            f"`{policy}` is not the name of a rule. docs/policies.md lists the rules.",
        )
    if policy and "consent" in entry:
        yield (
            entry.line_of("consent"),
            "`consent` has no effect on a policy. Remove it: consumers consent to changes.",
        )
    if entry.get("until") is not None and _date(entry["until"]) is None:
        yield (
            entry.line_of("until"),
            f"`until` is `{entry['until']}`, which is not a date. Write the last day as "
            "2027-01-31.",
        )
    yield from _empty(entry)


def _bad_confirmation(entry: Located) -> Iterator[tuple[int, str]]:
    yield from _bad_change(entry)
    written = entry.get("fingerprint")
    if isinstance(written, str) and not _FINGERPRINT.fullmatch(written):
        yield (
            entry.line_of("fingerprint"),
            f"`{written}` is not a fingerprint. Copy the one that the refused run shows.",
        )
    yield from _empty(entry)


def _bad_change(entry: Located) -> Iterator[tuple[int, str]]:
    change, product = entry.get("change"), entry.get("product")
    if isinstance(change, str) and not _CHANGE.fullmatch(change):
        yield (
            entry.line_of("change"),
            f"`{change}` does not name a change. Copy it from `mesh diff`, such as S1:amount.",
        )
    if "change" in entry and isinstance(product, str) and not _PRODUCT.fullmatch(product):
        yield (
            entry.line_of("product"),
            f"`{product}` does not name a product. Write sales.orders, or sales.orders.v2 for one "
            "version.",
        )


def _empty(entry: Located) -> Iterator[tuple[int, str]]:
    for key in ("why", "owner"):
        if isinstance(entry.get(key), str) and not entry[key].strip():
            yield entry.line_of(key), f"`{key}` is empty. Say it, so that readers can ask."


def _date(value: Any) -> date | None:
    if isinstance(value, datetime):
        return None
    if isinstance(value, date):
        return value
    try:
        found = date.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if value == found.isoformat() else None  # 20270131 and 2027-W04-7 are unusual


def _twice(path: Path, waivers: list[Waiver]) -> Iterator[DeclarationError]:
    first: dict[tuple[str, str, str], int] = {}
    for each in waivers:
        line = first.setdefault((each.change, each.policy, each.product), each.line)
        if line != each.line:
            problem = f"this waiver is already in line {line}. Keep one of the two."
            yield DeclarationError(path, each.line, problem)
