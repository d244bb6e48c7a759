"""A schema registry, named by the environment as deployments name theirs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from registries import Registry, serving

from meshhouse.landing.formats import registry as client


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with serving() as served, pytest.MonkeyPatch.context() as patch:
        patch.setenv(client.URL, served.url)
        patch.delenv(client.USER_INFO, raising=False)
        patch.setattr(client, "PAUSES", (0, 0))
        yield served
