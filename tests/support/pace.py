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
    "journeys/test_retail.py": 300,
    "landing/test_chaos.py": 240,
    "landing/test_follow.py": 150,
    "engines/spark/test_landing.py": 120,
    "engines/spark/test_cluster.py": 100,
    "engines/spark/test_tables.py": 80,
    "runs/test_readers.py": 80,
    "cli/test_interrupts.py": 60,
    "cli/test_kafka.py": 60,
    "demo/test_replay.py": 60,
    "engines/snowflake/test_engine.py": 60,
    "engines/spark/test_session.py": 60,
    "engines/test_types.py": 60,
    "journeys/test_object_store.py": 60,
    "landing/test_exact.py": 60,
    "engines/snowflake/test_states.py": 50,
    "lint/sql/test_portability.py": 45,
    "engines/spark/test_engine.py": 40,
    "environments/test_pull_request.py": 40,
    "events/log/test_log.py": 40,
    "events/tail/test_tail.py": 40,
    "lake/test_rest_catalog.py": 40,
    "runs/test_kill.py": 40,
    "environments/test_environments.py": 30,
    "journeys/test_catalog_service.py": 30,
    "lake/test_storage.py": 30,
    "landing/test_decode.py": 30,
    "maintenance/test_maintain.py": 30,
    "runs/test_clock.py": 25,
    "runs/test_journey.py": 25,
    "runs/test_declared.py": 24,
    "cli/test_errors.py": 23,
    "lake/test_identity.py": 22,
    "health/test_doctor.py": 20,
    "lake/test_damage.py": 20,
    "maintenance/test_backup.py": 20,
    "runs/test_corrections.py": 20,
    "runs/test_dbt_tests.py": 18,
    "dagster/test_automation.py": 16,
    "dagster/test_broken_domain.py": 16,
    "runs/test_code.py": 16,
}


def seconds(file: Path) -> int:
    """How long the tests of a file take together; 0 where it is not recorded."""
    return _SECONDS.get(_name(file), 0)


def is_slow(file: Path) -> bool:
    """Whether `make test-fast` leaves a file out for its length."""
    return seconds(file) > _SLOW and _name(file) not in _ESSENTIAL


def _name(file: Path) -> str:
    return file.relative_to(_TESTS).as_posix() if file.is_relative_to(_TESTS) else ""
