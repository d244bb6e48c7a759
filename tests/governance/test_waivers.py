"""Which changes waivers and confirmations let through; pure, with a fixed day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from meshhouse.governance.change import Bump, Change, Hit, Verdict, smallest_bump
from meshhouse.governance.contract import Contract
from meshhouse.governance.policies import notice_days
from meshhouse.governance.waivers import Step, fingerprint, record_of, used_waivers, verdict_after
from meshhouse.repository.waivers import Confirmation, Waiver, Waivers

TODAY = date(2026, 11, 30)
FILE = Path("waivers.yml")
DROPPED = Change(
    "S1", "amount", "amount is removed", "queries fail", Verdict.BREAKING,
    (Hit("crm.stg_orders", "amount"), Hit("mesh.customer_360", "total")),
)  # fmt: skip
UNIT = Change("M1", "amount", "USD became cents", "every figure changes", Verdict.FORBIDDEN)
FILTER = Change(
    "D2", "", "rows with status = 'x' are left out", "totals change", Verdict.BREAKING,
    (Hit("crm.stg_orders", "*"),), is_silent=True,
)  # fmt: skip
ADDED = Change("S3", "note", "note is new", "nobody", Verdict.MINOR)
BASE = {"product": "sales.orders", "version": 1, "latest_version": 1, "description": "Orders."}
BEFORE = Contract(BASE)
AFTER = Contract({**BASE, "description": "Other."})
STEP = Step.of(BEFORE, AFTER, publication=41)
WAIVER = Waiver(
    "sales.orders", "why", "Ann <ann@example.com>", TODAY, FILE, 3, "S1:amount",
    consent=("crm", "mesh"),
)  # fmt: skip


def confirmation(step: Step = STEP, change: Change = FILTER) -> Confirmation:
    return Confirmation(
        "sales.orders", change.key, "why", "Ann", fingerprint(change, step), FILE, 9
    )


def after(*changes: Change, entries=(), step: Step = STEP, today: date = TODAY, history=()):
    waivers = tuple(each for each in entries if isinstance(each, Waiver))
    confirmations = tuple(each for each in entries if isinstance(each, Confirmation))
    declared = Waivers(FILE, waivers, confirmations)
    return verdict_after(changes, declared, today, step, used_waivers(history))


def test_without_waivers_breaking_and_forbidden_changes_are_refused():
    found = after(DROPPED, UNIT, FILTER, ADDED)
    assert [each.change for each in found.refused] == [DROPPED, UNIT, FILTER]
    assert not any(each.because for each in found.refused)
    assert not found.waived


def test_a_waiver_with_consent_of_every_hit_domain_allows_the_change_and_keeps_its_bump():
    refused, waived, expired, unused = after(DROPPED, entries=[WAIVER])
    assert (refused, expired, unused) == ((), (), ())
    assert waived == ((DROPPED, WAIVER),)
    assert smallest_bump(each.change for each in waived) is Bump.MAJOR


def test_one_missing_consent_refuses_and_is_named():
    [refusal] = after(DROPPED, entries=[replace(WAIVER, consent=("crm",))]).refused
    assert refusal.because == "The waiver in waivers.yml:3 lacks the consent of mesh."


def test_a_reader_with_unknown_lineage_must_consent_too():
    unknown = replace(DROPPED, hits=(Hit("hr.model", "?"),))
    assert "hr" in after(unknown, entries=[WAIVER]).refused[0].because


def test_the_last_day_counts_and_the_day_after_does_not():
    assert not after(DROPPED, entries=[WAIVER]).refused
    late = after(DROPPED, entries=[WAIVER], today=TODAY + timedelta(days=1))
    assert late.expired == (WAIVER,)
    assert late.refused[0].because == "The waiver in waivers.yml:3 ended on 2026-11-30."
    assert not late.unused


def test_a_forbidden_change_needs_no_consent_where_it_hits_nobody():
    waiver = replace(WAIVER, change="M1:amount", consent=())
    assert not after(UNIT, entries=[waiver]).refused


def test_a_waiver_for_another_column_product_or_version_allows_nothing():
    others = [
        replace(WAIVER, change="S1:order_id"),
        replace(WAIVER, product="sales.order_lines"),
        replace(WAIVER, product="sales.orders.v2"),
    ]
    found = after(DROPPED, entries=others)
    assert [each.change for each in found.refused] == [DROPPED]
    assert found.unused == (others[0],)  # the others are about other products


@pytest.mark.parametrize("name", ["sales.orders.v1", "sales.orders_v1", "sales.orders"])
def test_one_version_has_three_names(name):
    assert not after(DROPPED, entries=[replace(WAIVER, product=name)]).refused


def test_the_name_without_a_number_is_the_latest_version_only():
    step = Step.of(BEFORE, Contract({**BASE, "latest_version": 2}))
    assert after(DROPPED, entries=[WAIVER], step=step).refused
    assert not after(
        DROPPED, entries=[replace(WAIVER, product="sales.orders.v1")], step=step
    ).refused


def test_a_waiver_covers_one_publication():
    published = {"kind": "publish", "number": 7, "publication_id": "p"}
    entry = {"change": "S1:amount", "allowed_by": record_of(WAIVER)}
    history = [{**published, "changes": [entry]}]
    [refusal] = after(DROPPED, entries=[WAIVER], history=history).refused
    assert "was used by publication 7" in refusal.because
    other = replace(WAIVER, why="The column came back by mistake.")
    assert not after(DROPPED, entries=[WAIVER, other], history=history).refused
    undone = {**published, "kind": "rollback", "number": 8}
    assert not after(DROPPED, entries=[WAIVER], history=[*history, undone]).refused


def test_a_waiver_that_matches_no_change_is_unused():
    assert after(ADDED, entries=[WAIVER]).unused == (WAIVER,)


def test_a_waiver_of_a_policy_is_not_about_changes():
    policy = replace(WAIVER, change="", policy="units")
    found = after(DROPPED, entries=[policy])
    assert found.unused == ()
    assert found.refused


# Confirmations


def test_a_silent_change_is_confirmed():
    by = confirmation()
    assert after(FILTER, entries=[by]).waived == ((FILTER, by),)


def test_a_confirmation_does_not_count_for_a_change_of_the_schema():
    by = Confirmation("sales.orders", "S1:amount", "w", "o", fingerprint(DROPPED, STEP), FILE, 9)
    assert "needs a new version" in after(DROPPED, entries=[by]).refused[0].because


@pytest.mark.parametrize(
    "later",
    {
        "another edit of the candidate": replace(STEP, candidate="other"),
        "a change after this one was published": replace(STEP, published=STEP.candidate,
                                                         candidate="other"),
        "another version": replace(STEP, version=2, names=STEP.names),
    }.items(),
    ids=lambda each: each[0],
)  # fmt: skip
def test_a_confirmation_covers_no_later_change(later):
    [refusal] = after(FILTER, entries=[confirmation()], step=later[1]).refused
    assert "is for another change" in refusal.because


def test_new_rows_do_not_outdate_the_confirmation_of_a_changed_model():
    refreshed = replace(STEP, publication=42)
    assert not after(FILTER, entries=[confirmation()], step=refreshed).refused


def test_where_only_rows_changed_a_confirmation_ends_with_the_next_publication():
    rows = Step.of(BEFORE, BEFORE, publication=41)
    by = confirmation(rows)
    assert not after(FILTER, entries=[by], step=rows).refused
    assert after(FILTER, entries=[by], step=replace(rows, publication=42)).refused


def test_a_waiver_does_not_stand_for_a_confirmation():
    """A waiver has no fingerprint: that of lost rows would switch their audit off."""
    waiver = replace(WAIVER, change="D2", consent=("crm",))
    [refusal] = after(FILTER, entries=[waiver]).refused
    assert "needs a confirmation" in refusal.because


# The federation's notice


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("rules:\n  deprecation_notice: {severity: error, days: 60}\n", 60),
        ("rules:\n  deprecation_notice: {severity: off, days: 60}\n", 60),
        ("rules:\n  deprecation_notice: error\n", 30),
        ("rules:\n  deprecation_notice: {severity: error, days: soon}\n", 30),
        ("rules: [\n", 30),
        (None, 30),
    ],
)
def test_the_minimum_notice_is_a_parameter_of_a_policy(mesh, text, days):
    if text is not None:
        mesh.write("policies.yml", text)
    assert notice_days(mesh.repository) == days
