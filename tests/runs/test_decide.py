"""What a run does about a product, from its ledger alone."""

from __future__ import annotations

from typing import Any

import pytest

from meshhouse.runs.publication import Basis, Decision, decide, standing_publications

BUILD, UNCHANGED, WITHDRAWN = Decision.BUILD, Decision.UNCHANGED, Decision.WITHDRAWN


CODE = "2:code"


def published(name: str, code: str = CODE, **inputs: int | None) -> dict[str, Any]:
    made_of = {"code_version": code, "input_snapshots": inputs}
    return {"publication_id": name, "kind": "publish", **made_of}


def rolled_back() -> dict[str, Any]:
    # Its own columns repeat those of what is shown again; decisions must not count on that.
    return {"publication_id": "rollback", "kind": "rollback"}


FIRST, SECOND, THIRD = published("1", raw=1), published("2", raw=2), published("3", raw=3)
BACK = rolled_back()


def basis(code: str = CODE, **inputs: int | None) -> Basis:
    return Basis(code, inputs)


@pytest.mark.parametrize(
    ("history", "now", "decision"),
    [
        pytest.param([], basis(raw=1), BUILD, id="never published"),
        pytest.param([FIRST], basis(raw=1), UNCHANGED, id="same code, same inputs"),
        pytest.param([FIRST], basis("2:other", raw=1), BUILD, id="other code"),
        pytest.param([FIRST], basis(raw=2), BUILD, id="newer input"),
        pytest.param([FIRST], basis(raw=1, more=1), BUILD, id="one input more"),
        pytest.param([FIRST], basis(), BUILD, id="one input less"),
        pytest.param([published("1", raw=None)], basis(raw=None), UNCHANGED, id="empty input"),
        pytest.param([published("1", raw=None)], basis(raw=1), BUILD, id="input no longer empty"),
        pytest.param([FIRST, SECOND], basis(raw=1), BUILD, id="only the newest counts"),
        pytest.param([FIRST, SECOND, BACK], basis(raw=2), WITHDRAWN, id="what was rolled back"),
        pytest.param([FIRST, SECOND, BACK], basis(raw=1), UNCHANGED, id="what is shown again"),
        pytest.param([FIRST, SECOND, BACK], basis(raw=3), BUILD, id="new input after rollback"),
        pytest.param(
            [FIRST, SECOND, BACK], basis("2:mended", raw=2), BUILD, id="mended after rollback"
        ),
        pytest.param(
            [FIRST, SECOND, THIRD, BACK, BACK], basis(raw=3), WITHDRAWN, id="rolled back twice"
        ),
        pytest.param(
            [FIRST, SECOND, THIRD, BACK, BACK], basis(raw=2), WITHDRAWN, id="the second of them"
        ),
        pytest.param(
            [FIRST, SECOND, BACK, SECOND], basis(raw=2), UNCHANGED, id="forced after rollback"
        ),
        pytest.param(
            [FIRST, SECOND, BACK, THIRD], basis(raw=2), BUILD, id="published since the rollback"
        ),
        pytest.param(
            [FIRST, SECOND, BACK, THIRD, BACK], basis(raw=3), WITHDRAWN, id="a second rollback"
        ),
    ],
)
def test_decision(history, now, decision):
    assert decide(now, history) is decision


@pytest.mark.parametrize(
    ("history", "decision"),
    [
        pytest.param([FIRST], BUILD, id="the same code and inputs prove nothing"),
        pytest.param([FIRST, FIRST], BUILD, id="built again and again"),
        pytest.param([FIRST, FIRST, BACK], WITHDRAWN, id="rolled back, nothing else changed"),
        pytest.param([SECOND, FIRST, BACK], WITHDRAWN, id="rolled back to other inputs"),
    ],
)
def test_what_cannot_be_proved_is_built_in_every_run_but_after_a_rollback(history, decision):
    assert decide(Basis(CODE, {"raw": 1}, "stg reads the clock"), history) is decision


OLD_FIRST, OLD_SECOND = published("1", "0f1e2d3c4b5a6978", raw=1), published("2", "8796a5", raw=2)


@pytest.mark.parametrize(
    ("history", "now", "decision"),
    [
        pytest.param([OLD_FIRST], basis(raw=1), BUILD, id="published"),
        pytest.param([OLD_FIRST, OLD_FIRST, BACK], basis(raw=1), WITHDRAWN, id="equal inputs"),
        pytest.param([OLD_FIRST, OLD_SECOND, BACK], basis(raw=2), WITHDRAWN, id="rolled back"),
        pytest.param([OLD_FIRST, OLD_SECOND, BACK], basis(raw=3), BUILD, id="new input"),
        pytest.param([OLD_FIRST, SECOND, BACK], basis("2:mended", raw=2), BUILD, id="mended"),
        pytest.param([OLD_FIRST, OLD_SECOND, BACK, THIRD], basis(raw=2), BUILD, id="since then"),
        pytest.param(
            [OLD_FIRST, OLD_SECOND, OLD_SECOND, BACK, BACK], basis(raw=2), WITHDRAWN, id="twice"
        ),
    ],
)
def test_a_rollback_stands_though_versions_of_code_were_computed_otherwise(history, now, decision):
    """Their digests cannot be compared, so only inputs tell whether anything has changed."""
    assert decide(now, history) is decision


@pytest.mark.parametrize("history", [[], [FIRST], [FIRST, SECOND, BACK]])
def test_force_builds_whatever_the_ledger_says(history):
    assert decide(basis(raw=1), history, force=True) is BUILD
    assert decide(basis(raw=2), history, force=True) is BUILD


@pytest.mark.parametrize(
    ("history", "standing"),
    [
        ([], []),
        ([FIRST, SECOND], [FIRST, SECOND]),
        ([FIRST, SECOND, BACK], [FIRST]),
        ([FIRST, SECOND, THIRD, BACK, BACK], [FIRST]),
        ([FIRST, SECOND, BACK, THIRD], [FIRST, THIRD]),
        ([FIRST, SECOND, BACK, THIRD, BACK], [FIRST]),
    ],
)
def test_a_rollback_takes_back_the_newest_publication_that_stands(history, standing):
    assert standing_publications(history) == standing
