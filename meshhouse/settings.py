"""Every environment variable that the platform reads: name, default, meaning.

Belongs here: the declarations, the value of a variable, and the page docs/settings.md. Not here:
the effect of a value, and whether it is valid (the module that uses it).

`python -m meshhouse.settings` writes the page.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"


@dataclass(frozen=True)
class Setting:
    """One environment variable."""

    name: str
    """A part in angle brackets is for the user to fill in, such as a domain."""
    default: str
    """Empty if there is none; then the meaning says what happens without the variable."""
    meaning: str


@dataclass(frozen=True)
class Group:
    """Settings that a user looks for together."""

    title: str
    about: str
    settings: tuple[Setting, ...]


_MESH = Group(
    "The mesh",
    "",
    (
        Setting("MESH_TARGET", "local", "Engine: `local` (DuckDB), `spark` or `snowflake`."),
        Setting(
            "MESH_ENV", "", "Environment in which to work. Without it, commands work in production."
        ),
        Setting(
            "MESH_HOME",
            ".mesh",
            "Folder of the lake, the event log and builds. The default is in the repository.",
        ),
        Setting(
            "MESH_ROOT",
            "",
            "The repository, or a folder in it. Without it, the working directory counts.",
        ),
        Setting("MESH_MEMORY_LIMIT", "1500MiB", "Memory that DuckDB may use while dbt builds."),
        Setting(
            "MESH_JOBS",
            "",
            "Domains that are parsed or run at once. Without it, as many as cores and memory "
            "allow; on Spark, runs take one at a time.",
        ),
        Setting("MESH_PARSE_SECONDS", "120", "Seconds that dbt may take to parse one domain."),
        Setting("MESH_HISTORY", "~/.meshhouse_history", "File with the history of the SQL shell."),
        Setting(
            "MESH_CATALOG_URL",
            "",
            "Where readers find the catalog site, for links to its pages. Without "
            "it, nothing links to them.",
        ),
        Setting(
            "MESH_CONSUMER",
            "",
            "Who reads, such as a team or a report, for [usage](guides/usage-and-cost.md). Without "
            "it, the user of the operating system counts.",
        ),
        Setting(
            "MESH_READS",
            "",
            "Folder where reads are recorded. Without it, `reads` in `MESH_HOME`. `off` records "
            "none.",
        ),
        Setting("COLUMNS", "", "Width of tables. Without it, the terminal's; a pipe has no limit."),
    ),
)
_STORAGE = Group(
    "Object store and catalog service",
    "See [object store and catalog service](targets/object-store.md). AWS's libraries read the\n"
    "`AWS_` variables; they also know others, which work too.",
    (
        Setting(
            "MESH_WAREHOUSE",
            "",
            "Folder of new tables, `s3://bucket/folder`. Without it, `lake` in `MESH_HOME`.",
        ),
        Setting("AWS_PROFILE", "", "Profile of AWS's configuration files."),
        Setting("AWS_ACCESS_KEY_ID", "", "Access key."),
        Setting("AWS_SECRET_ACCESS_KEY", "", "Secret of the access key."),
        Setting("AWS_SESSION_TOKEN", "", "Token that belongs to a temporary access key."),
        Setting("AWS_REGION", "", "Region of bucket and stream. Without it, `AWS_DEFAULT_REGION`."),
        Setting("AWS_DEFAULT_REGION", "", "Region, if neither `AWS_REGION` nor a profile has one."),
        Setting("AWS_ENDPOINT_URL", "", "Address of a store, or of Kinesis, that is not Amazon's."),
        Setting("AWS_ENDPOINT_URL_S3", "", "The same, for S3 alone."),
        Setting("AWS_ENDPOINT_URL_KINESIS", "", "The same, for Kinesis alone."),
        Setting("AWS_CONFIG_FILE", "~/.aws/config", "File of AWS's profiles."),
        Setting("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", "File of AWS's credentials."),
        Setting(
            "PYICEBERG_CATALOG__MESH__URI",
            "",
            "Address of a catalog service. Without it, the catalog is a file in `MESH_HOME`.",
        ),
        Setting(
            "PYICEBERG_CATALOG__MESH__<PROPERTY>",
            "",
            "Other properties of the service, with pyiceberg's names: `WAREHOUSE`, `PREFIX`, "
            "`CREDENTIAL`, `TOKEN`, `SCOPE`, `OAUTH2_SERVER_URI` and more.",
        ),
    ),
)
_KAFKA = Group(
    "Kafka and the schema registry",
    "Each variable `KAFKA_...` is one of Kafka's own properties and wins over\n"
    "`profiles/kafka.yml`. Without a default here, the client library's counts.",
    (
        Setting(
            "KAFKA_BOOTSTRAP_SERVERS",
            "",
            "`host:port`, several with commas. Without it, the mesh uses the embedded event log.",
        ),
        Setting("KAFKA_CLIENT_ID", "meshhouse", "Name of the client in the broker's logs."),
        Setting("KAFKA_CLIENT_RACK", "", "Rack of the client, to read from the nearest replica."),
        Setting(
            "KAFKA_SECURITY_PROTOCOL",
            "PLAINTEXT",
            "`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.",
        ),
        Setting(
            "KAFKA_SASL_MECHANISM",
            "",
            "`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER` or `GSSAPI`.",
        ),
        Setting("KAFKA_SASL_USERNAME", "", "User, for `PLAIN` and `SCRAM`."),
        Setting("KAFKA_SASL_PASSWORD", "", "Password of the user."),
        Setting("KAFKA_SASL_KERBEROS_SERVICE_NAME", "", "Name of the broker's Kerberos service."),
        Setting("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", "", "Address that issues tokens."),
        Setting("KAFKA_SASL_OAUTHBEARER_CLIENT_ID", "", "OAuth client."),
        Setting("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", "", "Secret of the OAuth client."),
        Setting("KAFKA_SASL_OAUTHBEARER_SCOPE", "", "Scope of the token."),
        Setting("KAFKA_SSL_CA_LOCATION", "", "PEM file of the authority that signed the broker."),
        Setting("KAFKA_SSL_CERTIFICATE_LOCATION", "", "PEM file of the client's certificate."),
        Setting("KAFKA_SSL_KEY_LOCATION", "", "PEM file of the client's key; PKCS#8 for Spark."),
        Setting("KAFKA_SSL_KEY_PASSWORD", "", "Password of the key."),
        Setting(
            "KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM",
            "https",
            "Any other value switches off the check of the broker's host name.",
        ),
        Setting("KAFKA_REQUEST_TIMEOUT_MS", "", "Milliseconds that a request may take."),
        Setting(
            "KAFKA_SESSION_TIMEOUT_MS",
            "",
            "Milliseconds after which the consumer group gives up a silent member.",
        ),
        Setting(
            "SCHEMA_REGISTRY_URL", "", "Address of the schema registry, for Avro and Protobuf."
        ),
        Setting(
            "SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO",
            "",
            "`user:password`, if the schema registry needs them.",
        ),
    ),
)
_SPARK = Group(
    "Spark",
    "See [target Spark](targets/spark.md).",
    (
        Setting(
            "MESH_SPARK_MASTER",
            "local[*]",
            "Cluster of the mesh's own session. The default is all cores of this machine.",
        ),
        Setting("MESH_SPARK_CONF", "", "More of Spark's settings: `spark.name=value;...`."),
        Setting(
            "MESH_SPARK_METHOD",
            "session",
            "Where dbt builds: `session` (the mesh's own) or `thrift` (a server).",
        ),
        Setting("MESH_SPARK_HOST", "localhost", "Host of the Thrift server."),
        Setting("MESH_SPARK_PORT", "10000", "Port of the Thrift server."),
        Setting("MESH_SPARK_USER", "meshhouse", "User at the Thrift server."),
        Setting("MESH_SPARK_AUTH", "NONE", "`NONE`, `NOSASL`, `LDAP` or `CUSTOM`."),
        Setting("MESH_SPARK_PASSWORD", "", "Password, for `LDAP` and `CUSTOM` only."),
        Setting(
            "PYSPARK_PYTHON",
            "",
            "Python of Spark's workers. Without it, on this machine the one that runs `mesh`.",
        ),
    ),
)
_SNOWFLAKE = Group(
    "Snowflake",
    "See [target Snowflake](targets/snowflake.md).",
    (
        Setting("SNOWFLAKE_ACCOUNT", "", "Account. Required."),
        Setting("SNOWFLAKE_USER", "", "User. Required."),
        Setting("SNOWFLAKE_PRIVATE_KEY_FILE", "", "File of the user's private key. Required."),
        Setting("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "", "Passphrase of the key, if it has one."),
        Setting("SNOWFLAKE_DATABASE", "", "Database of the mesh. Required."),
        Setting("SNOWFLAKE_ROLE", "", "Role. Without it, the user's default role."),
        Setting("SNOWFLAKE_WAREHOUSE", "", "Warehouse. Without it, the user's default warehouse."),
        Setting(
            "SNOWFLAKE_WAREHOUSE_<DOMAIN>",
            "",
            "Warehouse of one domain. Without it, `SNOWFLAKE_WAREHOUSE`.",
        ),
        Setting(
            "SNOWFLAKE_HOST",
            "",
            "Host, if Snowflake is reached through another, such as a private link.",
        ),
        Setting("SNOWFLAKE_PORT", "443", "Port of the host."),
        Setting("SNOWFLAKE_PROTOCOL", "https", "Protocol of the host."),
        Setting(
            "MESH_SNOWFLAKE_TAGS",
            "on",
            "`off` sets no tags, which Snowflake's Standard Edition does not have.",
        ),
    ),
)
_ALERTS = Group(
    "Alerts",
    "See [alerts and notices of change](guides/alerts.md). Addresses of webhooks are secrets.",
    (
        Setting("MESH_ALERT_WEBHOOK", "", "Address that gets each message as JSON, by POST."),
        Setting("MESH_ALERT_WEBHOOK_<DOMAIN>", "", "The same, for the messages of one domain."),
        Setting("MESH_ALERT_SLACK", "", "Incoming webhook of Slack or Mattermost."),
        Setting("MESH_ALERT_SLACK_<DOMAIN>", "", "The same, for the messages of one domain."),
        Setting(
            "MESH_ALERT_SECRET",
            "",
            "Key that signs the JSON, in base64: `openssl rand -base64 32`. Without it, nothing is "
            "signed.",
        ),
        Setting("MESH_ALERT_SECRET_<DOMAIN>", "", "Key for `MESH_ALERT_WEBHOOK_<DOMAIN>` instead."),
        Setting("MESH_ALERT_EMAIL_TO", "", "Addresses that get each message, with commas."),
        Setting(
            "MESH_ALERT_OWNERS",
            "on",
            "`off` sends no e-mail to the addresses of groups' owners.",
        ),
        Setting(
            "MESH_ALERT_PING",
            "",
            "Address that is called after each look that worked: a dead man's switch.",
        ),
        Setting("MESH_ALERT_EMAIL_FROM", "", "Sender of e-mails. Required for e-mail."),
        Setting("MESH_SMTP_HOST", "", "Server that sends e-mails. Required for e-mail."),
        Setting("MESH_SMTP_PORT", "", "Its port. Without it, 587, 465 or 25, by security."),
        Setting("MESH_SMTP_SECURITY", "starttls", "`starttls`, `tls` or `none`."),
        Setting("MESH_SMTP_USER", "", "User at the server, if it asks for one."),
        Setting("MESH_SMTP_PASSWORD", "", "Password of the user."),
        Setting(
            "MESH_DAGSTER_URL",
            "",
            "Address of Dagster's page, for links to it.",
        ),
    ),
)
_TOOLS = Group(
    "Java, downloads and other tools",
    "",
    (
        Setting(
            "JAVA_HOME",
            "",
            "The Java to try first. Then the one on the path, then the one of the extra `kafka`.",
        ),
        Setting("MESH_MAVEN_REPOSITORY", "", "Where jars are fetched. Without it, Maven Central."),
        Setting("XDG_CACHE_HOME", "~/.cache", "Fetched jars are in `meshhouse` below it."),
        Setting(
            "DBT_PROFILES_DIR",
            "",
            "For plain dbt: the folder `profiles` of the repository. `mesh` finds it without.",
        ),
        Setting(
            "DAGSTER_HOME",
            ".mesh/dagster",
            "Folder with `dagster.yaml`, for `mesh dev` and `mesh run`. An environment always uses "
            "a folder in its part of `MESH_HOME`.",
        ),
        Setting("SODA_CORE_TELEMETRY_ENABLED", "false", "Whether Soda reports its use."),
        Setting("PYTHONUNBUFFERED", "1", "Python's own; output appears at once."),
        Setting("PYTHONWARNINGS", "ignore", "Python's own; for `mesh dev` only."),
    ),
)
_INTERNAL = Group(
    "Set by the platform",
    "For the processes that it starts. Do not set these.",
    (
        Setting("MESH_RUN_ID", "", "The current run, for query tags."),
        Setting("MESH_PINS", "", "File with the metadata locations that a run has pinned."),
        Setting("MESH_STEPS", "", "What the processes of a run's steps execute."),
        Setting("MESH_JOB_MIB", "", "Memory of DuckDB in each of several processes, in MiB."),
        Setting("MESH_JOB_THREADS", "", "Threads of DuckDB in each of several processes."),
        Setting("_MESH_COMPLETE", "", "Set by the shell to ask for completions."),
    ),
)
_DEVELOPMENT = Group(
    "Tests and benchmarks",
    "",
    (
        Setting(
            "MESH_TESTS_NEED_BROWSER", "", "Set: tests fail, not skip, if no browser is installed."
        ),
        Setting(
            "MESH_TESTS_NEED_MARIADB", "", "Set: tests fail, not skip, if MariaDB is not installed."
        ),
        Setting("MESH_TESTS_NEED_SPARK", "", "Set: tests fail, not skip, if Spark cannot run."),
        Setting("MESH_BENCH_EVENTS", "2000000", "`benchmarks.kafka`: events with bad ones."),
        Setting("MESH_BENCH_LONG", "5000000", "`benchmarks.kafka`: events without bad ones."),
        Setting(
            "MESH_BENCH_ROUNDS",
            "",
            "Rounds of `benchmarks.kafka` and `.peers` (without it 3) and `.spark` (25).",
        ),
        Setting("MESH_BENCH_PEER_EVENTS", "1000000", "`benchmarks.peers`: events."),
        Setting("MESH_BENCH_ROWS", "500000", "`benchmarks.spark`: rows of the smaller table."),
        Setting("JAVA_TOOL_OPTIONS", "", "Java's own; `benchmarks.peers` adds to it."),
    ),
)
GROUPS = (_MESH, _STORAGE, _KAFKA, _SPARK, _SNOWFLAKE, _ALERTS, _TOOLS, _INTERNAL, _DEVELOPMENT)
SETTINGS = tuple(setting for group in GROUPS for setting in group.settings)
_DEFAULTS = {setting.name: setting.default for setting in SETTINGS}


def value(name: str) -> str:
    """The value of a variable, or its default.

    Raises:
        KeyError: the variable is not declared here.
    """
    return os.environ.get(name, _DEFAULTS[name])


def page() -> str:
    """The text of docs/settings.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Every environment variable that the platform reads. Do not edit this page: it is written"
    yield "from `meshhouse/settings.py` by `python -m meshhouse.settings`."
    for group in GROUPS:
        yield from ("", f"## {group.title}", "")
        if group.about:
            yield from (group.about, "")
        yield from ("| variable | default | meaning |", "|---|---|---|")
        for setting in group.settings:
            default = f"`{setting.default}`" if setting.default else ""
            yield f"| `{setting.name}` | {default} | {setting.meaning} |".replace("|  |", "| |")
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page())
