"""The keys of `config.meta` that the mesh reads, with their places and meanings.

Belongs here: one declaration of each key. The readers (topics.py, products.py), the shapes of files
(shapes.py), the messages of `mesh check` and the tables in docs/reference.md use it. Not here:
the effect of a value (products.py, code.py), or keys of dbt itself (shapes.py).

A key is read through its declaration, `TOPIC.of(meta)`, so an undeclared key cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshhouse.repository.misfits import ANY, FLAG, NUMBER, TEXT, Many, Map

SOURCE_TABLE, COLUMN = "config.meta of a source table", "config.meta of a column"
PRODUCT, PRIVATE_MODEL = "config.meta of a model", "config.meta of a private model"
PROMISES_OF_PRODUCT = "promises"


@dataclass(frozen=True)
class Key:
    """One key of `config.meta`."""

    name: str
    places: tuple[str, ...]
    """The mappings in which it is allowed."""
    shape: Any
    """The kind of its value; see misfits.py."""
    meaning: str
    """Its description in the documentation, as Markdown."""
    default: Any = None

    def of(self, meta: Mapping[str, Any]) -> Any:
        """Its value in a mapping; the default if it is missing."""
        return meta.get(self.name, self.default)


TOPIC = Key("topic", (SOURCE_TABLE,), TEXT, "the topic")
FORMAT = Key(
    "format",
    (SOURCE_TABLE,),
    TEXT,
    "`json` (default), `avro`, `protobuf`, `debezium`, `debezium-avro`, `text`",
    default="json",
)
SCHEMA = Key("schema", (SOURCE_TABLE,), TEXT, "`avro` only: a schema file, relative to the domain")
PATTERN = Key("pattern", (SOURCE_TABLE,), TEXT, "`text` only: how a line becomes columns")
EXTRACT_FILES, EXTRACT_KEY, EXTRACT_FORMAT = "files", "key", "format"
EXTRACT_DATABASE, EXTRACT_CONNECTION, EXTRACT_TABLE = "database", "connection", "table"
EXTRACT_CURSOR, EXTRACT_LAG, EXTRACT_EVERY = "cursor", "lag", "every_hours"
EXTRACT_KINESIS, EXTRACT_REGION = "kinesis", "region"
EXTRACT = Key(
    "extract", (SOURCE_TABLE,),
    Map(
        "extract",
        {
            EXTRACT_FILES: TEXT, EXTRACT_KEY: TEXT, EXTRACT_FORMAT: TEXT,
            EXTRACT_DATABASE: TEXT, EXTRACT_CONNECTION: TEXT, EXTRACT_TABLE: TEXT,
            EXTRACT_CURSOR: TEXT, EXTRACT_LAG: NUMBER, EXTRACT_EVERY: NUMBER,
            EXTRACT_KINESIS: TEXT, EXTRACT_REGION: TEXT,
        },
        is_of_the_mesh=True,
    ),
    "what becomes events of the topic. [Files](guides/files.md): `files`, a path or `s3://` "
    "address with `*`; `key`, the column that is the key of an event; `format`, if the suffix does "
    "not say it. [A table of a database](guides/databases.md): `database`, `connection`, `table`, "
    "`key`, `cursor` with `lag`, or `every_hours`. [A Kinesis stream](guides/kinesis.md): "
    "`kinesis`, `region`",
)  # fmt: skip
CHANGELOG = Key(
    "changelog", (SOURCE_TABLE,), FLAG,
    "`true`: an event replaces the earlier event of its key; an event without a value deletes the "
    "key",
)  # fmt: skip
MAX_REJECTED_PERCENT = Key(
    "max_rejected_percent", (SOURCE_TABLE,), ANY,
    "percentage of rejected events above which Dagster warns; default 1", default=1.0,
)  # fmt: skip
REQUIRED = Key(
    "required", (COLUMN,), FLAG, "`true`, on a column of a source table: events without it are "
    "rejected",
)  # fmt: skip
ENCODING = Key(
    "encoding", (COLUMN,), TEXT,
    "`debezium` only, for events without a schema: `milliseconds`, `microseconds` or `nanoseconds` "
    "of a time, `text` or `base64` of a decimal",
)  # fmt: skip
CLASSIFICATION = Key(
    "classification", (COLUMN,), TEXT,
    "what kind of data it holds. `personal` and `sensitive` hide its values in sample rows and "
    "statistics. Snowflake sets the classification as a tag",
)  # fmt: skip
UNIT = Key("unit", (COLUMN,), TEXT, "the unit or currency of its numbers, such as `USD` or `kg`")
CODE_LIST = Key(
    "code_list", (COLUMN,), TEXT, "the code list that its values come from, with its release"
)
ZONE = Key("zone", (COLUMN,), TEXT, "the time zone of a business day, such as `America/New_York`")
MEANINGS = (UNIT, CODE_LIST, ZONE)
"""Keys that decide what a column's values mean: a change of them changes every figure."""
RENAMED_FROM = Key(
    "renamed_from",
    (COLUMN,),
    TEXT,
    "the column's former name, so that a change of the name is not taken for another column",
)
IMMUTABLE = Key(
    "immutable",
    (COLUMN,),
    FLAG,
    "`true`: its value never changes for a key. A key with another value stands for another "
    "entity. Not compared in personal columns",
)
DEPRECATED = Key("deprecated", (COLUMN,), TEXT, "what readers should use instead of the column")
DESCRIBED = (*MEANINGS, RENAMED_FROM, IMMUTABLE, DEPRECATED)
"""Keys of a column that its contract has."""
GRAIN = Key("grain", (PRODUCT,), Many(TEXT), "the columns that identify one row")
REFRESHED_WITHIN_HOURS = Key(
    "refreshed_within_hours", (PROMISES_OF_PRODUCT,), NUMBER,
    "the age up to which `mesh status` calls the product fresh",
)  # fmt: skip
KEEPS_ROWS_PERCENT = Key(
    "keeps_rows_percent", (PROMISES_OF_PRODUCT,), NUMBER,
    "smallest share of the published rows that a new publication may have; default 90", default=90,
)  # fmt: skip
COMPLETENESS_PERCENT = Key(
    "completeness_percent", (PROMISES_OF_PRODUCT,), NUMBER,
    "smallest share of values that are not null, over all columns outside the grain",
)  # fmt: skip
LATENCY_MINUTES = Key(
    "latency_minutes", (PROMISES_OF_PRODUCT,), NUMBER,
    "the time from the newest event to its publication, at most",
)  # fmt: skip
MEASURED_ON = Key(
    "measured_on", (PROMISES_OF_PRODUCT,), TEXT,
    "the column with the time of the event, for `latency_minutes`; without it, the time at which "
    "the newest event landed counts",
)  # fmt: skip
RETENTION_DAYS = Key(
    "retention_days", (PROMISES_OF_PRODUCT,), NUMBER,
    "the days after which rows are removed; measured on the column `retained_on`, if it is given",
)  # fmt: skip
RETAINED_ON = Key(
    "retained_on", (PROMISES_OF_PRODUCT,), TEXT,
    "the column with the day or time from which `retention_days` count",
)  # fmt: skip
AVAILABILITY_PERCENT = Key(
    "availability_percent", (PROMISES_OF_PRODUCT,), NUMBER,
    "the share of the last 30 days in which the product is published and fresh",
)  # fmt: skip
IN_PROMISES = (
    REFRESHED_WITHIN_HOURS, KEEPS_ROWS_PERCENT, COMPLETENESS_PERCENT, LATENCY_MINUTES, MEASURED_ON,
    RETENTION_DAYS, RETAINED_ON, AVAILABILITY_PERCENT,
)  # fmt: skip
LARGEST_PROMISE = {
    each.name: 100 for each in (KEEPS_ROWS_PERCENT, COMPLETENESS_PERCENT, AVAILABILITY_PERCENT)
}
"""Promise -> its largest value, where it is less than a million."""
PROMISES = Key(
    "promises", (PRODUCT,),
    Map("promises", {each.name: each.shape for each in IN_PROMISES}, is_of_the_mesh=True),
    "the service-level objectives of the product",
)  # fmt: skip
SCORE = Key(
    "score", (PRODUCT,),
    Map(
        "score",
        {"threshold": NUMBER, "weights": Map("weights of the score", {}, is_open=True)},
        is_of_the_mesh=True,
    ),
    "`threshold`: the score below which a candidate is not published; `weights`: the weight of a "
    "check, by its key or its kind, such as `{invalid: 3}`; default 1",
)  # fmt: skip
MAY_BE_EMPTY = Key(
    "may_be_empty", (PRODUCT,), FLAG,
    "`true`: a candidate without rows may be published. Otherwise the audit refuses it",
)  # fmt: skip
EVERY_RUN = Key(
    "every_run", (PRODUCT, PRIVATE_MODEL), FLAG,
    "`true`, on any model: every run builds it, and `mesh check` accepts reads that no code "
    "version can cover",
)  # fmt: skip
SHARED = Key(
    "shared", (PRODUCT,), FLAG,
    "`true`, in Snowflake: [a secure view](targets/snowflake.md#give-readers-access) for sharing",
)  # fmt: skip
RENAMED_FROM = Key(
    "renamed_from", (PRODUCT,), TEXT,
    "the name before a renaming or a move, `domain.model`; "
    "[it stays readable](how-to.md#rename-or-move-a-product) for the notice period",
)  # fmt: skip
_OF_EACH_SINK = {"clear": Many(TEXT), "without": Many(TEXT)}
SINKS = Key(
    "sinks", (PRODUCT,),
    Many(
        Map(
            "a sink",
            {
                "postgres": Map(
                    "a sink `postgres`", {"table": TEXT, "connection": TEXT, **_OF_EACH_SINK},
                    required=("table", "connection"), is_of_the_mesh=True,
                ),
                "cassandra": Map(
                    "a sink `cassandra`", {"table": TEXT, "connection": TEXT, **_OF_EACH_SINK},
                    required=("table", "connection"), is_of_the_mesh=True,
                ),
                "kafka": Map(
                    "a sink `kafka`", {"topic": TEXT, **_OF_EACH_SINK}, required=("topic",),
                    is_of_the_mesh=True,
                ),
                "python": Map(
                    "a sink `python`", {"file": TEXT, **_OF_EACH_SINK}, required=("file",),
                    is_of_the_mesh=True,
                ),
            },
            is_of_the_mesh=True,
        )
    ),
    "places that receive the changed rows of each publication: "
    "[PostgreSQL, Cassandra, a topic, or a function](guides/sinks.md)",
)  # fmt: skip
DAGSTER = Key("dagster", (SOURCE_TABLE, PRODUCT), ANY, "for dagster-dbt; the mesh does not read it")

KEYS = (
    TOPIC, FORMAT, SCHEMA, PATTERN, EXTRACT, CHANGELOG, MAX_REJECTED_PERCENT, REQUIRED, ENCODING,
    CLASSIFICATION, *DESCRIBED, GRAIN, PROMISES, *IN_PROMISES, SCORE, MAY_BE_EMPTY, EVERY_RUN,
    SHARED, RENAMED_FROM, SINKS, DAGSTER,
)  # fmt: skip


def keys_of(place: str) -> dict[str, Any]:
    """Name -> shape of each key that is allowed in a place."""
    return {key.name: key.shape for key in KEYS if place in key.places}


def elsewhere(place: str) -> dict[str, str]:
    """Name -> the places of each key that is not allowed in a place."""
    return {
        key.name: " or ".join(key.places)
        for key in KEYS
        if place not in key.places and key not in IN_PROMISES
    }


def table(place: str) -> str:
    """The keys of a place as the Markdown table in docs/reference.md."""
    rows = []
    for key in KEYS:
        if place in key.places and key not in (DAGSTER, PROMISES):
            rows.append(f"| `{key.name}` | {key.meaning} |")
        elif place == PRODUCT and PROMISES_OF_PRODUCT in key.places:
            rows.append(f"| `{PROMISES.name}.{key.name}` | {key.meaning} |")
    return "\n".join(["| key | meaning |", "|---|---|", *rows])
