"""Settings have Kafka's names, invalid ones are explained, and secrets never show."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshhouse.errors import MeshError, UsageError
from meshhouse.events import EventLog, open_source, uses_kafka
from meshhouse.events.kafka.confluent import configuration
from meshhouse.events.kafka.java import java_properties
from meshhouse.events.kafka.library import failed
from meshhouse.events.kafka.python import arguments
from meshhouse.events.kafka.settings import KafkaSettings, kafka_settings

SERVERS = "bootstrap.servers: one:9092\n"
SCRAM = {
    "bootstrap.servers": "one:9092, two:9092",
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.username": "ana",
    "sasl.password": "hunter2",
}


def read(
    tmp_path: Path, profile: str, environment: Mapping[str, str] | None = None
) -> KafkaSettings | None:
    path = tmp_path / "profiles" / "kafka.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(profile)
    return kafka_settings(tmp_path, environment or {})


def of(environment: Mapping[str, str]) -> KafkaSettings:
    """Settings from environment variables only."""
    variables = {"KAFKA_" + name.upper().replace(".", "_"): environment[name]
                 for name in environment}  # fmt: skip
    found = kafka_settings(Path("/nowhere"), variables)
    assert found is not None
    return found


def test_without_servers_topics_are_those_of_the_event_log(tmp_path, monkeypatch):
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    assert kafka_settings(tmp_path, {}) is None
    assert read(tmp_path, "# nothing\n") is None
    assert read(tmp_path, "bootstrap.servers: ${KAFKA:-}\nclient.id: me\n") is None
    assert not uses_kafka(tmp_path)
    assert isinstance(open_source(tmp_path, tmp_path), EventLog)


def test_the_environment_wins_over_the_file(tmp_path):
    profile = SERVERS + "client.id: file\nclient.rack: r1\n"
    found = read(tmp_path, profile, {"KAFKA_CLIENT_ID": "environment", "KAFKA_CLIENT_RACK": ""})
    assert found is not None
    assert found.properties == {
        "bootstrap.servers": "one:9092", "client.id": "environment", "client.rack": "r1",
    }  # fmt: skip


def test_variables_in_the_file_are_taken_from_the_environment(tmp_path):
    profile = "bootstrap.servers: ${HOST}:${PORT:-9092}\nclient.id: ${WHO:-}\n"
    found = read(tmp_path, profile, {"HOST": "one"})
    assert found is not None
    assert found.properties == {"bootstrap.servers": "one:9092"}


@pytest.mark.parametrize(
    ("profile", "explanation"),
    [
        ("bootstrap.server: x", r"kafka\.yml: .*no setting `bootstrap\.server`.*`bootstrap\.serv"),
        ("zzz: x", r"no setting `zzz`. Known: bootstrap\.servers, "),
        ("bootstrap.servers: ${NOBODY}", r"`bootstrap\.servers` needs .*variable NOBODY, which is"),
        ("- a\n- b", r"must map Kafka's property names to values"),
        ("a: [", r"kafka\.yml is not valid YAML"),
        (SERVERS + "security.protocol: TLS", r"`security\.protocol` is `TLS`; .*SASL_SSL"),
        (SERVERS + "sasl.mechanism: SCRAM", r"`sasl\.mechanism` is `SCRAM`; .*SCRAM-SHA-256"),
        (SERVERS + "request.timeout.ms: soon", r"`request\.timeout\.ms` is `soon`; .*whole number"),
        (SERVERS + "security.protocol: SASL_SSL", r"also needs `sasl\.mechanism`.*KAFKA_SASL_MECH"),
        (
            SERVERS + "security.protocol: SASL_SSL\nsasl.mechanism: PLAIN\nsasl.username: ana",
            r"also needs `sasl\.password`\. Set KAFKA_SASL_PASSWORD",
        ),
        (
            SERVERS + "security.protocol: SASL_SSL\nsasl.mechanism: OAUTHBEARER",
            r"needs `sasl\.oauthbearer\.token\.endpoint\.url`, `sasl\.oauthbearer\.client\.id`",
        ),
    ],
)
def test_an_invalid_setting_is_explained_with_the_valid_ones(tmp_path, profile, explanation):
    with pytest.raises(UsageError, match=explanation) as caught:
        read(tmp_path, profile)
    assert "\n" not in str(caught.value)


def test_scram_over_tls_as_both_python_clients_name_it():
    settings = of(SCRAM)
    python = arguments(settings)
    assert python["bootstrap_servers"] == ["one:9092", "two:9092"]
    assert {name: python[name] for name in python if name.startswith(("sasl", "security"))} == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "ana",
        "sasl_plain_password": "hunter2",
    }
    assert configuration(settings) == {"client.id": "meshhouse", **SCRAM}


def test_tls_files_as_both_python_clients_name_them():
    files = {
        "ssl.ca.location": "/tls/ca.pem",
        "ssl.certificate.location": "/tls/me.pem",
        "ssl.key.location": "/tls/me.key",
        "ssl.key.password": "hunter2",
        "ssl.endpoint.identification.algorithm": "none",
    }
    settings = of({"bootstrap.servers": "one:9092", "security.protocol": "SSL", **files})
    python = arguments(settings)
    assert {name: python[name] for name in python if name.startswith("ssl")} == {
        "ssl_cafile": "/tls/ca.pem",
        "ssl_certfile": "/tls/me.pem",
        "ssl_keyfile": "/tls/me.key",
        "ssl_password": "hunter2",
        "ssl_check_hostname": False,
    }
    assert files.items() <= configuration(settings).items()


def test_scram_over_tls_as_java_names_it(tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----")
    said = java_properties(KafkaSettings({
        **SCRAM, "sasl.password": r'a "b" \ c', "ssl.ca.location": str(ca),
        "ssl.endpoint.identification.algorithm": "none", "request.timeout.ms": "90000",
        "session.timeout.ms": "6000",
    }))  # fmt: skip
    assert said == {
        "bootstrap.servers": "one:9092, two:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required "
        r'username="ana" password="a \"b\" \\ c";',
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": "-----BEGIN CERTIFICATE-----",
        "ssl.endpoint.identification.algorithm": "",
        "request.timeout.ms": "90000",
        "default.api.timeout.ms": "90000",
    }


def test_client_certificates_and_tokens_as_java_names_them(tmp_path):
    certificate, key = tmp_path / "client.pem", tmp_path / "key.pem"
    certificate.write_text("-----BEGIN CERTIFICATE-----")
    key.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    properties = {
        "bootstrap.servers": "one:9092", "ssl.certificate.location": str(certificate),
        "ssl.key.location": str(key), "ssl.key.password": "hunter2",
    }  # fmt: skip
    said = java_properties(KafkaSettings(properties))
    assert said["ssl.keystore.type"] == "PEM"
    assert said["ssl.keystore.certificate.chain"] == certificate.read_text()
    assert (said["ssl.keystore.key"], said["ssl.key.password"]) == (key.read_text(), "hunter2")
    key.write_text("-----BEGIN RSA PRIVATE KEY-----")
    with pytest.raises(UsageError, match=r"is not a PKCS#8 key.*openssl pkcs8 -topk8"):
        java_properties(KafkaSettings(properties))
    with pytest.raises(UsageError, match=r"`ssl.ca.location` .* cannot be read: No such file"):
        java_properties(KafkaSettings({**properties, "ssl.ca.location": str(tmp_path / "no.pem")}))
    said = java_properties(KafkaSettings({
        "bootstrap.servers": "one:9092", "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.token.endpoint.url": "https://id/token",
        "sasl.oauthbearer.client.id": "me", "sasl.oauthbearer.client.secret": "hunter2",
    }))  # fmt: skip
    assert said["sasl.oauthbearer.token.endpoint.url"] == "https://id/token"
    assert said["sasl.jaas.config"].endswith(
        'OAuthBearerLoginModule required clientId="me" clientSecret="hunter2";'
    )
    assert said["sasl.login.callback.handler.class"].endswith("OAuthBearerLoginCallbackHandler")


def test_a_secret_as_java_writes_it_shows_in_no_message():
    settings = KafkaSettings({**SCRAM, "sasl.password": 'a"b'})
    assert "a" not in settings.without_secrets(
        java_properties(settings)["sasl.jaas.config"]
    ).partition("password=")[2].replace("***", "")


def test_timeouts_are_numbers_and_only_consumers_have_sessions():
    settings = of(
        {"bootstrap.servers": "a:1", "request.timeout.ms": "900", "session.timeout.ms": "6000"}
    )
    assert arguments(settings)["request_timeout_ms"] == 900
    assert "session_timeout_ms" not in arguments(settings)
    consumer = arguments(settings, consumer=True)
    assert (consumer["session_timeout_ms"], consumer["heartbeat_interval_ms"]) == (6000, 2000)
    assert "session.timeout.ms" not in configuration(settings)
    assert configuration(settings, consumer=True)["session.timeout.ms"] == "6000"


def test_both_clients_accept_the_settings():
    from confluent_kafka import Consumer, Producer
    from kafka import KafkaConsumer, KafkaProducer

    known = set(KafkaConsumer.DEFAULT_CONFIG) & set(KafkaProducer.DEFAULT_CONFIG)
    settings = of({**SCRAM, "ssl.endpoint.identification.algorithm": "none",
                   "request.timeout.ms": "900", "session.timeout.ms": "6000",
                   "client.rack": "r"})  # fmt: skip
    assert set(arguments(settings, consumer=True)) <= set(KafkaConsumer.DEFAULT_CONFIG)
    assert set(arguments(settings)) - {"client_rack"} <= known
    Producer(configuration(settings), logger=_Silent())
    Consumer({**configuration(settings, consumer=True), "group.id": "g"}, logger=_Silent()).close()


class _Silent:
    def log(self, *arguments: object) -> None:
        """There is no server to connect to."""


class Tokens(BaseHTTPRequestHandler):
    """A token endpoint that returns numbered tokens."""

    asked: list[dict[str, list[str]]]

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.asked.append(form)
        body = json.dumps({"access_token": f"t{len(self.asked)}", "expires_in": 3600}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Keeps requests out of the tests' output."""


@pytest.fixture
def tokens() -> Iterator[HTTPServer]:
    Tokens.asked = []
    with HTTPServer(("localhost", 0), Tokens) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def oauth(address: str, **more: str) -> KafkaSettings:
    return of({
        "bootstrap.servers": "one:9092", "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.token.endpoint.url": address,
        "sasl.oauthbearer.client.id": "ana", "sasl.oauthbearer.client.secret": "hunter2", **more,
    })  # fmt: skip


def test_a_token_is_fetched_once_and_used_again(tokens):
    settings = oauth(f"http://localhost:{tokens.server_port}/token",
                     **{"sasl.oauthbearer.scope": "kafka"})  # fmt: skip
    provider = arguments(settings)["sasl_oauth_token_provider"]
    assert [provider.token() for _ in range(3)] == ["t1"] * 3
    assert Tokens.asked == [{
        "grant_type": ["client_credentials"], "client_id": ["ana"], "client_secret": ["hunter2"],
        "scope": ["kafka"],
    }]  # fmt: skip
    assert configuration(settings)["sasl.oauthbearer.method"] == "oidc"


@pytest.mark.parametrize("address", ["http://localhost:1/token", "file:///etc/passwd"])
def test_a_token_that_cannot_be_fetched_gives_one_line_without_the_secret(address):
    provider = arguments(oauth(address))["sasl_oauth_token_provider"]
    with pytest.raises(MeshError) as caught:
        provider.token()
    assert "sasl.oauthbearer.token.endpoint.url" in str(caught.value)
    assert "hunter2" not in str(caught.value)


SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).map(
    lambda text: f"«{text}»"
)


@given(SECRETS, SECRETS)
def test_secrets_show_nowhere(password, key_password):
    settings = of({**SCRAM, "sasl.password": password, "ssl.key.password": key_password})
    error = failed(settings, f"refused {password} and {key_password!s}\n")
    for text in (repr(settings), str(settings), f"{settings!r:>10}", str(error)):
        assert password not in text
        assert key_password not in text


@given(st.text("ab*", min_size=1, max_size=4), st.text("ab*", min_size=1, max_size=4))
def test_a_secret_that_is_part_of_another_is_hidden_too(one, other):
    settings = of({**SCRAM, "sasl.password": one, "ssl.key.password": other})
    assert settings.without_secrets(f"«{one}» «{other}»") == "«***» «***»"


@given(SECRETS)
def test_a_secret_is_in_no_error_about_other_settings(secret):
    for wrong in ({"security.protocol": "TLS"}, {"sasl.mechanism": "no"}, {"sasl.username": ""}):
        with pytest.raises(UsageError) as caught:
            of({**SCRAM, "sasl.password": secret, **wrong})
        assert secret not in str(caught.value)
