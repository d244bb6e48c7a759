"""Rules about the meaning of data: units, personal data, and what topics let through.

Belongs here: rules with their examples. Not here: names and types (naming.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from meshhouse.governance.policies.naming import columns_of
from meshhouse.governance.policies.rule import Breach, DomainFacts, Mesh, Options, Rule
from meshhouse.repository import Repository
from meshhouse.repository.classes import is_personal
from meshhouse.repository.keys import CLASSIFICATION, RETENTION_DAYS, UNIT
from meshhouse.repository.policies import read_policies

_NUMBERS = ("bigint", "integer", "decimal", "double")


def _words(patterns: Iterable[str]) -> re.Pattern[str]:
    """Matches names that have one of the patterns between underscores."""
    return re.compile(rf"(?:^|_)(?:{'|'.join(patterns)})(?:_|$)")


def _units(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    pattern = _words(options["names"])
    for each, column, kind in columns_of(domain):
        if kind in _NUMBERS and pattern.search(column.name) and not column.unit:
            yield each.column_breach(column, "is an amount or a quantity without a unit.")


COLUMN_UNITS = Rule(
    name="column_units",
    demands="Columns of money and quantities say their unit.",
    because="Cents for dollars change every figure and no type.",
    remedy=f"Set config.meta.{UNIT.name}, such as USD, kg or items.",
    check=_units,
    passes={"column": "{name: amount, data_type: 'decimal(12,2)', config: {meta: {unit: USD}}}"},
    fails={
        "column": "{name: amount, data_type: 'decimal(12,2)', config: {meta: {unit: null}}}"
    },
    options={
        "names": [
            "amount", "price", "cost", "revenue", "spend", "value", "discount", "fee", "tax",
            "budget", "salary", "quantity", "units", "weight", "volume", "distance", "duration",
        ]
    },
)  # fmt: skip

_PERSONAL_NAMES = [
    "e?mail", "phone", "mobile", "(?:first|last|full|sur|maiden)_?name", "birth\\w*", "address",
    "postcode", "iban", "passport", "ssn", "gender", "religion", "income", "salary", "age",
    "marital_status", "(?:household|customer|person|employee|user|patient)_id", "ip_address",
]  # fmt: skip


def _classified(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    pattern = _words(options["names"])
    for each, column, _ in columns_of(domain):
        if pattern.search(column.name) and not column.classification:
            yield each.column_breach(column, "looks personal and has no classification.")


CLASSIFICATION_OF_COLUMNS = Rule(
    name="classification",
    demands="Columns of products that look personal have a classification.",
    because="What is not classified is shown in samples and logs, and shared in clear.",
    remedy=f"Set config.meta.{CLASSIFICATION.name}: personal, or another word if it is not.",
    check=_classified,
    passes={
        "column": "{name: email, data_type: string, config: {meta: {classification: personal}}}"
    },
    fails={"column": "{name: email, data_type: string}"},
    options={"names": _PERSONAL_NAMES},
)


def _topics_classified(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    pattern = _words(options["names"])
    for raw in domain.topics:
        for column in raw.columns:
            if pattern.search(column.name) and not column.classification:
                text = f"column `{column.name}` of {raw.relation} looks personal and has no "
                yield Breach(
                    raw.path, column.line, f"{text}classification.", f"{raw.relation}.{column.name}"
                )


CLASSIFICATION_OF_TOPICS = Rule(
    name="topic_classification",
    demands="Columns of topics that look personal have a classification.",
    because="Personal data enters the mesh there.",
    remedy=f"Set config.meta.{CLASSIFICATION.name}: personal, or another word if it is not.",
    check=_topics_classified,
    passes={
        "topic_column": "{name: email, data_type: string, "
        "config: {meta: {classification: personal}}}"
    },
    fails={"topic_column": "{name: email, data_type: string}"},
    options={"names": _PERSONAL_NAMES},
)


def personal_in_topics(repository: Repository) -> re.Pattern[str]:
    """The names of a topic's columns that need a classification in this federation.

    A parameter that cannot be used is a finding of `mesh check`; then the default counts.
    """
    setting = read_policies(repository.root).rules.get(CLASSIFICATION_OF_TOPICS.name)
    patterns = setting.parameters.get("names") if setting else None
    try:
        return _words(map(str, patterns or _PERSONAL_NAMES))
    except (TypeError, re.error):
        return _words(_PERSONAL_NAMES)


def _retention(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for each in domain.products:
        personal = [
            column.name
            for column in each.product.columns
            if is_personal({"classification": column.classification})
        ]
        days = each.product.promises.get(RETENTION_DAYS.name)
        if personal and days is None:
            yield each.breach(f"holds personal data ({', '.join(personal)}) without a retention.")
        elif personal and days is not None and days > options["most_days"]:
            yield each.breach(
                f"keeps personal data for {days:g} days, more than {options['most_days']:g}."
            )


RETENTION = Rule(
    name="retention",
    demands="Products with personal data say how long they keep it.",
    because="The law asks for an end, and nobody remembers one that is not written down.",
    remedy=f"Set config.meta.promises.{RETENTION_DAYS.name}.",
    check=_retention,
    passes={
        "column": "config: {meta: {classification: personal}}",
        "product": "config: {meta: {promises: {retention_days: 730}}}",
    },
    fails={"column": "config: {meta: {classification: personal}}"},
    options={"most_days": 3650},
)


def _rejected(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for raw in domain.topics:
        if raw.max_rejected_percent > options["most_percent"]:
            text = (
                f"topic {raw.topic} ({raw.relation}) accepts {raw.max_rejected_percent:g} % "
                f"rejected events, more than {options['most_percent']:g} %."
            )
            yield Breach(raw.path, raw.line, text, raw.relation)


REJECTED_BOUND = Rule(
    name="rejected_bound",
    demands="Few events of a topic may be rejected without a warning.",
    because="Rejected events are holes in every product that is made from the topic.",
    remedy="Lower max_rejected_percent, and mend the producer or the columns.",
    check=_rejected,
    passes={"topic": "config: {meta: {max_rejected_percent: 1}}"},
    fails={"topic": "config: {meta: {max_rejected_percent: 20}}"},
    options={"most_percent": 5},
)


def _required(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    for raw in domain.topics:
        if not any(column.required for column in raw.columns):
            text = f"topic {raw.topic} ({raw.relation}) requires no field."
            yield Breach(raw.path, raw.line, text, raw.relation)


TOPIC_REQUIRED = Rule(
    name="topic_required",
    demands="Every topic requires at least one field.",
    because="Otherwise an empty event lands as a row of nulls.",
    remedy="Set config.meta.required of the fields that every event has.",
    check=_required,
    passes={"topic_column": "config: {meta: {required: true}}"},
    fails={"topic_column": "config: {meta: {required: false}}"},
)


def _staging(domain: DomainFacts, mesh: Mesh, options: Options) -> Iterator[Breach]:
    staging = domain.domain.path / "models" / options["folder"]
    for reference in domain.domain.references:
        is_other = reference.domain in mesh.domain_names and reference.domain != domain.name
        if is_other and staging not in reference.path.parents:
            relation = f"{reference.domain}.{reference.product}"
            name = f"stg_{reference.domain}__{reference.product}"
            yield Breach(
                reference.path,
                reference.line,
                f"{relation} is read outside models/{options['folder']}/.",
                f"{domain.name}.{reference.path.stem}",
                f"Read it in models/{options['folder']}/{name}.sql and use ref('{name}') here.",
            )


READS_IN_STAGING = Rule(
    name="reads_in_staging",
    demands="Products of other domains are read in staging models only.",
    because="A change of a product then touches one file of each consumer.",
    remedy="Read it in a staging model and use that model here.",
    check=_staging,
    passes={"models/staging/stg_crm__customers.sql": "select customer_id "
            "from {{ ref('crm', 'customers') }}"},
    fails={"models/products/joined.sql": "select customer_id from {{ ref('crm', 'customers') }}"},
    options={"folder": "staging"},
    severity="warn",
)  # fmt: skip

RULES = (
    COLUMN_UNITS,
    CLASSIFICATION_OF_COLUMNS,
    CLASSIFICATION_OF_TOPICS,
    RETENTION,
    REJECTED_BOUND,
    TOPIC_REQUIRED,
    READS_IN_STAGING,
)
