"""Lines become rows by the named groups of a pattern, or rejected events that quote them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshhouse.landing.decode import Decoder
from meshhouse.landing.formats import BadDeclaration
from meshhouse.landing.formats.text import group_names
from tests.support.registries import decoded, reason, row, topic

SOME = settings(max_examples=50, deadline=None)


def lines(pattern: str | None, columns: dict[str, str] | None = None, **settings) -> Decoder:
    return Decoder(topic(columns or {"a": "string"}, "text", pattern=pattern, **settings))


COMBINED = {
    "remote_host": "string!", "identity": "string", "remote_user": "string", "time": "string",
    "request": "string", "status": "integer", "bytes": "bigint", "referer": "string",
    "user_agent": "string",
}  # fmt: skip
LINE = (
    rb'192.0.2.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a?q=\"x\" HTTP/1.0" 200 2326 '
    b'"http://example.com/start" "Mozilla/4.08 [en] (Win98; I)"'
)


def test_an_access_log_in_the_combined_format():
    assert row(lines("combined_log", COMBINED), LINE) == {
        "remote_host": "192.0.2.1",
        "identity": None,
        "remote_user": "frank",
        "time": "10/Oct/2000:13:55:36 -0700",
        "request": r"GET /a?q=\"x\" HTTP/1.0",
        "status": 200,
        "bytes": 2326,
        "referer": "http://example.com/start",
        "user_agent": "Mozilla/4.08 [en] (Win98; I)",
    }


def test_an_access_log_in_the_common_format_in_which_a_dash_is_null():
    common = {name: COMBINED[name] for name in COMBINED if name not in ("referer", "user_agent")}
    value = b'::1 - - [10/Oct/2000:13:55:36 -0700] "-" 408 -\r\n'
    assert row(lines("common_log", common), value) == {
        "remote_host": "::1", "identity": None, "remote_user": None,
        "time": "10/Oct/2000:13:55:36 -0700", "request": "-", "status": 408, "bytes": None,
    }  # fmt: skip


def test_a_line_that_does_not_match_is_rejected_with_its_beginning():
    by = lines("combined_log", COMBINED)
    assert reason(by, b"hello") == "does not match the pattern combined_log: `hello`"
    assert reason(lines(r"(?P<a>\d+)"), b"x") == "does not match the pattern of its topic: `x`"
    assert len(reason(by, b"x" * 10_000)) < 200


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (r"(?P<a>\d+)", b"12x"),
        (r"(?P<a>a|ab)", b"ba"),
        ("(?P<a>.)", b"a\nb"),
        ("(?P<a>b)|c", b"cc"),
    ],
)
def test_a_pattern_matches_the_whole_line_or_not_at_all(pattern, value):
    assert reason(lines(pattern), value).startswith("does not match")


def test_a_pattern_takes_the_longest_way_that_a_whole_line_needs():
    assert row(lines("(?P<a>a|ab)"), b"ab") == {"a": "ab"}


def test_typing_rescue_and_required_fields_are_those_of_json():
    by = lines(r"(?P<a>\w*) (?P<b>\w*)", {"a": "bigint!"})
    assert row(by, b"1 x") == {"a": 1, "_rescued": '{"b":"x"}'}
    assert reason(by, b"x y") == "field `a`: `x` is not a valid bigint"
    assert reason(by, b" y") == "misses the required field `a`"


def test_a_group_that_matches_nothing_is_null():
    assert row(lines("(?P<a>x)?y"), b"y") == {"a": None}


def test_unnamed_groups_and_literal_parentheses_do_not_shift_the_others():
    pattern = r"\((x)[(\]](?:y)[^]()[:alpha:]]\Q((\E(?P<a>.)(?i)(z)(?P<A>(?P<b>b)c)\\(?P<c>d)"
    assert group_names(pattern) == [None, "a", None, "A", "b", "c"]
    by = lines(pattern, {"a": "string", "c": "string"})
    found = row(by, rb"(x(y1((1ZBC\d")
    assert found == {"a": "1", "c": "d", "_rescued": '{"A":"BC","b":"B"}'}


def test_a_field_may_have_the_name_of_one_of_landings_columns():
    names = ["text", "value", "reason", "doc", "line"]
    by = lines(" ".join(rf"(?P<{name}>\w)" for name in names), dict.fromkeys(names, "string"))
    assert row(by, b"a b c d e") == dict(zip(names, "abcde", strict=True))


def test_invalid_utf_8_and_a_tombstone_are_rejected():
    assert reason(lines("(?P<a>.*)"), b"\xff") == "is not valid UTF-8"
    assert reason(lines("(?P<a>.*)"), None).startswith("has no value")
    done = decoded(lines("(?P<a>.*)", changelog=True), None, b"\xff", b"x")
    assert done.rows["_tombstone"].to_pylist() == [True, False]
    assert done.rejected["_offset"].to_pylist() == [101]


@SOME
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))))
def test_any_line_arrives_unchanged(texts):
    done = decoded(WHOLE, *(text.encode() for text in texts))
    assert done.rows["a"].to_pylist() == [text or None for text in texts]


WHOLE = lines("(?P<a>.*)")


@SOME
@given(st.lists(st.none() | st.binary() | st.from_regex(r"\A\w+ \w+\Z").map(str.encode)))
def test_for_any_bytes_each_event_becomes_one_row_or_one_rejected_event(events):
    done = decoded(TWO_WORDS, *events)
    offsets = done.rows["_offset"].to_pylist() + done.rejected["_offset"].to_pylist()
    assert sorted(offsets) == list(range(100, 100 + len(events)))
    for rejected in done.rejected.to_pylist():
        assert rejected["value"] == events[rejected["_offset"] - 100]
        assert rejected["reason"]


TWO_WORDS = lines(r"(?P<a>\w+) (?P<b>\w+)", {"a": "string", "b": "bigint"})


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        (None, "has the format text, but no pattern"),
        ("(?P<a>x", r"does not compile: missing \)"),
        ("(?=a)(?P<a>x)", "does not compile: invalid perl operator"),
        ("a)(?P<a>b", "does not compile: unexpected"),
        ("(a)", "without a named group"),
        (r"\(?P<a>", "without a named group"),
        ("(?P<a>x)(?P<a>y)", "names `a` twice"),
    ],
)
def test_a_pattern_that_cannot_be_used_stops_the_landing_before_it_begins(pattern, problem):
    with pytest.raises(BadDeclaration, match=problem):
        lines(pattern)


def test_a_quote_in_a_pattern_is_a_quote():
    assert row(lines("'(?P<a>[^']*)'"), b"'x'") == {"a": "x"}
