"""Runs the definitions, as `mesh run` does.

Belongs here: from names of domains and products to a selection of assets, and its
execution on the mesh's own Dagster instance, so that the web page shows these runs too. Not here:
which definitions there are (orchestration/), or printing (cli/run.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import dagster as dg
from dagster._core.executor.child_process_executor import ChildProcessCrashException
from dagster_shared.error import SerializableErrorInfo

from meshhouse.dagster import apart
from meshhouse.dagster.abandoned import process_tag
from meshhouse.dagster.instance import mesh_instance
from meshhouse.dagster.keys import product_key, raw_key
from meshhouse.dagster.origin import give_origins, started_tags
from meshhouse.dagster.relay import received
from meshhouse.dagster.reporter import Reporter
from meshhouse.dagster.tags import NAMED, environment_tag
from meshhouse.engines import engine as engine_of
from meshhouse.engines import variables_of_jobs
from meshhouse.errors import MeshError
from meshhouse.extras import missing_module
from meshhouse.repository import Product, Repository
from meshhouse.repository.manifest import Manifest
from meshhouse.repository.references import waits
from meshhouse.runs.domain_plan import with_companions
from meshhouse.runs.parse import fresh_manifest
from meshhouse.runs.run import record_failure

MakeDefinitions = Callable[[Repository, list[str], Reporter], dg.Definitions]
"""The definitions of the domains of these names, whose steps tell the reporter what they do."""

_NO_MODULE = re.compile(r"No module named '([^']+)'")
_INTERRUPTIONS = (dg.DagsterExecutionInterruptedError.__name__, KeyboardInterrupt.__name__)


def run(
    repository: Repository,
    domains: Sequence[str],
    products: Sequence[str],
    definitions: MakeDefinitions,
    reporter: Reporter,
    jobs: int = 1,
) -> bool:
    """Lands, builds, audits and publishes.

    Args:
        repository: the mesh.
        domains: domains to run whole.
        products: products (`sales.orders`) to run with what they are made of or checked
            with; what they do not need of their domain is left as it is.
        definitions: makes what is executed, see `orchestration.definitions`.
        reporter: receives what happens.
        jobs: how many domains run at once, each in a process; one runs in this process.

    Returns:
        Whether every step succeeded.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped it; Dagster makes a failure of that.
        MeshError: Dagster's own files cannot be written.
    """
    parts = [repository.product(relation) for relation in products]
    involved = {*domains, *(product.domain for product in parts)}
    usable = _usable(repository, involved, reporter)
    parts = [product for product in parts if product.domain in usable]
    whole = [name for name in domains if name in usable]
    jobs = min(jobs, len(usable))  # the machine is divided among as many as there are
    with ExitStack() as stack:
        asked = ""
        if jobs > 1:
            address = stack.enter_context(received(reporter))
            asked = apart.request(repository, usable, reporter, address, jobs)
            stack.enter_context(apart.server(repository, asked, variables_of_jobs(jobs)))
        built = definitions(repository, usable, reporter)
        selection = dg.AssetSelection.groups(*whole) if whole else None
        for product in parts:
            part = _product_selection(repository, product)
            selection = part if selection is None else selection | part
        if selection is None:
            return False
        tags = {
            **({NAMED: " ".join(each.relation for each in parts)} if parts else {}),
            **environment_tag(repository),
            **started_tags(),
            **process_tag(repository),
        }
        keys = _keys(built, selection)
        config: dict[str, Any] = {
            # The reporter speaks to people; Dagster's events go to its instance.
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            **_asked_for(repository, usable, keys, reporter),
        }
        instance = stack.enter_context(mesh_instance(repository))
        give_origins(instance)
        try:
            result = _executed(instance, built, keys, tags, config, asked)
        except dg.DagsterExecutionInterruptedError as error:
            raise KeyboardInterrupt from error
    for event in result.filter_events(lambda each: each.is_step_failure):
        error = event.step_failure_data.error
        if error is not None and error.cls_name in _INTERRUPTIONS:
            raise KeyboardInterrupt
        # A dg.Failure is one that a step reported itself.
        if error is not None and error.cls_name != "Failure":
            reporter.failed(str(event.step_key), _said(error))
    started = {event.step_key for event in result.filter_events(lambda each: each.is_step_start)}
    for name in usable:
        if name not in started:  # its landing failed, or the run of a domain that it reads
            products_of = [each.name for each in parts if each.domain == name]
            _record_not_started(repository, name, None if name in whole else products_of)
    return result.success and len(usable) == len(involved)


def _executed(
    instance: dg.DagsterInstance,
    built: dg.Definitions,
    keys: list[dg.AssetKey],
    tags: Mapping[str, str],
    config: dict[str, Any],
    asked: str,
) -> dg.ExecuteInProcessResult | dg.JobExecutionResult:
    """Executes assets in this process; or in several, where they were asked for."""
    if not asked:
        return built.get_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=keys,
            raise_on_error=False,
            tags=dict(tags),
            run_config=config,
        )
    with dg.execute_job(
        apart.job_of(asked),
        instance=instance,
        asset_selection=keys,
        raise_on_error=False,
        tags=dict(tags),
        run_config=config,
    ) as result:
        return result


def _asked_for(
    repository: Repository,
    names: Collection[str],
    keys: Collection[dg.AssetKey],
    reporter: Reporter,
) -> dict[str, Any]:
    """The options of the run as configuration, so that executing it again means the same."""
    options = {
        "force": reporter.force,
        "full_refresh": reporter.full_refresh,
        "confirm": reporter.confirmed,
    }
    given = {name: value for name, value in options.items() if value}
    landed = {raw_key(raw) for name in names for raw in repository.domain(name).raw_tables}
    steps = {key.path[0] for key in keys if key not in landed}
    return {"ops": {name: {"config": given} for name in sorted(steps)}} if given else {}


def _record_not_started(
    repository: Repository, name: str, products: Collection[str] | None
) -> None:
    domain = repository.domain(name)
    names = [each.name for each in domain.products] if products is None else products
    if names:
        message = "Nothing was built, because landing or a domain that it reads failed first."
        record_failure(engine_of(repository), domain, message, names)


def _said(error: SerializableErrorInfo) -> str:
    """What a step raised, without what Dagster wraps it in; a MeshError speaks for itself."""
    while error.cls_name == dg.DagsterExecutionStepExecutionError.__name__ and error.cause:
        error = error.cause
    if error.cls_name == ChildProcessCrashException.__name__:
        return "Its process was killed, maybe for want of memory. Run it with a smaller `--jobs`."
    text = error.message.strip()
    module = _NO_MODULE.search(text)
    if module and (not_installed := missing_module(module[1])):
        return not_installed
    name, _, said = text.partition(": ")
    return said if name.startswith("meshhouse.") else f"{error.cls_name}: {text}"


def _usable(repository: Repository, names: Collection[str], reporter: Reporter) -> list[str]:
    """The domains whose dbt projects parse and for which there is something to read.

    Dagster needs every manifest before it starts, but one that cannot be had must stop
    nobody else. What uses such a domain reads what that has published, or waits.
    """
    usable: list[str] = []
    left_out = {domain.name for domain in repository.broken}
    for domain in repository.domains:  # upstream domains come first
        if domain.name not in names:
            continue
        missing = left_out & set(domain.upstream)
        if missing and waits(repository, domain, missing, engine_of(repository).visible()):
            left_out.add(domain.name)
            continue
        try:
            fresh_manifest(repository, domain)
        except MeshError as error:
            left_out.add(domain.name)
            record_failure(engine_of(repository), domain, str(error))
            reporter.failed(domain.name, str(error))
        else:
            usable.append(domain.name)
    return usable


def _product_selection(repository: Repository, product: Product) -> dg.AssetSelection:
    """The product, those that come with it, and all they are made of, within the domain."""
    domain = repository.domain(product.domain)
    manifest = Manifest(repository, domain)
    together = with_companions(repository, manifest, domain, [product.name])
    keys = list(map(product_key, together))
    return dg.AssetSelection.assets(*keys).upstream() & dg.AssetSelection.groups(domain.name)


def _keys(built: dg.Definitions, selection: dg.AssetSelection) -> list[dg.AssetKey]:
    return sorted(selection.resolve(built.resolve_asset_graph()))
