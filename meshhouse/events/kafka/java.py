"""Kafka's settings for its Java clients, which Spark uses.

Belongs here: the properties of Java clients. Not here: finding a Java (meshhouse/java.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from meshhouse.errors import UsageError
from meshhouse.events.kafka.settings import KafkaSettings, quoted

_THE_SAME_IN_JAVA = {
    "bootstrap.servers", "client.id", "client.rack", "security.protocol", "sasl.mechanism",
    "sasl.kerberos.service.name", "sasl.oauthbearer.token.endpoint.url", "request.timeout.ms",
    "ssl.key.password",
}  # fmt: skip
_JAVAS_API_TIMEOUT = 60_000
"""Java's default of `default.api.timeout.ms`. A client with a longer request timeout does not
start."""
_JAVAS_FILES = (
    ("ssl.ca.location", "ssl.truststore.type", "ssl.truststore.certificates"),
    ("ssl.certificate.location", "ssl.keystore.type", "ssl.keystore.certificate.chain"),
    ("ssl.key.location", "ssl.keystore.type", "ssl.keystore.key"),
)
_SECURITY = "org.apache.kafka.common.security"
_OAUTH = f"{_SECURITY}.oauthbearer.OAuthBearerLogin"


def java_properties(settings: KafkaSettings) -> dict[str, str]:
    """Properties of Kafka's Java clients.

    They hold the content of certificates and keys, so Spark's executors need no files.

    Raises:
        UsageError: a certificate or key cannot be read, or Java cannot use the key.
    """
    properties = {
        name: value for name, value in settings.properties.items() if name in _THE_SAME_IN_JAVA
    }
    timeout = int(properties.get("request.timeout.ms", 0))
    if timeout > _JAVAS_API_TIMEOUT:
        properties["default.api.timeout.ms"] = str(timeout)
    if settings.properties.get("ssl.endpoint.identification.algorithm", "https") != "https":
        properties["ssl.endpoint.identification.algorithm"] = ""
    for name, kind, value in _JAVAS_FILES:
        if name in settings.properties:
            properties[kind] = "PEM"
            properties[value] = _read(name, settings.properties[name])
    key = properties.get("ssl.keystore.key")
    if key is not None and not re.search("BEGIN (ENCRYPTED )?PRIVATE KEY", key):
        path = settings.properties["ssl.key.location"]
        raise UsageError(
            f"Kafka's `ssl.key.location` {path} is not a PKCS#8 key, the only kind that Java "
            f"reads. Convert it: `openssl pkcs8 -topk8 -in {path} -out key.pem`."
        )
    if settings.properties.get("sasl.mechanism"):
        properties["sasl.jaas.config"] = _jaas(settings.properties)
    if settings.properties.get("sasl.mechanism") == "OAUTHBEARER":
        properties["sasl.login.callback.handler.class"] = f"{_OAUTH}CallbackHandler"
    return properties


def _jaas(properties: Mapping[str, str]) -> str:
    """The login configuration of Java clients (JAAS)."""
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
        f"{name}={quoted(properties[kafka])}"
        for name, kafka in options.items()
        if kafka in properties
    ]
    if properties["sasl.mechanism"] == "GSSAPI":
        said = ["useTicketCache=true"]  # as both Python clients do
    return " ".join([module, "required", *said]) + ";"


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a PEM file"
        raise UsageError(f"Kafka's `{name}` {path} cannot be read: {reason}.") from error
