"""How long files of tests take: the longest begin first, and `make test-fast` leaves them out.

Belongs here: seconds of each file that takes over 10 s, with two idle cores, and
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
    "notices/test_look.py": 30,
    "catalog/test_browser.py": 60,
    "catalog/test_snippets.py": 50,
    "catalog/test_changes.py": 40,
    "engines/spark/test_tables.py": 176,
    "journeys/test_parity.py": 160,
    "journeys/test_contracts.py": 157,
    "landing/test_chaos.py": 148,
    "engines/snowflake/test_engine.py": 146,
    "runs/test_gate.py": 131,
    "landing/test_follow.py": 117,
    "journeys/test_init.py": 99,
    "runs/test_kill.py": 99,
    "engines/spark/test_engine.py": 96,
    "engines/spark/test_landing.py": 95,
    "dagster/test_browser.py": 91,
    "environments/test_environments.py": 87,
    "engines/spark/test_cluster.py": 81,
    "extraction/test_files.py": 80,
    "extraction/test_table_kills.py": 60,
    "extraction/test_tables.py": 60,
    "extraction/test_kinesis.py": 25,
    "extraction/test_table_values.py": 20,
    "runs/test_dbt_tests.py": 77,
    "journeys/test_retail.py": 75,
    "runs/test_versions.py": 72,
    "engines/test_types.py": 66,
    "dagster/test_jobs.py": 58,
    "runs/test_readers.py": 53,
    "runs/test_corrections.py": 50,
    "dagster/test_governance.py": 49,
    "journeys/test_operating_guides.py": 50,
    "engines/spark/test_session.py": 48,
    "cli/test_topic.py": 47,
    "runs/test_renaming.py": 43,
    "runs/test_code.py": 39,
    "runs/test_declared.py": 38,
    "dagster/test_buttons.py": 37,
    "dagster/test_page.py": 36,
    "runs/test_snapshots.py": 35,
    "journeys/test_object_store.py": 33,
    "cli/test_diff.py": 31,
    "journeys/test_catalog_service.py": 31,
    "journeys/test_kafka_guide.py": 31,
    "cli/test_interrupts.py": 30,
    "landing/test_kafka.py": 30,
    "runs/test_retirement.py": 29,
    "runs/test_journey.py": 28,
    "runs/test_clock.py": 27,
    "dagster/test_process.py": 26,
    "landing/test_exact.py": 25,
    "landing/test_rejected.py": 25,
    "maintenance/test_maintain.py": 25,
    "runs/test_derived_checks.py": 25,
    "dagster/test_storage.py": 23,
    "engines/spark/test_in_store.py": 23,
    "demo/test_replay.py": 22,
    "engines/spark/test_environments.py": 22,
    "journeys/test_dbt_features.py": 21,
    "runs/test_executed.py": 21,
    "runs/test_outside_runs.py": 20,
    "runs/test_refused.py": 20,
    "lake/test_identity.py": 19,
    "cli/test_kafka.py": 18,
    "engines/snowflake/test_states.py": 18,
    "events/kafka/test_broker.py": 18,
    "lake/test_rest_catalog.py": 18,
    "dagster/test_retries.py": 17,
    "lake/test_ledger_files.py": 17,
    "maintenance/test_backup.py": 17,
    "runs/test_dbt_features.py": 17,
    "runs/test_import_refused.py": 17,
    "runs/test_legal_dbt.py": 17,
    "cli/test_new_files.py": 16,
    "dagster/test_broken_domain.py": 16,
    "runs/test_heads.py": 16,
    "dagster/test_automation.py": 15,
    "dagster/test_tools.py": 15,
    "environments/test_pull_request.py": 15,
    "governance/lineage/test_demo.py": 15,
    "lake/test_damage.py": 15,
    "runs/test_defaults.py": 15,
    "cli/test_errors.py": 14,
    "events/kafka/test_source.py": 13,
    "landing/test_decode.py": 13,
    "cli/test_new_topic.py": 12,
    "health/test_doctor.py": 12,
    "landing/test_ledger.py": 12,
    "maintenance/test_short.py": 12,
    "cli/test_policies.py": 11,
    "runs/test_parts.py": 11,
    "cli/test_sql.py": 10,
    "events/tail/test_tail.py": 10,
    "landing/test_land.py": 10,
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
