"""A password in an address shows in no message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshhouse.addresses import without_credentials
from meshhouse.errors import UsageError

SECRET = "s3cr3t"


def kafka() -> object:
    from meshhouse.events import open_source

    return open_source(Path("/nowhere"), Path("/nowhere"))


def store() -> object:
    from meshhouse.lake.object_store import access

    return access()


def schema_registry() -> object:
    from meshhouse.landing.formats.schema_registry import SchemaRegistry

    return SchemaRegistry.from_environment("topics.yml:3")


def catalog_service() -> object:
    from meshhouse.lake.rest_catalog import service

    return service()


def spark() -> object:
    from meshhouse.engines.spark.session import settings

    return settings([])


def snowflake() -> object:
    from meshhouse.engines.snowflake.session import connect

    return connect()


def warehouse() -> object:
    from meshhouse.lake.object_store import warehouse

    return warehouse()


@pytest.mark.parametrize(
    ("setting", "address", "use"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "me:{}@localhost:1", kafka),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:1,SASL_SSL://me:{}@localhost:2", kafka),
        ("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", "https://me:{}@localhost:1/token", kafka),
        ("SCHEMA_REGISTRY_URL", "me:{}@localhost:1", schema_registry),
        ("SCHEMA_REGISTRY_URL", "//me:{}@localhost:1", schema_registry),
        ("SCHEMA_REGISTRY_URL", "ftp://me:{}@localhost:1", schema_registry),
        ("AWS_ENDPOINT_URL", "http://me:{}@localhost:1", store),
        ("AWS_ENDPOINT_URL_S3", "me:{}@localhost:1", store),
        ("MESH_WAREHOUSE", "s3://me:{}@bucket/folder", warehouse),
        ("PYICEBERG_CATALOG__MESH__URI", "me:{}@localhost:1", catalog_service),
        ("MESH_SPARK_MASTER", "spark://me:{}@localhost:1", spark),
        ("SNOWFLAKE_ACCOUNT", "me:{}@account", snowflake),
        ("SNOWFLAKE_HOST", "https://me:{}@host", snowflake),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(
    setting: str, address: str, use: Callable[[], object], monkeypatch
) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "SNOWFLAKE_ACCOUNT"):
        monkeypatch.setenv(name, "localhost:1")
    for name in ("SNOWFLAKE_USER", "SNOWFLAKE_DATABASE", "SNOWFLAKE_PRIVATE_KEY_FILE"):
        monkeypatch.setenv(name, "given")
    monkeypatch.setenv(setting, address.format(SECRET))
    with pytest.raises(UsageError) as refused:
        use()
    assert SECRET not in str(refused.value)
    assert (
        setting in str(refused.value)
        or "sasl.oauthbearer" in str(refused.value)
        or ("bootstrap.servers" in str(refused.value))
    )


WORDS = st.text("abc:/. 'ü", max_size=12)


@given(before=WORDS, user=st.text("ab.", min_size=1), after=WORDS, is_url=st.booleans())
def test_credentials_are_taken_out_of_any_text(before, user, after, is_url) -> None:
    scheme = "https://" if is_url else ""
    text = f"{before} {scheme}{user}:{SECRET}@host:9092/{after}"
    assert SECRET not in without_credentials(text)
    assert "@host:9092/" in without_credentials(text)
