"""How the declarations keep the federation's rules, as `mesh check` finds it.

Belongs here: findings as documents, and remembering them. Not here: the rules (governance/), or
what a finding stops (lint/).

Checking takes 8 ms for each product, 40 s for 5,000. So findings are remembered with the sizes and
times of all files that decide them, and a build after a publication does not check again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from meshhouse import files
from meshhouse.catalog.declared import stamp
from meshhouse.catalog.digests import digest_of_code
from meshhouse.catalog.documents import FindingFacts, PolicyFacts, RuleFacts
from meshhouse.governance.contract import Contract
from meshhouse.governance.policies.catalogue import RULES
from meshhouse.lint import Finding, check
from meshhouse.repository import Repository
from meshhouse.repository.policies import ERROR, OFF, WARN, read_policies

_REMEMBERED = "findings.json"
_PACKAGE = Path(__file__).parents[2]


def policies_of(
    repository: Repository,
    published: Mapping[str, Contract],
    now: datetime,
    hashes: Mapping[str, str] = {},
) -> PolicyFacts:
    """The rules in force, and every finding in the declarations.

    Args:
        repository: whose declarations.
        published: published relation -> its current contract.
        now: findings depend on the day, because waivers end.
        hashes: relation -> the hash of its contract, where it is known. Computing those of 5,000
            contracts takes a second.
    """
    digest = _digest(
        repository, {each: hashes.get(each) or published[each].hash for each in published}, now
    )
    remembered = repository.workspace / _REMEMBERED
    findings = _read(remembered, digest)
    if findings is None:
        found = check(repository, lambda _: published)
        findings = tuple(_as_facts(each, repository.root) for each in found)
        _write(remembered, digest, findings)
    return PolicyFacts(tuple(_rules(repository)), findings)


def _rules(repository: Repository) -> Iterator[RuleFacts]:
    policies = read_policies(repository.root)
    for rule in RULES.values():
        setting = policies.rules.get(rule.name)
        severity = ERROR if rule.is_core else setting.severity if setting else rule.severity
        if severity != OFF:
            yield RuleFacts(rule.name, severity, rule.demands)
    for own in policies.own:
        if own.severity != OFF:
            yield RuleFacts(Path(own.file).stem, own.severity, f"The rule in {own.file}.")


def _as_facts(finding: Finding, root: Path) -> FindingFacts:
    path = finding.path
    with suppress(ValueError):  # it is outside, such as a link's target
        path = path.relative_to(root)
    return FindingFacts(
        path.as_posix(),
        finding.line,
        finding.rule,
        WARN if finding.is_warning else ERROR,
        finding.problem,
        finding.remedy,
    )


def _digest(repository: Repository, hashes: Mapping[str, str], now: datetime) -> str:
    """Of everything that decides the findings."""
    code = f"{digest_of_code()} {digest_of_package()}"
    hashed = hashlib.blake2b(f"{code} {now:%Y-%m-%d}\n".encode(), digest_size=16)
    for relation in sorted(hashes):
        hashed.update(f"{relation} {hashes[relation]}\n".encode())
    hashed.update(stamp(repository).digest.encode())
    return hashed.hexdigest()


@cache
def digest_of_package() -> str:
    """Of all our code: rules use most rooms. It takes 20 ms."""
    hashed = hashlib.blake2b(digest_size=16)
    for path in sorted(_PACKAGE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            hashed.update(f"{path.relative_to(_PACKAGE).as_posix()}\n".encode())
            hashed.update(path.read_bytes())
    return hashed.hexdigest()


def _read(remembered: Path, digest: str) -> tuple[FindingFacts, ...] | None:
    try:
        content: Any = json.loads(remembered.read_text())
        if content["digest"] == digest:
            return tuple(FindingFacts(**each) for each in content["findings"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent, half written, or of another version
    return None


def _write(remembered: Path, digest: str, findings: tuple[FindingFacts, ...]) -> None:
    content = json.dumps({"digest": digest, "findings": [asdict(each) for each in findings]})
    # A folder that cannot be written costs time and changes nothing that a page shows.
    with suppress(OSError):
        remembered.parent.mkdir(parents=True, exist_ok=True)
        files.replace(remembered, content)
