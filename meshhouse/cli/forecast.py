"""The output of `mesh run --dry-run`.

Belongs here: printing a forecast, as lines for people or as JSON. Not here: making it
(runs/forecast.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import click

from meshhouse.cli.output import counted, escaped, print_json, width
from meshhouse.repository import Domain, broken_because
from meshhouse.runs.forecast import Forecast
from meshhouse.runs.plan import Decision

_REASON = " " * 12
_WIDEST = 10_000


def show_forecasts(
    found: Sequence[Forecast], broken: Sequence[Domain], quiet: bool, as_json: bool
) -> bool:
    """Prints what a run would do; returns whether it would fail.

    Args:
        found: the forecast for each domain.
        broken: selected domains whose declarations are broken.
        quiet: whether to print only problems, on standard error.
        as_json: whether to print JSON instead of lines.
    """
    problems = {each.name: broken_because(each) for each in broken}
    problems |= {each.domain: each.problem for each in found if each.problem}
    if as_json:
        print_json(_as_json(found, problems))
    elif quiet:
        for domain, problem in problems.items():
            click.echo(escaped(f"mesh: {domain}: {problem}"), err=True)
    else:
        for line in _lines(found, problems):
            click.echo(escaped(line))
    return bool(problems)


def _lines(found: Sequence[Forecast], problems: dict[str, str]) -> Iterator[str]:
    for each in found:
        for raw, events in each.waiting.items():
            yield f"{'land':<11} {raw.topic}: {counted(events, 'event')} waiting"
        yield from _plan(each)
    for domain, problem in problems.items():
        yield from _wrapped(f"{'cannot run':<11} ", f"{domain}: {problem}")
    counts = dict.fromkeys(Decision, 0)
    for each in found:
        for verdict in each.plan.verdicts.values() if each.plan else ():
            counts[verdict.decision] += 1
    yield (
        f"{counted(counts[Decision.BUILD], 'product')} would be built, "
        f"{counts[Decision.UNCHANGED]} unchanged, {counts[Decision.HELD_BACK]} held back. "
        "Nothing was changed."
    )


def _plan(forecast: Forecast) -> Iterator[str]:
    if forecast.plan is None:
        return
    for name, verdict in forecast.plan.verdicts.items():
        yield f"{verdict.decision.value:<11} {forecast.domain}.{name}"
        if verdict.decision is not Decision.UNCHANGED:
            for reason in verdict.reasons:
                yield from _wrapped(_REASON + "  ", str(reason))
    for name, why in forecast.plan.withheld.items():
        yield f"{why:<11} {forecast.domain}.{name}"


def _wrapped(begin: str, text: str) -> list[str]:
    """Wraps text to the terminal's width, with further lines indented below its first word."""
    return textwrap.wrap(
        text,
        width() or _WIDEST,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _as_json(found: Sequence[Forecast], problems: dict[str, str]) -> dict[str, Any]:
    return {
        "waiting": [
            {"topic": raw.topic, "table": raw.relation, "events": events}
            for each in found
            for raw, events in each.waiting.items()
        ],
        "products": [
            {
                "product": f"{each.domain}.{name}",
                "decision": verdict.decision.value,
                "reasons": [
                    {"reason": reason.why.value, "names": list(reason.names)}
                    for reason in verdict.reasons
                ],
            }
            for each in found
            if each.plan is not None
            for name, verdict in each.plan.verdicts.items()
        ],
        "withheld": {
            f"{each.domain}.{name}": why
            for each in found
            if each.plan is not None
            for name, why in each.plan.withheld.items()
        },
        "failed": [{"domain": name, "message": problem} for name, problem in problems.items()],
    }
