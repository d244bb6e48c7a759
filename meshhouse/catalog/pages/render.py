"""HTML from a template: one environment for all pages.

Belongs here: escaping, cleaning of text, what every template may call. Not here: what a page says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, Environment, FileSystemLoader, StrictUndefined

from meshhouse.catalog import paths
from meshhouse.catalog.pages import drawings, words
from meshhouse.repository.environment import current_environment

_INDENTED = re.compile(r"\n\s+")
FOLDER = Path(__file__).parent / "templates"
NAVIGATION = (
    ("Home", paths.INDEX),
    ("Lineage", paths.LINEAGE),
    ("Operations", paths.OPERATIONS),
    ("Policies", paths.POLICIES),
    ("Ledger", paths.LEDGER),
    ("Glossary", paths.GLOSSARY),
)


@cache
def environment() -> Environment:
    """The environment of all pages."""
    made = _environment(autoescape=True, finalize=words.clean, loader=_Unindented(FOLDER))
    made.filters.update(
        count=words.count,
        number=words.number,
        share=words.share,
        score=words.score,
        size=words.size,
        seconds=words.seconds,
        plural=words.plural,
        short=words.short,
        ticked=words.ticked,
        whole=words.whole,
    )
    made.globals.update(paths=paths, words=words, drawings=drawings, navigation=NAVIGATION)
    return made


def html(template: str, page: str, **facts: Any) -> str:
    """A page as HTML.

    Args:
        template: a file of templates/.
        page: path of the page in the site.
        facts: what the template uses.
    """
    found = environment().get_template(template)
    name = current_environment()
    return found.render(page=page, href=partial(_href, page), mesh_environment=name, **facts)


def text(template: str, **facts: Any) -> str:
    """Plain text from a template: nothing is escaped, so a page escapes it as a whole."""
    name = current_environment()
    return _plain().get_template(template).render(mesh_environment=name, **facts)


@cache
def _plain() -> Environment:
    return _environment(autoescape=False, loader=FileSystemLoader(FOLDER))


class _Unindented(FileSystemLoader):
    """Reads templates without the indentation of their lines, a tenth of what pages would weigh.

    HTML reads a line break and the spaces after it as one space. Values, such as SQL, keep their
    spaces.
    """

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        source, file, is_current = super().get_source(environment, template)
        return _INDENTED.sub("\n", source), file, is_current


def _environment(loader: BaseLoader, **options: Any) -> Environment:
    return Environment(  # noqa: S701 - pages switch escaping on, plain text must not be escaped
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        **options,
    )


def _href(page: str, target: str) -> str:
    return paths.relative(target, page)
