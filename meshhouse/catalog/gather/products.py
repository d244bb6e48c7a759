"""The document of one product.

Belongs here: joining everything that is known of it. Not here: reading the ledger (known.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from meshhouse.catalog.documents import (
    ColumnFacts,
    CostFacts,
    Owner,
    ProductFacts,
    PromiseFacts,
    ReaderFacts,
    VersionFacts,
)
from meshhouse.catalog.gather.checks import checks_of, counted
from meshhouse.catalog.gather.clear import most_protected
from meshhouse.catalog.gather.columns import columns_of, sample_of, shown_of
from meshhouse.catalog.gather.contract_changes import contract_changes
from meshhouse.catalog.gather.history import publications_of, state_of
from meshhouse.catalog.gather.known import Known, Sources
from meshhouse.catalog.inputs import inputs_of
from meshhouse.governance.policies import notice_days
from meshhouse.governance.readers import Read, Readers
from meshhouse.repository.references import Reading

_SENTENCE = re.compile(r"(.+?[.!?])(?=\s)", re.DOTALL)


def product_of(known: Known, sources: Sources, broken: Mapping[str, str]) -> ProductFacts:
    """The document of a product.

    Args:
        known: the product.
        sources: what was read.
        broken: domains that no run can build, with the reason.
    """
    product, head, status, contract = known.product, known.head, known.status, known.contract
    owned = sources.consumer == product.domain
    shown = shown_of(known, owned)
    readers = Readers.among(known.names, sources.reads)
    columns = columns_of(known, readers, shown)
    audit = sources.audits.shown.get(known.relation)
    newest = sources.audits.rejected.get(known.relation)
    state, why = state_of(known, newest, shown, sources.now, product.domain in broken)
    described = known.described
    description = str(described.get("description", "")) if described else product.description
    passed, run = counted(audit)
    others = _readers(known, sources, readers)
    changed, older = contract_changes(known, shown, sources.comparisons)
    return ProductFacts(
        relation=known.relation,
        domain=product.domain,
        model=product.model,
        version=status.product.version,
        is_latest=product.is_latest,
        sentence=first_sentence(description),
        description=description,
        grain=tuple(described.grain) if described else product.grain,
        grain_text=str(described.get("grain.text", "")) if described else "",
        owner=owner_of(known, sources),
        state=state,
        why=sources.without_places(why),
        back_until=_back_until(known, sources) if state == "retired" else None,
        published_at=status.published_at,
        refreshed_at=status.refreshed_at,
        refreshed_within_hours=status.promise.total_seconds() / 3600 if status.promise else None,
        rows=status.rows,
        bytes=head.bytes,
        score=status.score,
        checks_passed=passed,
        checks_run=run,
        deprecated_on=product.deprecated_on,
        classification=_strictest(columns),
        tags=tuple(map(str, described.get("tags", ()))) if described else (),
        columns=columns,
        checks=checks_of(contract, audit, shown),
        promises=_promises(known, sources),
        publications=publications_of(
            known, shown, sources.comparisons, {each.number for each in changed}
        ),
        contract_changes=changed,
        older_contract_changes=older,
        readers=others,
        versions=_versions(known, sources),
        reads=_reads(known),
        topics=_topics(known),
        inputs=inputs_of(contract, sources.relations) if contract else (),
        cost=CostFacts(bytes=head.bytes),
        sample=sample_of(known, shown),
        ledger_position=max((int(each["number"]) for each in known.history), default=0),
        yours=_yours(product.domain, others, sources.consumer),
    )


def _back_until(known: Known, sources: Sources) -> date | None:
    if known.retired is None:
        return None
    return (known.retired.at + timedelta(days=notice_days(sources.repository))).date()


def first_sentence(description: str) -> str:
    """The first sentence of a description, on one line."""
    text = " ".join(description.split())
    found = _SENTENCE.match(text)
    return found.group(1) if found else text


def owner_of(known: Known, sources: Sources) -> Owner:
    """Who answers for a product now; what only its last contract says fills gaps."""
    stored = known.contract.get("owner", {}) if known.contract else {}
    declared: Mapping[str, str] = {}
    if known.product.domain in sources.repository.domain_names:
        declared = sources.repository.reading(known.product.domain).owner(known.product)
    return as_owner({**stored, **{key: each for key, each in declared.items() if each}})


def as_owner(owner: Mapping[str, object]) -> Owner:
    """The owner of a dbt group, with the channel under any of its usual names."""
    contact = owner.get("contact") or owner.get("slack") or ""
    return Owner(str(owner.get("name") or ""), str(owner.get("email") or ""), str(contact))


def _strictest(columns: Sequence[ColumnFacts]) -> str:
    return most_protected({"classification": each.classification.split(", ")} for each in columns
                          if each.classification)  # fmt: skip


def _promises(known: Known, sources: Sources) -> tuple[PromiseFacts, ...]:
    return tuple(
        PromiseFacts(
            objective=each.objective,
            target=each.target,
            measured=each.status.last.measured if each.status else None,
            met=each.status.last.met if each.status else None,
            at=each.status.last.at if each.status else None,
            budget_left_percent=each.status.budget.left_percent if each.status else None,
            days=each.days,
        )
        for each in sources.kept.get(known.relation, ())
    )


def _readers(known: Known, sources: Sources, recorded: Readers) -> tuple[ReaderFacts, ...]:
    """Domains whose models refer to the product now, or did when they were published."""
    declared = _declared(known, sources)
    models: dict[str, set[str]] = {}
    columns: dict[str, set[str]] = {}
    for reading in declared:
        models.setdefault(reading.domain, set()).add(reading.model)
    for read in (each for each in recorded.reads if each.is_direct):
        domain, _, model = read.reader.partition(".")
        models.setdefault(domain, set()).add(model)
        columns.setdefault(domain, set()).update(_columns(read))
    names = sources.repository.domain_names
    return tuple(
        ReaderFacts(
            domain=domain,
            owner=as_owner(sources.repository.reading(domain).owner() if domain in names else {}),
            models=tuple(sorted(models[domain])),
            columns=tuple(sorted(columns.get(domain, ()))),
        )
        for domain in sorted(models)
    )


def _declared(known: Known, sources: Sources) -> list[Reading]:
    own = known.product.domain
    found = [each for name in known.names for each in sources.readings.get(name, ())]
    # Checks are left out: what they read is recorded when the product is published.
    return [each for each in found if each.domain != own and each.path.suffix == ".sql"]


def _columns(read: Read) -> set[str]:
    return {read.column} if read.column else set()


def _versions(known: Known, sources: Sources) -> tuple[VersionFacts, ...]:
    found = []
    for other in sources.versions[known.product.plain_relation]:
        product = other.product
        readers = Readers.among(other.names, sources.reads)
        domains = {each.reader.partition(".")[0] for each in readers.reads}
        domains |= {each.domain for each in _declared(other, sources)}
        found.append(
            VersionFacts(
                relation=product.relation,
                version=product.version,
                is_latest=product.is_latest,
                deprecated_on=product.deprecated_on,
                readers=tuple(sorted(domains)),
            )
        )
    return tuple(sorted(found, key=lambda each: each.version))


def _reads(known: Known) -> tuple[str, ...]:
    """Products of other domains that its models read, checks left out."""
    reads = known.contract.get("reads", ()) if known.contract else ()
    own = known.product.domain
    found = {str(each["relation"]) for each in reads if not each.get("check")}
    return tuple(sorted(each for each in found if each.partition(".")[0] != own))


def _topics(known: Known) -> tuple[str, ...]:
    topics = known.contract.get("topics", {}) if known.contract else {}
    return tuple(sorted(str(each["raw_table"]) for each in topics.values()))


def _yours(domain: str, readers: Sequence[ReaderFacts], consumer: str) -> str:
    """What a product is to the domain for which the catalog is made."""
    if not consumer:
        return ""
    if domain == consumer:
        return "owned"
    return "read" if consumer in {each.domain for each in readers} else ""
