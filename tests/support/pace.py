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
    "journeys/test_parity.py": 279,
    "journeys/test_contracts.py": 250,
    "engines/snowflake/test_engine.py": 240,
    "landing/test_chaos.py": 152,
    "engines/spark/test_tables.py": 140,
    "journeys/test_init.py": 133,
    "runs/test_kill.py": 131,
    "landing/test_follow.py": 75,
    "engines/spark/test_cluster.py": 115,
    "runs/test_dbt_tests.py": 115,
    "dagster/test_browser.py": 104,
    "environments/test_environments.py": 100,
    "extraction/test_table_kills.py": 45,
    "runs/test_versions.py": 99,
    "engines/spark/test_landing.py": 90,
    "runs/test_gate.py": 90,
    "engines/spark/test_engine.py": 88,
    "dagster/test_jobs.py": 86,
    "extraction/test_files.py": 30,
    "dagster/test_governance.py": 78,
    "engines/test_types.py": 69,
    "runs/test_readers.py": 65,
    "journeys/test_operating_guides.py": 61,
    "journeys/test_retail.py": 61,
    "cli/test_diff.py": 60,
    "engines/spark/test_session.py": 56,
    "cli/test_topic.py": 55,
    "runs/test_code.py": 55,
    "runs/test_declared.py": 54,
    "runs/test_renaming.py": 35,
    "journeys/test_object_store.py": 50,
    "dagster/test_page.py": 49,
    "catalog/test_browser.py": 45,
    "dagster/test_buttons.py": 32,
    "sinks/test_cassandra.py": 45,
    "dagster/test_process.py": 43,
    "catalog/test_changes.py": 40,
    "landing/test_exact.py": 40,
    "journeys/test_catalog_service.py": 39,
    "catalog/test_snippets.py": 38,
    "cli/test_catalog.py": 38,
    "runs/test_clock.py": 38,
    "runs/test_derived_checks.py": 38,
    "runs/test_journey.py": 38,
    "landing/test_rejected.py": 37,
    "runs/test_retirement.py": 37,
    "catalog/test_gather.py": 36,
    "catalog/test_remembered.py": 36,
    "demo/test_replay.py": 36,
    "cli/test_interrupts.py": 35,
    "dagster/test_retries.py": 35,
    "dagster/test_storage.py": 35,
    "engines/spark/test_in_store.py": 34,
    "extraction/test_table_values.py": 34,
    "maintenance/test_maintain.py": 34,
    "runs/test_outside_runs.py": 34,
    "runs/test_corrections.py": 32,
    "landing/test_kafka.py": 30,
    "engines/snowflake/test_states.py": 29,
    "lake/test_identity.py": 28,
    "extraction/test_tables.py": 27,
    "runs/test_dbt_features.py": 27,
    "governance/lineage/test_steps.py": 26,
    "lake/test_ledger_files.py": 26,
    "environments/test_pull_request.py": 25,
    "runs/test_parse.py": 25,
    "maintenance/test_backup.py": 24,
    "cli/test_new_files.py": 23,
    "cli/test_kafka.py": 22,
    "dagster/test_broken_domain.py": 22,
    "lake/test_damage.py": 21,
    "notices/test_look.py": 21,
    "runs/test_heads.py": 21,
    "dagster/test_automation.py": 20,
    "dagster/test_tools.py": 20,
    "engines/spark/test_environments.py": 20,
    "events/kafka/test_broker.py": 20,
    "runs/test_objectives.py": 19,
    "maintenance/test_short.py": 18,
    "runs/test_snapshots.py": 18,
    "cli/test_errors.py": 17,
    "journeys/test_kafka_guide.py": 16,
    "lake/test_rest_catalog.py": 16,
    "runs/test_reasons.py": 16,
    "cli/test_policies.py": 15,
    "cli/test_sql.py": 15,
    "runs/test_dry_run.py": 15,
    "cli/test_new_topic.py": 14,
    "health/test_doctor.py": 14,
    "landing/test_ledger.py": 14,
    "runs/test_parts.py": 14,
    "runs/test_samples.py": 14,
    "events/kafka/test_source.py": 13,
    "events/tail/test_tail.py": 13,
    "landing/test_decode.py": 13,
    "catalog/test_metrics.py": 12,
    "catalog/test_protected.py": 12,
    "governance/test_statistics_engines.py": 12,
    "landing/test_land.py": 12,
    "runs/test_last_run.py": 12,
    "test_settings.py": 12,
    "landing/test_infer.py": 11,
    "landing/test_nested.py": 11,
    "runs/test_refused.py": 11,
    "cli/test_new_version.py": 10,
    "environments/test_drop_in_store.py": 10,
    "lake/test_texts.py": 10,
    "notices/test_delivery.py": 10,
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
