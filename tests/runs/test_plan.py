"""Will this product be built, and why? The answer, from code, inputs and the ledger alone."""

from __future__ import annotations

from typing import Any

import pytest

from meshhouse.runs.history import effective_publications
from meshhouse.runs.plan import TO_COME, Basis, Decision, Facts, companions, plan

BUILD, UNCHANGED, HELD_BACK = Decision.BUILD, Decision.UNCHANGED, Decision.HELD_BACK


CODE = "2:code"


def published(name: str, code: str = CODE, **inputs: int | None) -> dict[str, Any]:
    made_of = {"code_version": code, "input_snapshots": inputs}
    return {"publication_id": name, "kind": "publish", **made_of}


def rolled_back() -> dict[str, Any]:
    # Its own columns repeat those of what is shown again; decisions must not count on that.
    return {"publication_id": "rollback", "kind": "rollback"}


FIRST, SECOND, THIRD = published("1", raw=1), published("2", raw=2), published("3", raw=3)
BACK = rolled_back()


def basis(code: str = CODE, unprovable: str = "", **inputs: int | None) -> Basis:
    return Basis(code, inputs, unprovable)


def decide(now: Basis, history: list[dict[str, Any]], force: bool = False) -> Decision:
    return plan([Facts("orders", now, history, is_forced=force)], {})["orders"].decision


def why(*products: Facts, own: tuple[str, ...] = (), **reads: list[str]) -> dict[str, str]:
    """Product -> decision and reasons, as people read them."""
    verdicts = plan(products, reads, own)
    return {name: f"{each.decision.value} ({each})" for name, each in verdicts.items()}


SAME = "unchanged (code and inputs are those of the publication)"


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        pytest.param({}, "build (never published)", id="never published"),
        pytest.param({"history": [FIRST]}, SAME, id="nothing changed"),
        pytest.param(
            {"now": basis("2:other", raw=1), "history": [FIRST]}, "build (code changed)",
            id="the files are not known",
        ),
        pytest.param(
            {"now": basis("2:other", raw=1), "history": [FIRST],
             "changed_code": ("models/a.sql", "macros/b.sql")},
            "build (code changed: models/a.sql, macros/b.sql)",
            id="the files are known",
        ),
        pytest.param(
            {"history": [published("1", "0f1e2d", raw=1)]},
            "build (code cannot be compared: another version of Meshhouse published it)",
            id="code versions of another kind",
        ),
        pytest.param(
            {"now": basis(raw=2, more=1, same=3),
             "history": [published("1", raw=1, gone=1, same=3)]},
            "build (inputs moved: gone, more, raw)",
            id="inputs: one moved, one more, one less",
        ),
        pytest.param(
            {"now": basis(raw=TO_COME), "history": [FIRST]}, "build (inputs moved: raw)",
            id="an input that the same run is about to move",
        ),
        pytest.param({"history": [FIRST], "is_forced": True}, "build (forced)", id="forced"),
        pytest.param(
            {"is_forced": True}, "build (forced; never published)", id="forced the first time"
        ),
        pytest.param(
            {"now": basis(unprovable="stg reads the clock (now())", raw=1), "history": [FIRST]},
            "build (cannot be proved unchanged: stg reads the clock (now()))",
            id="reads the clock",
        ),
        pytest.param(
            {"now": basis("2:other", "stg reads the clock (now())", raw=2), "history": [FIRST],
             "is_forced": True},
            "build (forced; code changed; inputs moved: raw; cannot be proved unchanged: stg reads "
            "the clock (now()))",
            id="every reason",
        ),
        pytest.param(
            {"now": basis(raw=2), "history": [FIRST, SECOND, BACK]},
            "held back (rolled back, and no change since is known)",
            id="rolled back",
        ),
        pytest.param(
            {"now": basis(raw=2), "history": [FIRST], "is_inherited": True},
            "unchanged (production keeps it up to date)",
            id="an input of production moved, seen from an environment",
        ),
        pytest.param(
            {"now": basis(unprovable="stg reads the clock (now())", raw=1), "history": [FIRST],
             "is_inherited": True},
            "unchanged (production keeps it up to date)",
            id="reads the clock, seen from an environment",
        ),
        pytest.param(
            {"now": basis("2:other", raw=2), "history": [FIRST], "is_inherited": True},
            "build (code changed)",
            id="code changed in an environment",
        ),
        pytest.param(
            {"now": basis(own=2, raw=2), "history": [published("1", own=1, raw=1)],
             "is_inherited": True},
            "build (inputs moved: own)",
            id="an input of the environment's own moved",
        ),
    ],
)  # fmt: skip
def test_verdict(facts, verdict):
    facts = {"now": basis(raw=1), **facts}
    product = Facts("orders", facts.pop("now"), **facts)
    assert why(product, own=("own",)) == {"orders": verdict}


def facts(name: str, now: Basis | None = None, **more: Any) -> Facts:
    return Facts(name, now or basis(raw=1), **{"history": [FIRST], **more})


def test_production_keeps_what_an_environment_reads_beside_a_product_it_builds():
    """The environment builds both, from the same inputs, though only one of them changed."""
    changed = facts("a", basis("2:other", raw=2), is_inherited=True)
    others = [facts(name, basis(raw=2), is_inherited=True) for name in "bcd"]
    assert why(changed, *others, a=["b"], b=["c"]) == {
        "a": "build (code changed)",
        "b": "build (built together with: a)",
        "c": "build (built together with: a)",
        "d": "unchanged (production keeps it up to date)",
    }


def test_what_comes_with_a_named_product_says_so_and_is_built_for_a_reason_of_its_own():
    asked = facts("a", basis(raw=2))
    moved = facts("b", basis(raw=2), is_asked_for=False)
    unchanged = facts("c", is_asked_for=False)
    assert why(asked, moved, unchanged, a=["b", "c"]) == {
        "a": "build (inputs moved: raw)",
        "b": "build (inputs moved: raw; built together with: a)",
        "c": SAME,
    }


def test_what_was_rolled_back_is_held_back_though_a_product_beside_it_is_built():
    back = facts("b", basis(raw=2), history=[FIRST, SECOND, BACK])
    assert why(facts("a", basis(raw=3)), back, a=["b"])["b"].startswith("held back")


def test_companions_are_found_through_others_and_in_circles():
    reads = {"a": ["b"], "b": ["c", "a"], "d": ["a"]}
    assert companions(reads, ["a"]) == {"a", "b", "c"}
    assert companions(reads, ["c"]) == {"c"}


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
        pytest.param([FIRST, SECOND, BACK], basis(raw=2), HELD_BACK, id="what was rolled back"),
        pytest.param([FIRST, SECOND, BACK], basis(raw=1), UNCHANGED, id="what is shown again"),
        pytest.param([FIRST, SECOND, BACK], basis(raw=3), BUILD, id="new input after rollback"),
        pytest.param(
            [FIRST, SECOND, BACK], basis("2:mended", raw=2), BUILD, id="mended after rollback"
        ),
        pytest.param(
            [FIRST, SECOND, THIRD, BACK, BACK], basis(raw=3), HELD_BACK, id="rolled back twice"
        ),
        pytest.param(
            [FIRST, SECOND, THIRD, BACK, BACK], basis(raw=2), HELD_BACK, id="the second of them"
        ),
        pytest.param(
            [FIRST, SECOND, BACK, SECOND], basis(raw=2), UNCHANGED, id="forced after rollback"
        ),
        pytest.param(
            [FIRST, SECOND, BACK, THIRD], basis(raw=2), BUILD, id="published since the rollback"
        ),
        pytest.param(
            [FIRST, SECOND, BACK, THIRD, BACK], basis(raw=3), HELD_BACK, id="a second rollback"
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
        pytest.param([FIRST, FIRST, BACK], HELD_BACK, id="rolled back, nothing else changed"),
        pytest.param([SECOND, FIRST, BACK], HELD_BACK, id="rolled back to other inputs"),
    ],
)
def test_what_cannot_be_proved_is_built_in_every_run_but_after_a_rollback(history, decision):
    assert decide(basis(unprovable="stg reads the clock", raw=1), history) is decision


OLD_FIRST, OLD_SECOND = published("1", "0f1e2d3c4b5a6978", raw=1), published("2", "8796a5", raw=2)


@pytest.mark.parametrize(
    ("history", "now", "decision"),
    [
        pytest.param([OLD_FIRST], basis(raw=1), BUILD, id="published"),
        pytest.param([OLD_FIRST, OLD_FIRST, BACK], basis(raw=1), HELD_BACK, id="equal inputs"),
        pytest.param([OLD_FIRST, OLD_SECOND, BACK], basis(raw=2), HELD_BACK, id="rolled back"),
        pytest.param([OLD_FIRST, OLD_SECOND, BACK], basis(raw=3), BUILD, id="new input"),
        pytest.param([OLD_FIRST, SECOND, BACK], basis("2:mended", raw=2), BUILD, id="mended"),
        pytest.param([OLD_FIRST, OLD_SECOND, BACK, THIRD], basis(raw=2), BUILD, id="since then"),
        pytest.param(
            [OLD_FIRST, OLD_SECOND, OLD_SECOND, BACK, BACK], basis(raw=2), HELD_BACK, id="twice"
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
    assert effective_publications(history) == standing
