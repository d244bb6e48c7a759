"""`mesh metrics` says what `mesh status` and the other commands say, in Prometheus' format."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from meshhouse.catalog.documents import (
    ConsumerFacts,
    CostFacts,
    Mesh,
    OperationsFacts,
    UseFacts,
)
from meshhouse.catalog.gather.operations import quantile
from meshhouse.catalog.metrics import MOST_CONSUMERS, Scrapes, exposition
from meshhouse.errors import MeshError
from tests.support.catalog_mesh import NOW, full_mesh
from tests.support.guides import Followed
from tests.support.tiny import ROOT

DASHBOARD = ROOT / "docs" / "deployment" / "grafana-dashboard.json"
Samples = dict[tuple[str, tuple[str, ...]], float]


def samples(text: str) -> Samples:
    """Name and values of labels, by the names of the labels -> value."""
    return {
        (each.name, tuple(value for _, value in sorted(each.labels.items()))): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def of(mesh: Mesh) -> Samples:
    return samples(exposition(mesh, NOW).decode())


def test_figures_equal_what_status_says(published):
    found = samples(published.run("metrics").stdout)
    for status in json.loads(published.run("status", "--json").stdout):
        labels = status["product"].partition(".")[0], status["product"]
        assert found["mesh_product_rows", labels] == status["rows"]
        assert found["mesh_product_score", labels] == status["score"]
        assert found["mesh_product_state", (*labels, status["freshness"])] == 1
    assert found["mesh_up", ()] == 1
    assert found["mesh_landing_lag_events", ("shop", "sales")] == 0
    published.sell(4)
    assert (
        samples(published.run("metrics").stdout)["mesh_landing_lag_events", ("shop", "sales")] == 1
    )


def test_reads_and_costs_are_counted(published):
    named = {"MESH_CONSUMER": "finance"}
    published.run("sql", "select amount from shop.orders", environment=named)
    published.run("sql", "select amount from shop.orders")
    found = samples(published.run("metrics").stdout)
    assert found["mesh_product_reads_30_days", ("finance", "shop", "shop.orders")] == 1
    assert found["mesh_product_reads_30_days", ("people", "shop", "shop.orders")] == 1
    assert ("mesh_product_cost_credits_30_days", ("shop", "shop.orders")) not in found
    of_consumers = sum(
        value for (name, _), value in found.items() if name == "mesh_consumer_cost_bytes"
    )
    of_products = sum(
        value for (name, _), value in found.items() if name == "mesh_product_cost_bytes"
    )
    assert of_consumers == of_products > 0


def test_what_is_unknown_has_no_series():
    mesh = full_mesh()
    orders, customers = mesh.products
    unknown = replace(orders, rows=None, score=None, published_at=None, refreshed_at=None)
    found = of(replace(mesh, products=(unknown, customers)))
    for name in (
        "rows",
        "score",
        "freshness_seconds",
        "checks_failed",
        "published_timestamp_seconds",
    ):
        assert (f"mesh_product_{name}", ("shop", "shop.orders")) not in found
        assert (f"mesh_product_{name}", ("crm", "crm.customers")) in found


def test_text_of_people_and_events_stays_in_its_label():
    hostile = 'x"} 1\nmesh_up 0\n\\ \ud800'
    mesh = full_mesh()
    orders, *others = mesh.products
    use = UseFacts("used", "", (ConsumerFacts(hostile, 2, 2, NOW),), (), 2, None)
    [topic] = mesh.topics
    found = of(
        replace(
            mesh,
            products=(replace(orders, use=use), *others),
            topics=(replace(topic, rejected=((hostile, 3),)),),
        )
    )
    assert found["mesh_up", ()] == 1
    shown = hostile.replace("\ud800", "?")
    assert found["mesh_product_reads_30_days", (shown, "shop", "shop.orders")] == 2
    assert found["mesh_rejected_events", ("shop", shown, "sales")] == 3


def test_many_consumers_and_reasons_have_few_series():
    mesh = full_mesh()
    orders, *others = mesh.products
    consumers = tuple(ConsumerFacts(f"c{number}", 100 - number, 100, NOW) for number in range(50))
    use = UseFacts("used", "", consumers, (), 5000, None)
    [topic] = mesh.topics
    rejected = tuple((f"reason {number}", 2) for number in range(30))
    found = of(
        replace(
            mesh,
            products=(replace(orders, use=use), *others),
            topics=(replace(topic, rejected=rejected),),
        )
    )
    reads = {labels[0]: value for (name, labels), value in found.items()
             if name == "mesh_product_reads_30_days"}  # fmt: skip
    assert len(reads) == MOST_CONSUMERS + 1
    assert sum(reads.values()) == sum(each.reads_30_days for each in consumers)
    assert sum(value for (name, _), value in found.items() if name == "mesh_rejected_events") == 60


NAMES = st.lists(st.sampled_from(["people", "others", "nobody", "user x", "\ud800", "?", "fin"]))


@given(NAMES, NAMES, NAMES)
def test_no_series_is_written_twice(readers, payers, reasons):
    mesh = full_mesh()
    orders, *rest = mesh.products
    consumers = tuple(ConsumerFacts(each, 1, 1, NOW) for each in readers)
    use = UseFacts("used", "", consumers, (), 1, None)
    [topic] = mesh.topics
    operations = OperationsFacts(
        NOW.date(), (), 1.0, 2.0,
        cost_of_consumers=tuple((each, CostFacts(1, 1.0, 1.0)) for each in payers),
    )  # fmt: skip
    text = exposition(
        replace(
            mesh,
            products=(replace(orders, use=use), *rest),
            topics=(replace(topic, rejected=tuple((each, 1) for each in reasons)),),
            operations=operations,
        ),
        NOW,
    ).decode()
    series = [each.rpartition(" ")[0] for each in text.splitlines() if not each.startswith("#")]
    assert len(series) == len(set(series))
    found = samples(text)
    for name, count in (
        ("mesh_product_reads_30_days", len(readers)),
        ("mesh_rejected_events", len(reasons)),
        ("mesh_consumer_cost_bytes", len(payers)),
        ("mesh_consumer_cost_credits", len(payers)),
    ):
        assert sum(value for (each, _), value in found.items() if each == name) == count


@pytest.mark.parametrize("error", [MeshError("away"), UnicodeEncodeError("utf-8", "x", 0, 1, "y")])
def test_a_scrape_that_fails_says_that_the_mesh_is_down_and_why(error):
    def broken():
        raise error

    said = []
    for gather, position in ((broken, lambda: 1), (full_mesh, broken), (lambda: None, lambda: 1)):
        [up] = Scrapes(gather, position, said.append).families()
        assert [(each.name, each.value) for each in up.samples] == [("mesh_up", 0)]
    assert said[:2] == [error, error]
    assert isinstance(said[2], AttributeError)


def test_metrics_of_an_environment_are_refused(mesh, tmp_path):
    for arguments in ((), ("--port", "0"), ("-o", str(tmp_path / "x"))):
        done = mesh.run("metrics", *arguments, environment={"MESH_ENV": "dev"}, code=2)
        assert "Unset MESH_ENV" in done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "x").exists()


def test_an_age_is_never_negative():
    mesh = full_mesh(now=NOW + timedelta(days=1))
    assert of(mesh)["mesh_product_freshness_seconds", ("shop", "shop.orders")] == 0


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([3], 0.5, 3), ([3], 0.95, 3), ([1, 2], 0.5, 1), ([1, 2, 3, 4], 0.95, 4),
     (list(range(1, 101)), 0.95, 95), (list(range(1, 101)), 0.5, 50)],
)  # fmt: skip
def test_quantiles(values, share, expected):
    assert quantile(values, share) == expected


def test_the_server_answers_and_reads_the_ledger_again(published):
    server = subprocess.Popen(
        [sys.executable, "-m", "meshhouse.cli.main", "metrics", "--port", "0"],
        cwd=published.root, env=published.environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        url = re.search(r"http://\S+", server.stderr.readline())[0]

        def rows() -> float:
            with urllib.request.urlopen(url) as answer:
                return samples(answer.read().decode())["mesh_product_rows", ("shop", "shop.orders")]

        assert rows() == 3
        published.sell(4)
        published.run("run", "shop")
        assert rows() == 4
    finally:
        server.terminate()
        server.wait()
        server.stderr.close()


def test_misuse_is_one_line(mesh, tmp_path):
    said = mesh.run("metrics", "--port", "0", "-o", str(tmp_path / "x"), code=2).stderr
    assert said == "mesh: -o and --port cannot be combined. Choose one.\n"


def test_the_page_about_metrics(published, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    Followed(published, scratch, {}).follow("metrics.md")
    assert samples((published.root / "mesh.prom").read_text())["mesh_up", ()] == 1


def test_the_dashboard_follows_grafanas_schema_and_names_real_figures():
    schema = json.loads((Path(__file__).parent / "schemas" / "grafana-dashboard.json").read_text())
    dashboard = json.loads(DASHBOARD.read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(dashboard)
    mesh = full_mesh()
    orders, *others = mesh.products
    use = UseFacts("used", "", (ConsumerFacts("finance", 1, 1, NOW),), (), 1, None)
    operations = OperationsFacts(NOW.date(), ((NOW.date(), 1),), 1.0, 2.0)
    known = {
        name for name, _ in of(
            replace(mesh, products=(replace(orders, use=use), *others), operations=operations)
        )
    }  # fmt: skip
    used = set(re.findall(r"\bmesh_\w+", DASHBOARD.read_text()))
    assert used <= known, used - known
    table = (ROOT / "docs" / "guides" / "metrics.md").read_text()
    assert known <= set(re.findall(r"\bmesh_\w+", table)), "docs/guides/metrics.md has all figures"
