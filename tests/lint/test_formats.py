"""`mesh check` finds mistakes in the format of a topic's events."""

from __future__ import annotations

import pytest

from meshhouse.lint import check

TOPICS = "domains/shop/models/topics.yml"
LINE = 7
"""Of the only topic."""
COLUMNS = ["sale_id", "customer_id", "amount", "sold_at"]
PATTERN = " ".join(rf"(?P<{name}>\S+)" for name in COLUMNS)
SCHEMA = '{"type": "record", "name": "Sale", "fields": [{"name": "sale_id", "type": "long"}]}'


def declare(mesh, settings: str) -> None:
    path = mesh.root / TOPICS
    assert path.read_text().splitlines()[LINE - 1].strip() == "- name: sales"
    text = path.read_text()
    assert "format: json}" in text
    path.write_text(text.replace("format: json}", f"{settings}}}"))


@pytest.mark.parametrize(
    "settings",
    ["format: avro", "format: protobuf", "format: avro, schema: schemas/sale.avsc",
     f"format: text, pattern: '{PATTERN}'"],
)  # fmt: skip
def test_a_topic_of_another_format_has_no_findings(mesh, settings):
    mesh.write("domains/shop/schemas/sale.avsc", SCHEMA)
    declare(mesh, settings)
    assert check(mesh.repository) == []


@pytest.mark.parametrize(
    ("settings", "problem", "remedy"),
    [
        ("format: xml", "`xml` is not a known format of events", "Formats: json, avro, protobuf"),
        ("format: text", "shop_raw.sales has the format text, but no pattern", "common_log"),
        ("format: text, pattern: '(?P<a'", "a pattern that does not compile", "RE2's syntax"),
        ("format: text, pattern: '(a)'", "a pattern without a named group", "(?P<name>...)"),
        ("format: json, pattern: x", "`pattern` of shop_raw.sales means nothing with the format "
         "json", "declare `format: text`"),
        ("format: protobuf, schema: x", "`schema` of shop_raw.sales means nothing with the format "
         "protobuf", "declare `format: avro`"),
        ("format: avro, schema: schemas/gone.avsc", "schemas/gone.avsc of shop_raw.sales cannot be "
         "read: No such file", "Write the Avro schema of the events of shop.sales there."),
    ],
)  # fmt: skip
def test_a_wrong_format_is_found_at_its_topic(mesh, settings, problem, remedy):
    declare(mesh, settings)
    [finding] = check(mesh.repository)
    assert (finding.path, finding.line) == (mesh.root / TOPICS, LINE)
    assert problem in finding.problem
    assert remedy in finding.remedy


def test_groups_without_a_column_are_found(mesh):
    declare(mesh, f"format: text, pattern: '{PATTERN} (?P<more>.*)(x)'")
    [finding] = check(mesh.repository)
    assert (finding.path, finding.line) == (mesh.root / TOPICS, LINE)
    assert finding.problem == (
        "the pattern of shop_raw.sales names `more`, which is not one of its columns."
    )
    assert finding.remedy


@pytest.mark.parametrize(
    ("schema", "line", "problem"),
    [
        ('{\n"type":\nrecord}', 3, "this Avro schema is not valid JSON"),
        ('{"type": "recrod"}', 1, "this Avro schema cannot be used"),
        ('"string"', 1, "it does not describe a record"),
    ],
)
def test_an_invalid_avro_schema_is_found_in_its_file(mesh, schema, line, problem):
    mesh.write("domains/shop/schemas/sale.avsc", schema)
    declare(mesh, "format: avro, schema: schemas/sale.avsc")
    [finding] = check(mesh.repository)
    assert finding.path == mesh.root / "domains/shop/schemas/sale.avsc"
    assert finding.line == line
    assert problem in finding.problem
    assert "Write the Avro schema" in finding.remedy
