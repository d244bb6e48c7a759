"""`mesh waive`, `mesh confirm`, and what `mesh check` and runs do with `waivers.yml`."""

from __future__ import annotations

import pytest

from meshhouse.lint import check
from meshhouse.repository.waivers import read_waivers
from tests.conftest import Mesh

FILE = "domains/shop/waivers.yml"
WAIVE = ["waive", "shop.orders", "S1:amount", "--because", "It was: empty", "--owner",
         "Ann <ann@example.com>", "--until", "2999-01-31", "--consent", "crm"]  # fmt: skip
CONFIRM = ["confirm", "shop.orders", "D2", "--because", "meant", "--fingerprint", "c0123456789ab"]
ENTRY = """\
  - change: S1:amount
    product: shop.orders
    why: empty
    owner: Ann
    until: 2999-01-31
"""


def findings(mesh: Mesh) -> list[tuple[int, str]]:
    return [
        (each.line, f"{each.problem} {each.remedy}")
        for each in check(mesh.repository)
        if each.path.name == "waivers.yml"
    ]


def test_a_waiver_is_written_and_says_what_to_do_next(mesh):
    done = mesh.run(*WAIVE)
    assert f"Wrote {FILE}:3." in done.stderr
    assert "mesh run shop" in done.stderr
    [waiver] = read_waivers(mesh.root / "domains/shop").waivers
    assert (waiver.change, waiver.product, waiver.why) == ("S1:amount", "shop.orders",
                                                           "It was: empty")  # fmt: skip
    assert (str(waiver.until), waiver.consent) == ("2999-01-31", ("crm",))
    assert not check(mesh.repository)


def test_entries_are_added_at_their_place_and_everything_else_stays(mesh):
    before = "# all\nwaivers: # agreed\n# one\n- change: S2:x\n  product: shop.orders\n  why: |\n    a\n\n    b\n  owner: o\n  until: 2999-01-01 # soon\n\n# silent ones\nconfirmations: []\n# end\n"  # noqa: E501
    mesh.write(FILE, before)
    mesh.run(*WAIVE)
    mesh.run(*CONFIRM)
    text = (mesh.root / FILE).read_text()
    kept = iter(text.splitlines())
    assert all(line in kept for line in before.replace(" []", "").splitlines()), text
    found = read_waivers(mesh.root / "domains/shop")
    assert [each.change for each in found.waivers] == ["S2:x", "S1:amount"]
    [confirmation] = found.confirmations
    assert confirmation.fingerprint == "c0123456789ab"
    assert "@" in confirmation.owner  # the product's


def test_a_root_domain_has_its_file_beside_its_project(mesh):
    mesh.run("waive", "mesh.customer_value", *WAIVE[2:])
    assert read_waivers(mesh.root).waivers


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["waive", "shop.ordrs", *WAIVE[2:]], "Did you mean shop.orders?"),
        (["waive", "shop", *WAIVE[2:]], "is a domain, not a product"),
        (["waive", "nothing.orders", *WAIVE[2:]], "There is no domain"),
        (["waive", "shop.orders", "amount", *WAIVE[3:]], "does not name a change"),
        ([*WAIVE[:-3], "soon"], "is not a date"),
        ([*WAIVE[:-3], "2017-01-01"], "is in the past"),
        ([*WAIVE[:-1], "shop"], "names the provider itself"),
        ([*WAIVE[:-1], "nobody"], "There is no domain `nobody`"),
        ([*WAIVE[:4], " ", *WAIVE[5:]], "`why` is empty"),
        (CONFIRM[:-2], "Give --fingerprint"),
        ([*CONFIRM[:-1], "12"], "is not a fingerprint"),
    ],
)
def test_misuse_writes_nothing(mesh, arguments, said):
    done = mesh.run(*arguments, code=2)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (mesh.root / FILE).exists()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    {
        "not YAML": ("waivers: [\n", 1, "not valid YAML"),
        "not a list": ("waivers:\n  change: S1\n", 1, "must be a list"),
        "unknown key": (f"waivers:\n{ENTRY}    untill: x\n", 7, "Did you mean `until`?"),
        "unknown section": ("waiver: []\n", 1, "Did you mean `waivers`?"),
        "no reason": ("waivers:\n" + ENTRY.replace("why: empty", "why:"), 2, "has no `why`"),
        "bad date": ("waivers:\n" + ENTRY.replace("2999-01-31", "31.1.2999"), 6, "not a date"),
        "no such day": ("waivers:\n" + ENTRY.replace("2999-01-31", "2999-02-31"), 6,
                        "cannot be read"),
        "a number": ("waivers:\n" + ENTRY.replace("2999-01-31", "29990131"), 6, "not a date"),
        "neither": ("waivers:\n" + ENTRY.replace("change: S1:amount", "why: x").replace(
            "    why: empty\n", ""), 2, "either a `change` or a `policy`"),
        "twice": (f"waivers:\n{ENTRY}{ENTRY}", 7, "already in line 2"),
        "ended": ("waivers:\n" + ENTRY.replace("2999", "2017"), 2, "ended on 2017-01-31"),
        "another domain's": ("waivers:\n" + ENTRY.replace("shop.", "crm."), 2,
                             "Move it to domains/crm/waivers.yml"),
        "misspelt product": ("waivers:\n" + ENTRY.replace("orders", "ordrs"), 2,
                             "Did you mean shop.orders?"),
        "consent of a stranger": (f"waivers:\n{ENTRY}    consent: [nobody]\n", 2,
                                  "`nobody` cannot consent"),
        "no fingerprint": ("confirmations:\n  - {change: D2, product: shop.orders, why: w, "
                           "owner: o}\n", 2, "has no `fingerprint`"),
    }.values(),
)  # fmt: skip
def test_bad_entries_are_findings_with_their_line(mesh, text, line, said):
    mesh.write(FILE, text)
    found = findings(mesh)
    assert [at for at, _ in found] == [line], found
    assert said in found[0][1]


def test_a_bad_file_is_not_overwritten(mesh):
    mesh.write(FILE, "waivers: [\n")
    done = mesh.run(*WAIVE, code=2)
    assert f"{FILE}:1: this is not valid YAML" in done.stderr
    assert (mesh.root / FILE).read_text() == "waivers: [\n"


def test_an_unusual_list_is_refused_and_kept(mesh):
    text = "waivers: [{change: S2, product: shop.orders, why: w, owner: o, until: 2999-01-01}]\n"
    mesh.write(FILE, text)
    assert "unusual form" in mesh.run(*WAIVE, code=2).stderr
    assert (mesh.root / FILE).read_text() == text


def test_a_bad_file_stops_its_domain_and_no_other(mesh):
    mesh.sell(1)
    mesh.run("run", "shop")
    mesh.write("domains/crm/waivers.yml", "waivers: [\n")
    mesh.sell(2)
    mesh.run("run", "shop")
    mesh.run("status")
    assert "domains/crm/waivers.yml:1" in mesh.run("run", "crm", code=1).stderr
