"""Every rule of the federation that the mesh knows, and the page that explains them.

Belongs here: the list of rules, and docs/policies.md made from it. Not here: a rule (the modules
beside this one), or rules of one repository (own.py).

`python -m meshhouse.governance.policies.catalogue` writes the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from meshhouse.governance.policies import contracts, descriptions, meaning, naming, owners, promises
from meshhouse.governance.policies.rule import Rule

CHAPTERS: Mapping[str, tuple[Rule, ...]] = {
    "Owners": owners.RULES,
    "Descriptions": descriptions.RULES,
    "Contracts, checks and SQL": contracts.RULES,
    "Names and types": naming.RULES,
    "Promises, versions and waivers": promises.RULES,
    "Meaning, personal data, topics": meaning.RULES,
}
RULES: Mapping[str, Rule] = {rule.name: rule for rules in CHAPTERS.values() for rule in rules}
PAGE = Path("docs", "policies.md")

_HEAD = """\
# Policies

[reference](reference.md) · [contributing](contributing.md)

Policies are rules that every domain keeps. The file `policies.yml` at the root of the repository
names them. `mesh check` applies them, and a run refuses a domain that breaks one of severity
`error`.

    rules:
      owner: error                                  # error: a finding, and the domain's runs stop
      description_length: warn                      # warn: printed, with exit code 0
      freshness_promise: {severity: error, most_hours: 24}
      column_types: off
    own:
      - {file: policies/lake_regions.py, severity: error}

A rule that the file does not name is off. Exceptions are the rules of the mesh itself (marked
below), which are always errors, and `reads_in_staging`, which warns. A file that cannot be used
is a finding of `mesh check` and stops no run.

## Exceptions

A waiver in `waivers.yml` of the domain allows one breach until a date. `product` is what breaks
the rule: a product, a column (`sales.orders.amount`), a raw table or the domain. A waiver of a
product covers its columns.

    waivers:
      - policy: column_units
        product: sales.orders.amount
        why: The unit depends on the store; the column `currency` names it.
        owner: Sales team <sales@example.com>
        until: 2027-01-31

An expired waiver, and one that covers nothing, is a finding. Rules of the mesh itself have no
exceptions.

## Rules in Python

A file in `policies/` at the root of the repository may hold one rule: a function `check(domain,
mesh)` that yields breaches. Its name is the name of the file. The facts are those of
`meshhouse/governance/policies/rule.py`.

    from meshhouse.governance.policies.rule import Breach

    def check(domain, mesh):
        for each in domain.products:
            if each.product.shared and not each.product.description.startswith("For partners"):
                yield each.breach("is shared without a note for partners.", "Begin with it.")

An error in the file is a finding of `mesh check`; it stops no run.
"""


def page() -> str:
    """The text of docs/policies.md."""
    parts = [_HEAD]
    for title, rules in CHAPTERS.items():
        parts.append(f"\n## {title}\n")
        parts += [_section(rule) for rule in rules]
    return "".join(parts)


def _section(rule: Rule) -> str:
    lines = [f"\n### `{rule.name}`\n", f"{rule.demands} {rule.because}"]
    if rule.is_core:
        lines.append("This is a rule of the mesh itself: it is always an error.")
    lines += [f"\nRemedy: {rule.remedy}\n"]
    if rule.options:
        lines += ["| parameter | default |", "|---|---|"]
        lines += [f"| `{name}` | {_shown(value)} |" for name, value in rule.options.items()]
        lines.append("")
    for verb, example in (("passes", rule.passes), ("fails", rule.fails)):
        for place, text in example.items():
            lines.append(f"This {verb} ({place.replace('_', ' of a ')}):\n")
            lines += [f"    {line}" for line in (text or "(no such file)").splitlines()]
            lines.append("")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"`{each}`".replace("|", "\\|") for each in value) or "none"
    return f"`{json.dumps(value)}`"


if __name__ == "__main__":
    PAGE.write_text(page())
