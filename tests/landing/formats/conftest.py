"""A schema registry, named by environment variables as in a deployment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meshhouse.landing.formats import schema_registry as client
from tests.support.registries import Registry, serving


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with serving() as served, pytest.MonkeyPatch.context() as patch:
        patch.setenv(client.URL, served.url)
        patch.delenv(client.USER_INFO, raising=False)
        patch.setattr(client, "PAUSES", (0, 0))
        yield served
