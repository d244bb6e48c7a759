"""Nested types have one spelling in declarations, and mistakes are named."""

from __future__ import annotations

import pytest

from meshhouse.repository.types import parse_type, spelled

RIGHT = {
    "struct<id bigint, tags array<varchar>>": "struct<id bigint, tags array<string>>",
    "STRUCT<id: BIGINT,`order`:int>": "struct<id bigint, order integer>",
    "map<string, struct<`zip code` timestamp with time zone not null>>": (
        "map<string, struct<`zip code` timestamptz not null>>"
    ),
    "array < decimal( 12 , 2 ) >": "array<decimal(12,2)>",
}


@pytest.mark.parametrize("text", RIGHT)
def test_a_declared_type_has_a_canonical_text_that_means_the_same(text):
    assert str(parse_type(text)) == RIGHT[text]
    assert parse_type(RIGHT[text]) == parse_type(text)
    assert spelled(text) is None


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('STRUCT(id BIGINT, "order" VARCHAR[])', "struct<id bigint, order array<string>>"),
        ("MAP(VARCHAR, INTEGER)", "map<string, integer>"),
        ("varchar[]", "array<string>"),
        ('struct<"a b" bigint>', "struct<`a b` bigint>"),
    ],
)
def test_the_spelling_of_one_engine_is_read_and_its_canonical_text_is_said(text, canonical):
    assert str(parse_type(text)) == canonical
    assert spelled(text) == canonical


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("array", "Say what it holds"),
        ("struct", "Name its fields"),
        ("struct<id>", "has a name and a type"),
        ("struct<id bigint", "is not closed"),
        ("struct<id bigint, ID string>", "It has the field `id` twice"),
        ("struct<1a bigint>", "in backticks"),
        ("struct<`a<b` bigint>", "signs of types are in it"),
        ("struct<`a'b` bigint>", "must not contain `'`"),
        ("array<float>", "`float` in it: It has 32 bits"),
        ("array<varchar(3)>", "Lengths are not kept"),
        ("map<date, string>", "The keys of a map are string, bigint, integer"),
        ("map<string>", "A map has 2 types"),
        ("array<" * 21 + "date" + ">" * 21, "more than 20 levels"),
        ("array<" * 5000, "nested too deeply"),
    ],
)
def test_a_type_that_cannot_be_used_is_refused_with_what_is_wrong(text, problem):
    with pytest.raises(ValueError, match=r"is not a known type|levels") as refused:
        parse_type(text)
    assert problem in str(refused.value)
