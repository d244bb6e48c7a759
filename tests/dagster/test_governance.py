"""What Dagster shows of promises: changes that would break consumers, and who they are.

The tests of this file are one story: each runs everything once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from meshhouse.dagster.mesh import mesh_assets
from meshhouse.dagster.settings import Settings
from meshhouse.engines import engine
from tests.conftest import Mesh

ORDERS = "domains/shop/models/products/orders"
CUSTOMERS = "domains/crm/models/products/customers"
TOTALS = "domains/shop/models/products/totals"
SALES_YML = "      - {name: sales, data_type: bigint, description: The same.}\n"
SPENT = ",\n    cast(coalesce(sum(amount), 0) as decimal(18, 2)) as spent"
SPENT_YML = (
    '      - {name: spent, data_type: "decimal(18,2)", description: What was paid in all.}\n'
)
FOLLOWS = Settings(follows=dg.AutomationCondition.eager())
TEAM = "![mesh](http://x/) | <team>"


class Done:
    """A run of Dagster, by what its page shows."""

    def __init__(self, result: dg.ExecuteInProcessResult, follows: set[str]) -> None:
        self.follows = follows
        """Assets that the sensor `whatever_follows` would make after it."""
        self.success = result.success
        self.checks = {
            (each.asset_key.to_user_string(), each.check_name): each
            for each in result.get_asset_check_evaluations()
        }
        self.made = {
            event.asset_key.to_user_string(): {
                name: value.value for name, value in event.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
        }
        self.failures = {
            str(event.step_key): event.step_failure_data.user_failure_data
            for event in result.filter_events(lambda each: each.is_step_failure)
        }

    def compatibility(self, product: str) -> tuple[bool, str]:
        """Whether it passed, and what it says."""
        found = self.checks[product, "compatibility"]
        return found.passed, found.description or ""

    def facts(self, product: str) -> dict[str, Any]:
        """The metadata of the check."""
        metadata = self.checks[product, "compatibility"].metadata
        return {name: each.value for name, each in metadata.items()}

    def promises(self, product: str) -> dict[str, bool]:
        """Objective -> whether it was met."""
        return {
            check.removeprefix("promise_"): each.passed
            for (name, check), each in self.checks.items()
            if name == product and check.startswith("promise_")
        }

    @property
    def published(self) -> list[str]:
        """Products with a new publication."""
        return sorted(
            name for name, facts in self.made.items() if "score" in facts and not facts["unchanged"]
        )


def publications(mesh: Mesh, product: str) -> list[dict[str, Any]]:
    """The publications of a product of crm, oldest first."""
    entries = engine(mesh.repository).ledger.entries("publications", "crm")
    return [each for each in entries if each["product"] == product]


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture(scope="module")
def mesh(new_mesh) -> Mesh:
    """A mesh with ten sales, an owner with an odd name, and three promises of `orders`."""
    mesh = new_mesh()
    mesh.edit("models/domain.yml", "name: mesh team", f"name: '{TEAM}'")
    promises = "{refreshed_within_hours: 24, completeness_percent: 100, latency_minutes: 5}"
    mesh.edit(f"{ORDERS}.yml", "{refreshed_within_hours: 24}", promises)
    mesh.sell(*range(10))
    return mesh


@pytest.fixture(scope="module")
def run(mesh: Mesh, instance: dg.DagsterInstance) -> Any:
    """Materialises everything, as the button of Dagster's page does."""

    looks: list[Any] = [None]

    def run(config: Any = None) -> Done:
        assets = mesh_assets(mesh.repository, FOLLOWS)
        defined = dg.Definitions(assets=assets, executor=dg.in_process_executor)
        result = defined.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            # Dagster's page names the assets too; then it knows what a run was meant to make.
            asset_selection=sorted(defined.resolve_asset_graph().get_all_asset_keys()),
            raise_on_error=False,
            run_config=config,
        )
        looked = dg.evaluate_automation_conditions(defined, instance, cursor=looks[-1])
        looks.append(looked.cursor)
        follows = {each.key.to_user_string() for each in looked.results if each.true_subset.size}
        return Done(result, follows)

    def in_mesh(config: Any = None, **environment: str) -> Done:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MESH_ROOT", str(mesh.root))
            for name, value in environment.items():
                patch.setenv(name, value)
            return run(config)

    return in_mesh


@pytest.fixture(scope="module")
def first(run) -> Done:
    return run()


@pytest.fixture(scope="module")
def refused(first: Done, mesh: Mesh, run) -> Done:
    """After a new sale; shop adds an end date, a column and a promise, and crm drops a column.

    The promise cannot be kept.
    """
    mesh.sell(11)
    mesh.edit(f"{ORDERS}.yml", "latency_minutes: 5", "latency_minutes: 0.000001")
    mesh.edit(
        f"{ORDERS}.yml",
        "  - name: orders\n",
        "  - name: orders\n    deprecation_date: 2999-01-31\n",
    )
    mesh.edit(f"{TOTALS}.sql", "as orders", "as orders,\n    cast(count(*) as bigint) as sales")
    mesh.edit(f"{TOTALS}.yml", "    columns:\n", f"    columns:\n{SALES_YML}")
    mesh.edit(f"{CUSTOMERS}.sql", SPENT, "")
    mesh.edit(f"{CUSTOMERS}.yml", SPENT_YML, "")
    return run()


@pytest.fixture(scope="module")
def mended(refused: Done, mesh: Mesh, run) -> Done:
    """After the column came back."""
    mesh.edit(f"{CUSTOMERS}.sql", "as orders", f"as orders{SPENT}")
    mesh.edit(f"{CUSTOMERS}.yml", "How many orders.}\n", f"How many orders.}}\n{SPENT_YML}")
    return run()


@pytest.fixture(scope="module")
def silent(mended: Done, mesh: Mesh, run) -> Done:
    """After a column means something else."""
    mesh.edit(f"{CUSTOMERS}.sql", "sum(amount)", "max(amount)")
    return run()


def test_a_first_publication_has_nothing_to_be_compared_with(first):
    assert first.success
    for product in ("shop/orders", "shop/totals", "crm/customers", "mesh/overview"):
        passed, said = first.compatibility(product)
        assert passed
        assert said.startswith("Nothing to compare with")
    made = first.made["crm/customers"]
    assert made["bump"] == "first publication"
    assert "verdict" not in made


def test_metadata_names_the_contract_and_counts_consumers(first, mesh):
    [entry] = publications(mesh, "customers")
    facts = first.made["crm/customers"]
    assert (facts["version"], facts["publication"]) == (1, entry["number"])
    assert facts["contract"] == entry["contract_hash"]
    # Readers are known from what they have published.
    assert facts["consumers"] == 0
    assert facts["columns come from"].splitlines()[2:] == [
        "| customer\\_id | `shop.orders.customer_id` |",
        "| orders | rows of `shop.orders` |",
        "| spent | `shop.orders.amount` |",
    ]


def test_promises_are_checks_where_they_were_measured(first):
    kept = {"refreshed_within_hours": True, "completeness_percent": True, "latency_minutes": True}
    assert first.promises("shop/orders") == kept
    assert first.promises("crm/customers") == {}
    facts = first.checks["shop/orders", "promise_completeness_percent"].metadata
    assert (facts["target"].value, facts["measured"].value) == (100, 100)
    made = first.made["shop/orders"]
    # Numbers, which Dagster's page draws over time.
    assert {made[f"error budget left of {each} (percent)"] for each in kept} == {100.0}


def test_a_refused_change_says_in_one_sentence_what_would_break_for_whom(refused, mesh):
    assert not refused.success
    passed, said = refused.compatibility("crm/customers")
    assert not passed
    assert said == (
        "crm.customers would break mesh.stg_crm__customers.spent of !\\[mesh](http://x/) | <team> "
        "<mesh@tiny.example>: Column `spent` (decimal(18,2)) is removed."
    )
    check = refused.checks["crm/customers", "compatibility"]
    assert check.severity is dg.AssetCheckSeverity.ERROR
    failure = refused.failures["crm"]
    keeps = f"publication {publications(mesh, 'customers')[0]['number']} of "
    assert failure.description.startswith(f"{said.removesuffix('.')}; consumers keep {keeps}")
    assert failure.description.endswith(" UTC, 1 row.")
    assert "\n" not in failure.description


def test_the_ways_out_are_commands_and_text_of_others_stays_text(refused):
    facts = refused.facts("crm/customers")
    assert (facts["verdict"], facts["bump"]) == ("breaking", "major")
    _, _, row = facts["changes"].splitlines()
    assert "| `mesh new version crm.customers` or `mesh waive crm.customers " in row
    assert "!\\[mesh\\]\\(http\\:" in row
    assert row.replace("\\|", "").count("|") == 5, "four cells"
    assert refused.failures["crm"].metadata["crm.customers changes"].value == facts["changes"]


def test_what_was_built_and_what_others_published_is_green(refused):
    assert refused.published == ["shop/orders", "shop/totals"]
    assert refused.compatibility("shop/totals") == (True, "1 minor change for consumers.")
    assert "Column \\`sales\\`" in refused.facts("shop/totals")["changes"]
    built = {name for name in refused.made if name.startswith("crm")}
    assert built == {"crm/build.stg_shop__orders", "crm/build.customers"}
    failed = [key for key, each in refused.checks.items() if not each.passed]
    broken = ("shop/orders", "promise_latency_minutes")
    assert failed == [broken, ("crm/customers", "compatibility")]
    assert refused.checks[broken].severity is dg.AssetCheckSeverity.WARN


def test_models_of_a_refused_run_start_no_other_run(refused):
    assert refused.follows == set()


def test_after_a_fix_a_run_of_everything_publishes_only_what_is_missing(mended):
    assert mended.success
    assert mended.published == ["crm/customers", "mesh/overview"]
    assert mended.made["shop/orders"]["unchanged"] is True
    assert mended.made["shop/orders"]["consumers"] == 1
    judgement = {
        name: [mended.made[name].get(fact) for fact in ("verdict", "bump", "changes for consumers")]
        for name in ("crm/customers", "shop/totals", "shop/orders")
    }
    assert judgement == {
        "crm/customers": ["harmless", "none", "Nothing changes for consumers."],
        "shop/totals": ["minor", None, "1 minor change for consumers."],
        "shop/orders": ["minor", None, "1 minor change for consumers."],
    }
    since = "Its current publication: 1 minor change for consumers."
    assert mended.compatibility("shop/totals") == (True, f"The product is unchanged. {since}")


def test_a_deprecated_product_shows_its_end_and_its_readers(refused, mended):
    for done in (refused, mended):
        facts = done.made["shop/orders"]
        assert facts["deprecated until"].startswith("2999-01-31")
        assert facts["still read by"] == (
            "crm.customers of crm team <crm@tiny.example>, "
            "crm.stg_shop__orders of crm team <crm@tiny.example>"
        )
    assert "deprecated until" not in mended.made["shop/totals"]


def test_a_silent_change_is_refused_until_it_is_confirmed_in_the_launchpad(silent, run, mesh):
    assert not silent.success
    said = silent.failures["crm"].description
    assert said.startswith("crm.customers would silently change mesh.stg_crm__customers.")
    confirmed = run({"ops": {"crm": {"config": {"confirm": "the largest order counts"}}}})
    assert confirmed.success
    assert confirmed.published == ["crm/customers", "mesh/overview"]
    now = "1 waived or confirmed change for consumers."
    assert confirmed.compatibility("crm/customers") == (True, now)
    assert "the largest order counts" in confirmed.facts("crm/customers")["changes"]
    again = run()
    assert again.published == []
    unchanged = f"The product is unchanged. Its current publication: {now}"
    assert again.compatibility("crm/customers") == (True, unchanged)
    assert "the largest order counts" in again.facts("crm/customers")["changes"]
    assert "the largest order counts" in str(publications(mesh, "customers")[-1]["changes"])


def test_an_environment_warns_and_publishes(silent, mesh, run):
    mesh.edit("models/overview/overview.sql", "sum(spent)", "sum(spent) * 2")
    mesh.edit(f"{CUSTOMERS}.sql", SPENT.replace("sum", "max"), "")
    mesh.edit(f"{CUSTOMERS}.yml", SPENT_YML, "")
    done = run(MESH_ENV="trial")
    check = done.checks["crm/customers", "compatibility"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.description.startswith("Production would refuse: crm.customers would break mesh.")
    assert "crm/customers" in done.published
    made = done.made["crm/customers"]
    assert (made["verdict"], made["bump"]) == ("breaking", "major")
    assert made["changes for consumers"] == "1 breaking change for consumers."
