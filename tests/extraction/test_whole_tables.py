"""A reading of a whole table lands as a whole, or not at all."""

from __future__ import annotations

import os

import pytest

from meshhouse.errors import MeshError
from meshhouse.extraction import extract, no_reading_in_part
from meshhouse.locks import lock
from tests.conftest import Mesh

TABLE, TOPIC = "shop_raw.sales", "shop.sales"
CRM = """\
sources:
  - name: crm_raw
    tables:
      - name: sales
        description: The sales of shop, as crm reads them.
        config:
          meta: {topic: shop.sales, format: json}
        columns:
          - {name: sale_id, data_type: bigint, description: Number of the sale.}
"""


@pytest.fixture
def whole(mesh: Mesh) -> Mesh:
    """A mesh whose topic gets readings of a whole table; two raw tables land it."""
    mesh.edit(
        "domains/shop/models/topics.yml", "topic: shop.sales, format: json",
        "topic: shop.sales, extract: {database: postgres, connection: DB, table: public.sales}",
    )  # fmt: skip
    mesh.write("domains/crm/models/topics.yml", CRM)
    mesh.sell(1)
    return mesh


def test_a_topic_with_readings_is_not_followed(whole: Mesh):
    said = whole.run("land", "--follow", TABLE, "crm_raw.sales", code=2).stderr
    for relation in (TABLE, "crm_raw.sales"):
        assert f"{relation} is not followed" in said
        assert f"Run `mesh land {relation}` after `mesh extract` instead." in said
    assert "whole table public.sales" in said


def test_while_a_reading_is_sent_neither_land_nor_run_lands_it(whole: Mesh):
    gate = whole.home / "locks" / f"{TABLE}.reading"
    with lock(gate):
        for arguments in (("land", "crm_raw.sales"), ("run", "crm")):
            said = whole.run(*arguments, code=1)
            assert f"{TABLE} is being extracted" in said.stdout + said.stderr
    assert "1 rows landed" in whole.run("land", "crm_raw.sales").stderr


def test_two_landings_share_the_topic_and_an_extraction_waits_for_both(whole: Mesh):
    def say(line: str) -> None:
        raise MeshError(line)

    repository = whole.repository
    with no_reading_in_part(repository, TOPIC), no_reading_in_part(repository, TOPIC):  # noqa: SIM117
        with pytest.raises(MeshError, match=r"waiting for process .*, which is landing shop.sales"):
            extract(repository, repository.raw_table(TABLE), say=say)


def test_a_signal_ends_the_wait_for_a_landing(whole: Mesh):
    with no_reading_in_part(whole.repository, TOPIC):
        process = whole.start("extract", TABLE)
        try:
            assert process.stderr is not None
            waits = f"waiting for process {os.getpid()}, which is landing {TOPIC}\n"
            assert process.stderr.readline() == waits
            process.terminate()
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert said.endswith("mesh: Interrupted. The next `mesh extract` goes on there.\n")
