"""Which rules a domain breaks, after severities and waivers.

Belongs here: applying `policies.yml` to facts. Not here: the rules (catalogue.py), or what a
finding stops (lint/).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from meshhouse.governance.contract import Contract
from meshhouse.governance.policies.catalogue import RULES
from meshhouse.governance.policies.facts import facts_of
from meshhouse.governance.policies.own import OwnCheck, RuleFailed
from meshhouse.governance.policies.rule import Breach, DomainFacts, Mesh, Rule
from meshhouse.repository import Domain, Repository
from meshhouse.repository.policies import ERROR, OFF, Policies, RuleSetting, read_policies
from meshhouse.repository.waivers import Waiver

PATTERNS = ("pattern", "names")
"""Parameters that hold regular expressions."""


@dataclass(frozen=True, order=True)
class Problem:
    """Something that `policies.yml` or a waiver has wrong."""

    path: Path
    line: int
    problem: str
    remedy: str


@dataclass(frozen=True)
class Broken:
    """A breach with the rule that it breaks."""

    breach: Breach
    rule: str
    severity: str
    """`error` or `warn`."""
    remedy: str
    is_core: bool = False
    """The rule is one of the mesh itself, which no waiver suspends."""


@dataclass(frozen=True)
class Evaluation:
    """How one domain keeps the rules."""

    broken: tuple[Broken, ...]
    waived: tuple[tuple[Broken, Waiver], ...] = ()
    problems: tuple[Problem, ...] = ()
    """Own rules that failed, and waivers that cover nothing."""


class Federation:
    """The rules of a repository, read once."""

    def __init__(
        self, repository: Repository, today: date, published: Mapping[str, Contract] | None = None
    ) -> None:
        """Reads `policies.yml`.

        Args:
            repository: whose rules.
            today: the day in UTC, for end dates.
            published: published relation -> its current contract, where a ledger was read.
        """
        self._policies: Policies = read_policies(repository.root)
        self._mesh = Mesh(repository.domain_names, today, published or {})
        self._own = [
            (each, OwnCheck(repository.root / each.file), Path(each.file).stem)
            for each in self._policies.own
        ]

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong in `policies.yml`, sorted by line."""
        path = self._policies.path
        found = [Problem(each.path, each.line, each.problem, "") for each in
                 self._policies.problems]  # fmt: skip
        for setting in self._policies.rules.values():
            found += [Problem(path, setting.line, *each) for each in _wrong(setting)]
        for own, _, name in self._own:
            if name in RULES:
                text = f"`{own.file}` has the name of a rule of the mesh, `{name}`."
                found.append(Problem(path, own.line, text, "Rename the file."))
        return tuple(sorted(found))

    def evaluate(self, domain: Domain) -> Evaluation:
        """How a domain keeps the rules.

        Of a domain with problems only the rules of the mesh itself are judged: facts may be
        missing because a file cannot be read.
        """
        facts = facts_of(domain)
        found, problems = [], []
        for rule, severity, options in self._rules():
            if rule.is_core or not domain.problems:
                found += [
                    Broken(each, rule.name, severity, each.remedy or rule.remedy, rule.is_core)
                    for each in rule.check(facts, self._mesh, options)
                ]
        if not domain.problems:
            for own, check, name in self._own:
                if own.severity == OFF:
                    continue
                try:
                    found += [
                        Broken(each, name, own.severity, each.remedy)
                        for each in check(facts, self._mesh)
                    ]
                except RuleFailed as error:
                    text = f"the rule in `{own.file}` failed: {error}"
                    problems.append(Problem(self._policies.path, own.line, text, ""))
        broken, waived, unused = _after(found, facts, self._mesh.today)
        problems += [_unused(each, self._is_known(each.policy)) for each in unused]
        return Evaluation(tuple(broken), tuple(waived), tuple(problems))

    def _rules(self) -> Iterator[tuple[Rule, str, Mapping[str, Any]]]:
        for rule in RULES.values():
            setting = self._policies.rules.get(rule.name)
            usable = setting if setting and not list(_wrong(setting)) else None
            default = ERROR if rule.is_core else rule.severity
            severity = usable.severity if usable else default
            if severity != OFF:
                yield rule, severity, {**rule.options, **(usable.parameters if usable else {})}

    def _is_known(self, name: str) -> bool:
        return name in RULES or any(name == each for _, _, each in self._own)


def _wrong(setting: RuleSetting) -> Iterator[tuple[str, str]]:
    """Problem and remedy of each fault of a rule's setting."""
    rule = RULES.get(setting.name)
    if rule is None:
        close = difflib.get_close_matches(setting.name, RULES, n=1)
        remedy = f"Did you mean `{close[0]}`?" if close else "docs/policies.md lists the rules."
        yield f"there is no rule `{setting.name}`.", remedy
        return
    if rule.is_core and setting.severity != ERROR:
        yield (
            f"rule `{rule.name}` is one of the mesh itself and cannot be {setting.severity}.",
            "Write error, or remove the line.",
        )
    for name, value in setting.parameters.items():
        if name not in rule.options:
            known = ", ".join(f"`{each}`" for each in rule.options) or "none"
            yield f"rule `{rule.name}` has no parameter `{name}`.", f"It has: {known}."
        elif not _same_kind(value, rule.options[name]):
            yield (
                f"`{name}` of rule `{rule.name}` is `{value}`.",
                f"Write {_kind(rule.options[name])}.",
            )
        elif name in PATTERNS and not all(map(_is_pattern, _texts(value))):
            yield f"`{name}` of rule `{rule.name}` is `{value}`.", "Write a regular expression."


def _texts(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _same_kind(value: Any, default: Any) -> bool:
    if isinstance(default, list):
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if isinstance(default, int):
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, str)


def _kind(default: Any) -> str:
    if isinstance(default, list):
        return "a list of texts"
    return "a whole number from 0" if isinstance(default, int) else "a text"


def _after(
    found: Sequence[Broken], facts: DomainFacts, today: date
) -> tuple[list[Broken], list[tuple[Broken, Waiver]], list[Waiver]]:
    """What is left of breaches after the waivers of the domain, what they cover, and the rest."""
    waivers = [each for each in facts.waivers.waivers if each.policy]
    left, waived, used = [], [], set()
    for each in found:
        by = next((waiver for waiver in waivers if _covers(waiver, each)), None)
        if by is not None:
            used.add(by)
        if by is not None and by.until >= today and not each.is_core:
            waived.append((each, by))
        else:
            left.append(each)
    unused = [each for each in waivers if each not in used and each.until >= today]
    return left, waived, unused


def _covers(waiver: Waiver, broken: Broken) -> bool:
    subject = broken.breach.subject
    same = subject == waiver.product or subject.startswith(f"{waiver.product}.")
    return waiver.policy == broken.rule and same


def _unused(waiver: Waiver, is_known: bool) -> Problem:
    if not is_known:
        text, remedy = f"there is no rule `{waiver.policy}`.", "docs/policies.md lists the rules."
    else:
        text = f"nothing of {waiver.product} breaks `{waiver.policy}`, so this waiver is unused."
        remedy = "Remove it."
    return Problem(waiver.path, waiver.line, text, remedy)
