"""Checks that are executed alone, as the button "Execute" of a check does.

Belongs here: evaluating each kind of check without building or publishing anything, and saying
what it looked at. Not here: checks of a whole run (checks.py, compatibility.py, promises.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

import dagster as dg

from meshhouse.dagster.checks import (
    about_candidate,
    of_no_materialization,
    soda_check,
    soda_check_specs,
)
from meshhouse.dagster.compatibility import declared_results
from meshhouse.dagster.consumers import Consumers
from meshhouse.dagster.events import NodeEvents, compiled_sql
from meshhouse.dagster.keys import product_key
from meshhouse.dagster.live import Live
from meshhouse.dagster.promises import Promises
from meshhouse.dagster.reporter import Reporter
from meshhouse.dbt.watch import NodeResult
from meshhouse.engines import Engine
from meshhouse.errors import MeshError
from meshhouse.repository import Domain, Repository
from meshhouse.repository.manifest import Manifest
from meshhouse.runs.checking import Looked, check_products, run_tests


def evaluated(
    context: dg.AssetExecutionContext,
    repository: Repository,
    engine: Engine,
    domain: Domain,
    manifest: Manifest,
    tests: Mapping[str, dg.AssetCheckSpec],
    asked: Collection[dg.AssetCheckKey],
    reporter: Reporter,
) -> Iterator[Any]:
    """The outcome of selected checks; nothing is built or published.

    Args:
        context: of the step.
        repository: where the domain is declared.
        engine: the target in use.
        domain: whose checks they are.
        manifest: the domain's.
        tests: dbt's unique id -> check.
        asked: the checks to evaluate.
        reporter: what people see of the run besides Dagster.

    Raises:
        Failure: a check could not be evaluated.
    """
    consumers = Consumers(engine.ledger, domain)
    alone = {name: spec for name, spec in tests.items() if spec.key in asked}
    events = NodeEvents(context, {}, alone, partial(compiled_sql, repository, manifest))
    failures: list[str] = []

    def record(node: NodeResult) -> None:
        # A test that breaks says nothing of the data; the step fails with what dbt says.
        if node.status == "error":
            failures.append(f"{node.name}: {node.message}")
        else:
            events.record(node)

    looked: list[Looked] = []
    found: list[dg.AssetCheckResult] = []
    with Live(context, record, reporter) as live:
        parts = (
            partial(_test, repository, engine, domain, manifest, alone, context.run.run_id, live),
            lambda: looked.extend(
                check_products(
                    repository, engine, domain, manifest, _soda_keys(domain, asked), live
                )
            ),
            lambda: found.extend(declared_results(asked, repository, engine, domain, consumers)),
            lambda: found.extend(Promises(repository, engine.ledger, domain).results_now(asked)),
        )
        for part in parts:  # one that cannot be evaluated keeps no other from it
            try:
                part()
            except MeshError as error:
                failures.append(str(error))
    yield from events.outputs()
    for each in looked:
        yield from _looked(context, each, asked, consumers)
    yield from found
    missing = set(asked) - {
        *(spec.key for spec in events.checked.values()),
        *(
            dg.AssetCheckKey(product_key(each.product), check["key"])
            for each in looked
            for check in each.checks
        ),
        *(dg.AssetCheckKey(each.asset_key, each.check_name) for each in found),
    }
    if failures or missing:
        names = ", ".join(sorted(f"{each.asset_key.to_user_string()} {each.name}"
                                 for each in missing))  # fmt: skip
        why = "; ".join(failures) or "nothing has measured it yet"
        raise dg.Failure(f"Not evaluated: {names}. {why}", allow_retries=False)


def _test(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    manifest: Manifest,
    tests: Mapping[str, dg.AssetCheckSpec],
    run_id: str,
    live: Live,
) -> None:
    if tests:
        known = {**manifest.nodes, **manifest.content["unit_tests"]}
        selectors = sorted(".".join(known[each]["fqn"]) for each in tests)
        run_tests(repository, engine, domain, selectors, run_id, live)


def _soda_keys(domain: Domain, asked: Collection[dg.AssetCheckKey]) -> dict[str, set[str]]:
    """Product -> keys of those of its checks that Soda evaluates."""
    found: dict[str, set[str]] = {}
    for spec in soda_check_specs(domain):
        if spec.key in asked:
            found.setdefault(spec.asset_key.path[-1], set()).add(spec.name)
    return found


def _looked(
    context: dg.AssetExecutionContext,
    looked: Looked,
    asked: Collection[dg.AssetCheckKey],
    consumers: Consumers,
) -> Iterator[Any]:
    if looked.candidate is None:
        facts = {"checked": consumers.see(looked.product.relation)}
    else:
        facts = about_candidate(looked.candidate, consumers)
    results = [soda_check(product_key(looked.product), check, facts) for check in looked.checks]
    if looked.candidate is None:
        yield from results
    else:
        yield from of_no_materialization(context, results)
