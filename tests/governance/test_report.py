"""How a judgement reads where shells, Markdown and SARIF would give its text another meaning."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from meshhouse.governance.change import Change, Hit, Verdict
from meshhouse.governance.contract import Contract
from meshhouse.governance.report import Judged, as_lines, as_markdown, as_sarif
from meshhouse.governance.waivers import AfterWaivers, Refusal, Step

HOSTILE = "amount__invalid__a `b` $(c); 'd' | *e* [f](http://g.example) <h> @i"
CHANGE = Change(
    row="Q1",
    subject=HOSTILE,
    what=f"Check {HOSTILE} is removed.",
    effect="Rows that it stopped are published.",
    verdict=Verdict.BREAKING,
    hits=(Hit("crm.customers", "spent", "team [x](http://y.example)"),),
)


def judged(*changes: Change, refused: tuple[Change, ...]) -> Judged:
    before = Contract({"product": "shop.orders", "relation": "shop.orders", "version": 1})
    outcome = AfterWaivers(tuple(Refusal(each, "") for each in refused), (), (), ())
    step = Step.of(before, before, 1)
    return Judged("shop.orders", before, before, step, changes, outcome, "do mains/ö.yml", 3)


@pytest.mark.parametrize("subject", [HOSTILE, "order_id, line_id"])
@pytest.mark.parametrize("is_silent", [False, True])
def test_a_shell_reads_the_key_of_a_change_as_one_word(subject, is_silent):
    change = replace(CHANGE, subject=subject, is_silent=is_silent)
    for way in judged(change, refused=(change,)).ways_out(change):
        words = shlex.split(way)
        assert "new" in words or words[3] == change.key


def test_markdown_shows_text_and_commands_as_they_are():
    found = judged(CHANGE, refused=(CHANGE,))
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").parse(as_markdown([found]))
    inline = [each for token in rendered for each in token.children or ()]
    codes = [each.content for each in inline if each.type == "code_inline"]
    for way in found.ways_out(CHANGE):
        assert way in codes
    assert "crm.customers.spent" in codes
    kinds = {each.type for each in inline}
    assert kinds == {"text", "code_inline", "strong_open", "strong_close", "html_inline"}
    assert {each.content for each in inline if each.type == "html_inline"} == {"<br>"}
    texts = "".join(each.content for each in inline if each.type == "text")
    assert CHANGE.what in texts


def test_sarif_makes_no_links_of_declared_text_and_has_an_address_of_the_file():
    [result] = as_sarif([judged(CHANGE, refused=(CHANGE,))])["runs"][0]["results"]
    assert not re.search(r"(?<!\\)[\[\]]", result["message"]["text"])
    place = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert place == "do%20mains/%C3%B6.yml"


def test_a_harmless_change_beside_a_refused_one_of_the_same_key_is_not_shown_as_refused():
    other = replace(CHANGE, what="Check is written otherwise.", verdict=Verdict.HARMLESS, hits=())
    found = judged(CHANGE, other, refused=(CHANGE,))
    assert [each["refused"] for each in found.as_json()["changes"]] == [True, False]
    assert json.dumps(found.as_json()).count("mesh waive") == 1
    assert "\n".join(as_lines(found)).count("mesh waive") == 1
    assert as_markdown([found]).count("mesh waive") == 1
