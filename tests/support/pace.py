"""How long files of tests take: the longest begin first, and `make test-fast` leaves them out.

Belongs here: seconds of each file that takes over 10 s, with two workers on two idle cores, and
which files one worker gets together. Not here: what else leaves a test out of `make test-fast`
(conftest.py). `make test` ends with a list to compare with. The order needs only rough numbers.
"""

from __future__ import annotations

from pathlib import Path

_TESTS = Path(__file__).parents[1]
_SLOW = 15
_ESSENTIAL = {
    "landing/test_decode.py",
    "runs/test_dbt_tests.py",
    "runs/test_journey.py",
}
"""Files that `make test-fast` runs though they take long: they prove the main story."""
_ONE_SESSION = {
    "engines/spark/test_engine.py",
    "engines/spark/test_environments.py",
    "engines/spark/test_landing.py",
    "engines/spark/test_tables.py",
    "engines/test_types.py",
    "governance/test_statistics_engines.py",
    "journeys/test_contracts.py",
    "lint/sql/test_portability.py",
}
"""Files that use the Spark session of their process. One worker gets them all: a second session
would spend another minute of processor time until Java has compiled what these tests run."""
_SECONDS = {
    "catalog/test_browser.py": 60,
    "catalog/test_snippets.py": 50,
    "dagster/test_page.py": 60,
    "dagster/test_storage.py": 40,
    "dagster/test_tools.py": 40,
    "dagster/test_process.py": 40,
    "cli/test_dev.py": 20,
    "journeys/test_init.py": 120,
    "journeys/test_retail.py": 317,
    "landing/test_chaos.py": 176,
    "journeys/test_contracts.py": 160,
    "engines/spark/test_tables.py": 147,
    "landing/test_follow.py": 134,
    "engines/snowflake/test_engine.py": 133,
    "engines/spark/test_cluster.py": 101,
    "engines/spark/test_engine.py": 97,
    "engines/spark/test_landing.py": 78,
    "runs/test_dbt_tests.py": 72,
    "runs/test_versions.py": 72,
    "engines/spark/test_session.py": 71,
    "runs/test_kill.py": 70,
    "environments/test_environments.py": 60,
    "dagster/test_buttons.py": 60,
    "runs/test_readers.py": 59,
    "engines/test_types.py": 58,
    "runs/test_gate.py": 57,
    "runs/test_corrections.py": 54,
    "runs/test_renaming.py": 45,
    "dagster/test_browser.py": 120,
    "dagster/test_governance.py": 39,
    "dagster/test_views.py": 25,
    "journeys/test_catalog_service.py": 38,
    "runs/test_snapshots.py": 38,
    "engines/spark/test_in_store.py": 38,
    "journeys/test_object_store.py": 38,
    "engines/spark/test_environments.py": 34,
    "landing/test_rejected.py": 34,
    "cli/test_interrupts.py": 33,
    "maintenance/test_maintain.py": 32,
    "runs/test_retirement.py": 31,
    "runs/test_declared.py": 30,
    "runs/test_journey.py": 29,
    "landing/test_kafka.py": 28,
    "cli/test_diff.py": 28,
    "runs/test_code.py": 27,
    "demo/test_replay.py": 27,
    "lake/test_rest_catalog.py": 26,
    "landing/test_exact.py": 25,
    "events/kafka/test_broker.py": 24,
    "runs/test_clock.py": 23,
    "cli/test_kafka.py": 23,
    "lake/test_identity.py": 22,
    "runs/test_outside_runs.py": 21,
    "dagster/test_retries.py": 21,
    "runs/test_refused.py": 20,
    "engines/snowflake/test_states.py": 20,
    "maintenance/test_backup.py": 19,
    "lint/test_broken.py": 19,
    "environments/test_pull_request.py": 17,
    "runs/test_heads.py": 17,
    "dagster/test_automation.py": 16,
    "dagster/test_broken_domain.py": 16,
    "lake/test_damage.py": 15,
    "cli/test_errors.py": 14,
    "runs/test_dbt_features.py": 14,
    "events/kafka/test_source.py": 14,
    "landing/test_land.py": 12,
    "runs/test_parts.py": 12,
    "landing/test_decode.py": 12,
    "health/test_doctor.py": 12,
    "cli/test_policies.py": 11,
    "runs/test_dry_run.py": 11,
    "runs/test_samples.py": 10,
    "events/tail/test_tail.py": 10,
    "governance/lineage/test_demo.py": 10,
    "runs/test_objectives.py": 10,
}


def together(file: Path) -> str:
    """A name for the tests that one worker gets together: a file, or several that share much."""
    name = _name(file)
    return "spark" if name in _ONE_SESSION else name


def begins(file: Path) -> tuple[float, str]:
    """Sorts files: what takes longest first, and files that one worker gets together in a row."""
    name = together(file)
    same = [each for each in _SECONDS if together(_TESTS / each) == name]
    return -sum(_SECONDS[each] for each in same), name


def seconds(file: Path) -> int:
    """How long the tests of a file take together; 0 where it is not recorded."""
    return _SECONDS.get(_name(file), 0)


def is_slow(file: Path) -> bool:
    """Whether `make test-fast` leaves a file out for its length."""
    return seconds(file) > _SLOW and _name(file) not in _ESSENTIAL


def _name(file: Path) -> str:
    return file.relative_to(_TESTS).as_posix() if file.is_relative_to(_TESTS) else ""
