"""`mesh check` finds models that every run must build, unless they set `every_run`."""

from __future__ import annotations

import pytest

from meshhouse.lint import check
from tests.conftest import Mesh

TOTALS = "domains/shop/models/products/totals.sql"
STAGING = "domains/shop/models/staging/stg_sales.sql"
SELECT = "select\n    1 as orders,\n    {expression} as amount\nfrom {{{{ ref('orders') }}}}\n"
MACROS = """\
{% macro duckdb__age_of(moment) %}{{ since(moment) }}{% endmacro %}
{# now() is not read here #}
{%- macro since(moment) -%}
    (current_timestamp - {{ moment }})
{%- endmacro -%}
{% macro plain() %}1 -- now(){% endmacro %}
"""


def found(mesh: Mesh) -> list[tuple[str, int, str]]:
    return [
        (str(each.path.relative_to(mesh.root)), each.line, f"{each.problem} {each.remedy}")
        for each in check(mesh.repository)
        if "every run" in each.problem
    ]


@pytest.mark.parametrize(
    ("expression", "problem", "remedy"),
    [
        ("now()", "`now()` reads the clock", "Compare with a time in the data"),
        ("{{ dbt.current_timestamp() }}", "`current_timestamp` reads the clock", "every_run: true"),
        ("'{{ run_started_at }}'", "`run_started_at` reads the clock", "newest event"),
        (
            "{{ age_of('x') }}",
            "the macro `age_of` reads the clock (`current_timestamp`)",
            "Compare",
        ),
        ("random()", "`random()` reads a random number", "a hash of a key"),
        ("current_user", "`current_user` reads the session", "a variable of dbt_project.yml"),
        ("(select 1 from 'x.csv')", "`from 'x.csv'` reads a file", "Load it as a seed"),
        ('(select 1 from "/x.csv")', '`from "/x.csv"` reads a file', "Load it as a seed"),
        (
            "(select 1 from other_function(2))",
            "`other_function()` reads what the mesh cannot see",
            "a function without side inputs",
        ),
        (
            "(select 1 from crm.customers)",
            "`crm.customers` reads a table by its name",
            "with ref()",
        ),
    ],
)
def test_a_hidden_input_is_found_at_its_line(mesh, expression, problem, remedy):
    mesh.write("macros/age_of.sql", MACROS)
    mesh.write(TOTALS, SELECT.format(expression=expression))
    [(path, line, text)] = found(mesh)
    assert (path, line) == (TOTALS, 3)
    assert problem in text
    assert remedy in text


@pytest.mark.parametrize("expression", ["today", "'now()'", "1 -- now()", "{{ plain() }}"])
def test_a_column_a_string_and_a_comment_are_not(mesh, expression):
    mesh.write("macros/age_of.sql", MACROS)
    mesh.write(TOTALS, SELECT.format(expression=expression))
    assert found(mesh) == []


def test_a_hidden_input_is_found_in_a_private_model_unless_every_run_is_set(mesh):
    text = (mesh.root / STAGING).read_text()
    mesh.write(STAGING, text.replace("sold_at,", "now() as sold_at,", 1))
    [(path, line, _)] = found(mesh)
    assert (path, line) == (STAGING, 5)
    mesh.edit(
        STAGING.replace(".sql", ".yml"),
        "- name: stg_sales\n",
        "- name: stg_sales\n    config: {meta: {every_run: true}}\n",
    )
    assert check(mesh.repository) == []
