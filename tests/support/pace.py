"""How long files of tests take: the longest begin first, and `make test-fast` leaves them out.

Belongs here: seconds of each file that takes over 10 s, with two workers on two idle cores. Not
here: what else leaves a test out of `make test-fast` (conftest.py). `make test` ends with a list
to compare with. The order needs only rough numbers.
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
_SECONDS = {
    "runs/test_objectives.py": 20,
    "cli/test_policies.py": 20,
    "runs/test_last_run.py": 24,
    "runs/test_dry_run.py": 27,
    "cli/test_diff.py": 28,
    "dagster/test_governance.py": 35,
    "runs/test_retirement.py": 40,
    "runs/test_heads.py": 50,
    "runs/test_renaming.py": 65,
    "runs/test_versions.py": 90,
    "runs/test_gate.py": 115,
    "journeys/test_contracts.py": 150,
    "journeys/test_retail.py": 354,
    "engines/spark/test_cluster.py": 260,
    "landing/test_chaos.py": 186,
    "landing/test_follow.py": 140,
    "engines/spark/test_landing.py": 140,
    "engines/spark/test_tables.py": 134,
    "runs/test_readers.py": 110,
    "engines/spark/test_session.py": 93,
    "engines/snowflake/test_engine.py": 85,
    "runs/test_kill.py": 75,
    "engines/spark/test_engine.py": 55,
    "environments/test_environments.py": 50,
    "maintenance/test_maintain.py": 37,
    "runs/test_corrections.py": 37,
    "demo/test_replay.py": 37,
    "cli/test_interrupts.py": 34,
    "engines/test_types.py": 32,
    "journeys/test_object_store.py": 31,
    "lake/test_rest_catalog.py": 30,
    "landing/test_rejected.py": 30,
    "landing/test_kafka.py": 28,
    "runs/test_journey.py": 28,
    "journeys/test_catalog_service.py": 25,
    "landing/test_exact.py": 24,
    "runs/test_dbt_tests.py": 24,
    "cli/test_kafka.py": 24,
    "engines/spark/test_in_store.py": 24,
    "runs/test_clock.py": 22,
    "engines/spark/test_environments.py": 22,
    "lake/test_identity.py": 22,
    "events/kafka/test_broker.py": 21,
    "runs/test_outside_runs.py": 21,
    "runs/test_snapshots.py": 19,
    "maintenance/test_backup.py": 19,
    "lint/test_broken.py": 18,
    "runs/test_code.py": 17,
    "lake/test_damage.py": 16,
    "environments/test_pull_request.py": 16,
    "engines/snowflake/test_states.py": 16,
    "cli/test_errors.py": 16,
    "events/kafka/test_source.py": 16,
    "dagster/test_automation.py": 23,
    "landing/test_decode.py": 15,
    "runs/test_declared.py": 14,
    "dagster/test_broken_domain.py": 14,
    "landing/test_land.py": 14,
    "environments/test_drop_in_store.py": 13,
    "events/tail/test_tail.py": 11,
    "health/test_doctor.py": 11,
    "cli/test_sql.py": 11,
    "runs/test_parts.py": 11,
    "runs/test_dbt_features.py": 11,
    "runs/test_samples.py": 10,
    "lint/sql/test_portability.py": 10,
}


def seconds(file: Path) -> int:
    """How long the tests of a file take together; 0 where it is not recorded."""
    return _SECONDS.get(_name(file), 0)


def is_slow(file: Path) -> bool:
    """Whether `make test-fast` leaves a file out for its length."""
    return seconds(file) > _SLOW and _name(file) not in _ESSENTIAL


def _name(file: Path) -> str:
    return file.relative_to(_TESTS).as_posix() if file.is_relative_to(_TESTS) else ""
