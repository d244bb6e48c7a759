"""Checks that are evaluated alone: nothing is built, nothing is published.

Belongs here: which table such a check looks at, and its outcome. Not here: the audit of a run
(steps.py), or how an outcome is shown (dagster/).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from meshhouse import dbt
from meshhouse.audit import ROWS_AGAINST_PREVIOUS, audit, check_key
from meshhouse.dbt.watch import NodeResult, Watch
from meshhouse.engines import Candidate, Engine
from meshhouse.errors import MeshError
from meshhouse.heads import effective_publications
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.manifest import Manifest
from meshhouse.repository.references import resolve
from meshhouse.runs.audit_view import audit_view
from meshhouse.runs.domain_plan import pins_of
from meshhouse.runs.history import past_checks, past_publications
from meshhouse.runs.logs import new_logs
from meshhouse.runs.run import run_lock

_NOT_PUBLISHED = ("rejected", "not published")
"""What became of a product in a run that left a candidate behind."""
_LOST_ROWS = check_key("metric", None, ROWS_AGAINST_PREVIOUS)


@dataclass(frozen=True)
class Looked:
    """The outcome of some checks of one product."""

    product: Product
    candidate: Candidate | None
    """The rejected candidate that they looked at; None if it was the current publication."""
    checks: Sequence[Mapping[str, Any]]
    """As the ledger stores them; failed ones may have `samples`."""


def check_products(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    manifest: Manifest,
    asked: Mapping[str, Collection[str]],
    watch: Watch,
) -> list[Looked]:
    """Evaluates some of Soda's checks.

    They look at the current publication; at the newest build instead if the last run rejected it.

    Args:
        repository: where the domain is declared.
        engine: the target in use.
        domain: whose products they are.
        manifest: the domain's.
        asked: name of each product -> keys of its checks.
        watch: learns what is happening.

    Raises:
        MeshError: there is nothing to look at, or a check cannot be evaluated.
    """
    if not asked:
        return []
    heads = engine.ledger.heads(domain.name, documents=False)
    rejected = {
        name
        for name in asked
        if (head := heads.get(f"{domain.name}.{name}")) and head.last_run in _NOT_PUBLISHED
    }
    pins = pins_of(engine, domain, past_publications(engine.ledger, domain.name))
    with ExitStack() as stack:
        # On Spark, all audits of a domain share a catalog, so this one must not meet a run's.
        stack.enter_context(run_lock(repository, domain, watch))
        candidates: dict[str, Candidate] = {}
        if rejected:
            candidates = stack.enter_context(_staged(engine, domain, manifest, rejected))
        for name in sorted({*asked} - {*candidates}):
            if f"{domain.name}.{name}" not in engine.visible():
                raise MeshError(
                    f"{domain.name}.{name} was never published, so there is nothing to check. "
                    f"Materialise it, or run `mesh run {domain.name}`."
                )
        view = audit_view(repository, engine, domain, pins, list(candidates.values()))
        reader, readable = stack.enter_context(view)
        found = []
        for product in domain.products:
            if product.name not in asked:
                continue
            candidate = candidates.get(product.name)
            keys, checks = set(asked[product.name]), []
            if candidate is None and _LOST_ROWS in keys:
                # The publication before it is not kept as a table; its own audit compared them.
                keys.remove(_LOST_ROWS)
                checks += _standing(engine, domain, product, _LOST_ROWS)
            if keys:
                watch.say(f"{domain.name}: checking {product.relation}: {', '.join(sorted(keys))}")
                result = audit(manifest.described(product), reader, readable, keys)
                checks += result.with_samples()
            found.append(Looked(product, candidate, checks))
    return found


def run_tests(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    selectors: Sequence[str],
    run_id: str,
    watch: Watch,
) -> tuple[NodeResult, ...]:
    """Runs tests of dbt alone, on the newest build of the domain.

    Args:
        repository: where the domain is declared.
        engine: the target in use.
        domain: whose tests they are.
        selectors: of the tests, for dbt.
        run_id: under which dbt's log is kept.
        watch: learns what is happening.

    Raises:
        MeshError: an input is missing, or dbt could not start.
    """
    with run_lock(repository, domain, watch):
        resolve(repository, domain, engine.visible())
        pins = pins_of(engine, domain, past_publications(engine.ledger, domain.name))
        logs = new_logs(repository, domain.name, run_id)
        watch.say(f"{domain.name}: testing {', '.join(selectors)}")
        watch.builds((), logs)
        return dbt.run_tests(repository, domain.name, selectors, pins, watch, logs).nodes


@contextmanager
def _staged(
    engine: Engine, domain: Domain, manifest: Manifest, names: Collection[str]
) -> Iterator[dict[str, Candidate]]:
    """Name -> the newest build of each product, as a candidate that is withdrawn afterwards.

    Those whose build is gone, or has other columns by now, are left out.
    """
    candidates: dict[str, Candidate] = {}
    try:
        with engine.staging(domain):
            for product in domain.products:
                if product.name in names:
                    with suppress(MeshError):
                        candidates[product.name] = engine.stage(manifest.described(product))
        yield candidates
    finally:
        engine.withdraw(list(candidates.values()))


def _standing(engine: Engine, domain: Domain, product: Product, key: str) -> list[dict[str, Any]]:
    """What the audit of the current publication found for one check."""
    history = past_publications(engine.ledger, domain.name).of(product)
    audit_id = effective_publications(history)[-1]["audit_id"]
    checks = past_checks(engine.ledger, domain.name).get(audit_id, [])
    return [each for each in checks if each["key"] == key]
