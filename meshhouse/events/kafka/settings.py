"""Kafka's settings: Kafka's property names, from the profile and the environment.

Belongs here: reading properties, and refusing invalid ones. Not here: the names that client
libraries use (python.py, confluent.py, java.py).

`profiles/kafka.yml` maps properties to values. `${NAME}` and `${NAME:-default}` are replaced from
the environment. A variable `KAFKA_` + the property in capitals with underscores
(`KAFKA_BOOTSTRAP_SERVERS`, `KAFKA_SASL_PASSWORD`) overrides the file. Without `bootstrap.servers`,
the mesh uses the embedded event log.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meshhouse.addresses import refuse_credentials
from meshhouse.errors import UsageError

_PROPERTIES = (
    "bootstrap.servers",
    "client.id",
    "client.rack",
    "security.protocol",
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
    "sasl.kerberos.service.name",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.scope",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "request.timeout.ms",
    "session.timeout.ms",
)
_NUMBERS = ("request.timeout.ms", "session.timeout.ms")
_CONSUMERS_ONLY = {"session.timeout.ms"}
_SECRETS = {"sasl.password", "ssl.key.password", "sasl.oauthbearer.client.secret"}
_ADDRESSES = {
    "bootstrap.servers": "Write host:port alone, and set `sasl.username` and `sasl.password`.",
    "sasl.oauthbearer.token.endpoint.url": (
        "Write the address alone, and set `sasl.oauthbearer.client.id` and "
        "`sasl.oauthbearer.client.secret`."
    ),
}
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI")


@dataclass(frozen=True)
class KafkaSettings:
    """Kafka's properties as declared; `repr` does not show them, because some are secrets."""

    properties: Mapping[str, str] = field(repr=False)

    @property
    def bootstrap_servers(self) -> str:
        """The cluster's addresses, `host:port`, separated by commas."""
        return self.properties["bootstrap.servers"]

    def without_secrets(self, text: str) -> str:
        """A client's message with `***` in place of each secret."""
        secrets = {self.properties[name] for name in _SECRETS if self.properties.get(name)}
        if not secrets:
            return text
        secrets |= {quoted(each)[1:-1] for each in secrets}  # as java.py writes them
        # Longest first, because one secret may be part of another.
        found = "|".join(re.escape(each) for each in sorted(secrets, key=len, reverse=True))
        return re.sub(found, "***", text)

    def of_client(self, consumer: bool) -> dict[str, str]:
        """The properties for a client; some are for consumers only."""
        return {name: value for name, value in self.properties.items()
                if consumer or name not in _CONSUMERS_ONLY}  # fmt: skip


def kafka_settings(root: Path, environment: Mapping[str, str] = os.environ) -> KafkaSettings | None:
    """The Kafka settings of a mesh; None if they name no cluster.

    Args:
        root: the repository; its `profiles/kafka.yml` is read if it exists.
        environment: the environment variables.

    Raises:
        UsageError: a property or value is not one of Kafka's, or a variable is not set.
    """
    path = root / "profiles" / "kafka.yml"
    properties = _from_file(path, environment) if path.exists() else {}
    for name in _PROPERTIES:
        value = environment.get("KAFKA_" + name.upper().replace(".", "_"))
        if value:
            properties[name] = value
    if not properties.get("bootstrap.servers"):
        return None
    _check(properties)
    return KafkaSettings(properties)


def _from_file(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        problem = str(error).splitlines()[0]
        raise UsageError(f"{path} is not valid YAML ({problem}). Correct it.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} must map Kafka's property names to values.")
    properties = {}
    for name, value in content.items():
        if name not in _PROPERTIES:
            close = difflib.get_close_matches(str(name), _PROPERTIES, n=1)
            hint = f"Did you mean `{close[0]}`?" if close else f"Known: {', '.join(_PROPERTIES)}."
            raise UsageError(f"{path}: there is no setting `{name}`. {hint}")
        text = _expanded("" if value is None else str(value), name, path, environment)
        if text:
            properties[name] = text
    return properties


def _expanded(value: str, name: str, path: Path, environment: Mapping[str, str]) -> str:
    def replacement(match: re.Match[str]) -> str:
        variable, default = match[1], match[2]
        found = environment.get(variable, default)
        if found is None:
            raise UsageError(
                f"{path}: `{name}` needs the environment variable {variable}, which is not set. "
                f"Set it, or give a default: ${{{variable}:-...}}."
            )
        return found

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", replacement, value)


def _check(properties: Mapping[str, str]) -> None:
    for name, instead in _ADDRESSES.items():
        refuse_credentials(f"Kafka's `{name}`", properties.get(name, ""), instead)
    for name, allowed in (("security.protocol", _PROTOCOLS), ("sasl.mechanism", _MECHANISMS)):
        value = properties.get(name)
        if value is not None and value not in allowed:
            raise UsageError(
                f"Kafka's `{name}` is `{value}`; it can be one of {', '.join(allowed)}."
            )
    for name in _NUMBERS:
        if not properties.get(name, "1").isdigit():
            raise UsageError(f"Kafka's `{name}` is `{properties[name]}`; use a whole number.")
    if properties.get("security.protocol", "PLAINTEXT").startswith("SASL"):
        mechanism = properties.get("sasl.mechanism")
        needed = ["sasl.mechanism"]
        if mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            needed += ["sasl.username", "sasl.password"]
        elif mechanism == "OAUTHBEARER":
            needed += ["sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.client.id",
                       "sasl.oauthbearer.client.secret"]  # fmt: skip
        missing = [name for name in needed if not properties.get(name)]
        if missing:
            variable = "KAFKA_" + missing[0].upper().replace(".", "_")
            raise UsageError(
                f"Kafka's `security.protocol` {properties['security.protocol']} also needs "
                f"{', '.join(f'`{name}`' for name in missing)}. Set {variable}, or the property "
                "in profiles/kafka.yml."
            )


def quoted(value: str) -> str:
    """A text in double quotes, escaped for Java's login configuration."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
