"""How to reach Kafka: its own property names, from the profile and the environment.

Belongs here: reading them, refusing what is not one, and saying them in each client's
words. Not here: using them (clients.py, source.py).

`profiles/kafka.yml` maps property to value; `${NAME}` and `${NAME:-default}` are taken
from the environment. A variable `KAFKA_` + the property in capitals with underscores
(`KAFKA_BOOTSTRAP_SERVERS`, `KAFKA_SASL_PASSWORD`) wins over the file. Without
`bootstrap.servers` there is no Kafka, and topics are those of the embedded event log.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshhouse.addresses import refuse_credentials
from meshhouse.errors import MeshError, UsageError

# Property -> its name in kafka-python; None where it needs more than a new name.
_PROPERTIES: Mapping[str, str | None] = {
    "bootstrap.servers": "bootstrap_servers",
    "client.id": "client_id",
    "client.rack": "client_rack",
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "sasl.kerberos.service.name": "sasl_kerberos_service_name",
    "sasl.oauthbearer.token.endpoint.url": None,
    "sasl.oauthbearer.client.id": None,
    "sasl.oauthbearer.client.secret": None,
    "sasl.oauthbearer.scope": None,
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
    "ssl.endpoint.identification.algorithm": None,
    "request.timeout.ms": None,
    "session.timeout.ms": None,
}
_NUMBERS = {"request.timeout.ms": "request_timeout_ms", "session.timeout.ms": "session_timeout_ms"}
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
    """Kafka's properties, as declared; secrets do not show when it is printed."""

    properties: Mapping[str, str] = field(repr=False)

    @property
    def bootstrap_servers(self) -> str:
        """Where the cluster is."""
        return self.properties["bootstrap.servers"]

    def without_secrets(self, text: str) -> str:
        """A client's message with every secret taken out."""
        secrets = {self.properties[name] for name in _SECRETS if self.properties.get(name)}
        if not secrets:
            return text
        secrets |= {_quoted(each)[1:-1] for each in secrets}  # as they are in `java`
        # The longest first: one secret may be part of another.
        found = "|".join(re.escape(each) for each in sorted(secrets, key=len, reverse=True))
        return re.sub(found, "***", text)

    def python(self, consumer: bool = False) -> dict[str, Any]:
        """Arguments of kafka-python's clients."""
        arguments: dict[str, Any] = {"client_id": "meshhouse"}
        # Long enough for an election, short enough for somebody who waits for a typing error.
        arguments["bootstrap_timeout_ms"] = int(self.properties.get("request.timeout.ms", 15_000))
        for name, value in self.properties.items():
            renamed = _PROPERTIES[name]
            if name in _NUMBERS and (consumer or name not in _CONSUMERS_ONLY):
                arguments[_NUMBERS[name]] = int(value)
                if name == "session.timeout.ms":
                    arguments["heartbeat_interval_ms"] = int(value) // 3
            elif name == "bootstrap.servers":
                arguments[name.replace(".", "_")] = [each.strip() for each in value.split(",")]
            elif renamed:
                arguments[renamed] = value
        if self.properties.get("ssl.endpoint.identification.algorithm", "https") != "https":
            arguments["ssl_check_hostname"] = False
        if self.properties.get("sasl.mechanism") == "OAUTHBEARER":
            arguments["sasl_oauth_token_provider"] = _token_provider(self)
        return arguments

    def confluent(self, consumer: bool = False) -> dict[str, Any]:
        """Configuration of confluent-kafka's clients, whose names are nearly Kafka's."""
        configuration: dict[str, Any] = {"client.id": "meshhouse"}
        for name, value in self.properties.items():
            if name in _CONSUMERS_ONLY and not consumer:
                continue
            # librdkafka's request.timeout.ms is about acknowledgements of what is produced.
            renamed = "socket.timeout.ms" if name == "request.timeout.ms" else name
            configuration[renamed] = value
            if name == "session.timeout.ms":
                configuration["heartbeat.interval.ms"] = int(value) // 3
        if configuration.get("sasl.mechanism") == "OAUTHBEARER":
            configuration["sasl.oauthbearer.method"] = "oidc"
        return configuration

    def java(self) -> dict[str, str]:
        """Properties of Kafka's own clients in Java, which Spark uses.

        Certificates and keys are in them by value, so that machines that read for us need
        no files.

        Raises:
            UsageError: such a file cannot be read, or holds a key that Java cannot use.
        """
        properties = {
            name: value for name, value in self.properties.items() if name in _THE_SAME_IN_JAVA
        }
        timeout = int(properties.get("request.timeout.ms", 0))
        if timeout > _JAVAS_API_TIMEOUT:
            properties["default.api.timeout.ms"] = str(timeout)
        if self.properties.get("ssl.endpoint.identification.algorithm", "https") != "https":
            properties["ssl.endpoint.identification.algorithm"] = ""
        for name, kind, value in _JAVAS_FILES:
            if name in self.properties:
                properties[kind] = "PEM"
                properties[value] = _read(name, self.properties[name])
        key = properties.get("ssl.keystore.key")
        if key is not None and not re.search("BEGIN (ENCRYPTED )?PRIVATE KEY", key):
            path = self.properties["ssl.key.location"]
            raise UsageError(
                f"Kafka's `ssl.key.location` {path} is no key in PKCS#8, and Java reads no other. "
                f"Convert it: `openssl pkcs8 -topk8 -in {path} -out key.pem`."
            )
        if self.properties.get("sasl.mechanism"):
            properties["sasl.jaas.config"] = _jaas(self.properties)
        if self.properties.get("sasl.mechanism") == "OAUTHBEARER":
            properties["sasl.login.callback.handler.class"] = f"{_OAUTH}CallbackHandler"
        return properties


def kafka_settings(root: Path, environment: Mapping[str, str] = os.environ) -> KafkaSettings | None:
    """The settings of a mesh; None where no Kafka is named.

    Args:
        root: the repository, whose `profiles/kafka.yml` is read if there is one.
        environment: where variables come from.

    Raises:
        UsageError: a property or value is none that Kafka has, or a variable is not set.
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
        raise UsageError(f"{path} is no YAML ({problem}). Correct it.") from error
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
            raise UsageError(f"Kafka's `{name}` is `{properties[name]}`; it is a whole number.")
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


_THE_SAME_IN_JAVA = {
    "bootstrap.servers", "client.id", "client.rack", "security.protocol", "sasl.mechanism",
    "sasl.kerberos.service.name", "sasl.oauthbearer.token.endpoint.url", "request.timeout.ms",
    "ssl.key.password",
}  # fmt: skip
_JAVAS_API_TIMEOUT = 60_000
"""Milliseconds; a client with a longer request timeout refuses to start."""
_JAVAS_FILES = (
    ("ssl.ca.location", "ssl.truststore.type", "ssl.truststore.certificates"),
    ("ssl.certificate.location", "ssl.keystore.type", "ssl.keystore.certificate.chain"),
    ("ssl.key.location", "ssl.keystore.type", "ssl.keystore.key"),
)
_SECURITY = "org.apache.kafka.common.security"
_OAUTH = f"{_SECURITY}.oauthbearer.OAuthBearerLogin"


def _jaas(properties: Mapping[str, str]) -> str:
    """How Java's clients log in."""
    user = {"username": "sasl.username", "password": "sasl.password"}
    client = {
        "clientId": "sasl.oauthbearer.client.id",
        "clientSecret": "sasl.oauthbearer.client.secret",
        "scope": "sasl.oauthbearer.scope",
    }
    scram = f"{_SECURITY}.scram.ScramLoginModule"
    module, options = {
        "PLAIN": (f"{_SECURITY}.plain.PlainLoginModule", user),
        "SCRAM-SHA-256": (scram, user),
        "SCRAM-SHA-512": (scram, user),
        "OAUTHBEARER": (f"{_OAUTH}Module", client),
        "GSSAPI": ("com.sun.security.auth.module.Krb5LoginModule", {}),
    }[properties["sasl.mechanism"]]
    said = [
        f"{name}={_quoted(properties[kafka])}"
        for name, kafka in options.items()
        if kafka in properties
    ]
    if properties["sasl.mechanism"] == "GSSAPI":
        said = ["useTicketCache=true"]  # as both Python clients do
    return " ".join([module, "required", *said]) + ";"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no PEM file"
        raise UsageError(f"Kafka's `{name}` {path} cannot be read: {reason}.") from error


def _token_provider(settings: KafkaSettings) -> Any:
    """OAuth client credentials for kafka-python (RFC 6749, section 4.4)."""
    from kafka.net.sasl.oauth import AbstractTokenProvider

    properties = settings.properties

    class ClientCredentials(AbstractTokenProvider):
        def __init__(self) -> None:
            self._token = ""
            self._renew_at = 0.0
            self._lock = threading.Lock()

        def token(self) -> str:
            with self._lock:
                if time.monotonic() >= self._renew_at:
                    self._fetch()
                return self._token

        def _fetch(self) -> None:
            form = {
                "grant_type": "client_credentials",
                "client_id": properties["sasl.oauthbearer.client.id"],
                "client_secret": properties["sasl.oauthbearer.client.secret"],
            }
            if "sasl.oauthbearer.scope" in properties:
                form["scope"] = properties["sasl.oauthbearer.scope"]
            address = properties["sasl.oauthbearer.token.endpoint.url"]
            if not address.startswith(("https://", "http://")):
                raise UsageError("`sasl.oauthbearer.token.endpoint.url` is no web address.")
            request = urllib.request.Request(  # noqa: S310
                address, data=urllib.parse.urlencode(form).encode()
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                    granted = json.load(answer)
                self._token = granted["access_token"]
            except (OSError, ValueError, LookupError, TypeError) as error:
                raise MeshError(
                    f"No token came from {address} (`sasl.oauthbearer.token.endpoint.url`): "
                    f"{settings.without_secrets(str(error))}. Check it, and the client's id and "
                    "secret."
                ) from error
            self._renew_at = time.monotonic() + 0.8 * float(granted.get("expires_in", 300))

    return ClientCredentials()
