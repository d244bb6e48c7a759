"""Rules for names.

Belongs here: one rule for the names of domains, raw tables and products, one for topics, one
for columns, and the reserved schemas. Not here: reading declarations (read.py).

Names become schemas, tables, folders, files and Dagster's keys. A valid name needs no escaping
in any of them, and as a path it stays inside its folder.
"""

from __future__ import annotations

import re
import unicodedata

from meshhouse.repository.environment import collides

LONGEST = 63
"""Characters of a name. Suffixes (`_raw`, `__rejected`) and the environment's prefix add to it,
and Snowflake, Iceberg catalogs and file systems take at most 255."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MODEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOPIC = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z0-9-]{2,}")
_LONGEST_TOPIC = 249
"""Kafka's limit."""
_LONGEST_COLUMN = 255
_RESERVED = {
    "meshhouse", "information_schema", "main", "pg_catalog", "system", "temp", "default", "public",
    "domains", "target", "logs",
}  # fmt: skip
"""Schemas of the ledger and of engines, and folders of the repository."""
_SUFFIXES = ("_raw", "_build", "_published", "_shared", "_landing", "_retired")
"""Suffixes that the mesh adds to a domain's name for its schemas and Dagster steps."""

NAME_RULE = (
    f"Use lower-case letters (a-z), digits and underscores, a letter first, at most {LONGEST} "
    "characters."
)


def bad_name(what: str, name: str) -> str | None:
    """Why a domain, raw table or product cannot have this name; None if it can.

    Args:
        what: the kind of thing, for the message.
        name: as declared.
    """
    if _NAME.fullmatch(name) and len(name) <= LONGEST:
        return None
    return f"`{shortened(name)}` cannot name a {what}. {NAME_RULE}"


def bad_domain(name: str) -> str | None:
    """Why a domain cannot have this name; None if it can."""
    if collides(name):
        return (
            f"`{shortened(name)}` cannot name a domain: two underscores separate an environment "
            "from a domain. Rename the domain and its folder."
        )
    if problem := bad_name("domain", name):
        return problem
    if name in _RESERVED:
        return (
            f"`{name}` cannot name a domain: it is reserved for another schema or folder. "
            "Rename the domain and its folder."
        )
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return (
                f"`{name}` cannot name a domain: the mesh adds `{suffix}` to the name of a domain "
                f"(`{name.removesuffix(suffix)}`). Rename the domain and its folder."
            )
    return None


def bad_model(name: str) -> str | None:
    """Why a private dbt model cannot have this name; None if it can."""
    if _MODEL.fullmatch(name) and len(name) <= LONGEST:
        return None
    return (
        f"`{shortened(name)}` cannot name a model. Use letters (a-z), digits and underscores, not "
        f"beginning with a digit, at most {LONGEST} characters."
    )


def bad_topic(name: str) -> str | None:
    """Why a topic cannot have this name; None if it can. The rule is Kafka's."""
    if _TOPIC.fullmatch(name) and len(name) <= _LONGEST_TOPIC:
        return None
    return (
        f"`{shortened(name)}` cannot be the name of a topic. Use up to {_LONGEST_TOPIC} letters, "
        "digits, dots, underscores and hyphens, not beginning with a dot."
    )


def bad_column(name: str) -> str | None:
    """Why a column cannot have this name; None if it can.

    The producer of an event chose the names of its fields, so columns allow more characters.
    """
    if not name.strip() or name != name.strip() or len(name) > _LONGEST_COLUMN:
        return (
            f"`{shortened(name)}` cannot name a column: use 1 to {_LONGEST_COLUMN} characters, "
            "without spaces around them."
        )
    for character in name:
        if not character.isprintable() or character in "\"'`\\{};":
            shown = character.encode("unicode_escape").decode()
            return f"`{shortened(name)}` cannot name a column: it must not contain `{shown}`."
    return _mixed_scripts(name)


_GREEK_LOOK_ALIKES = frozenset("αγικνορτυχϲϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹϺͿ")
"""Without sigma, mu and Delta: these name measures and do not look like Latin letters."""


def _mixed_scripts(name: str) -> str | None:
    """Why the letters of a name are ambiguous; None if they are not.

    A Cyrillic or Greek letter may look like a Latin one, so that two names look the same.
    Japanese, Korean and most other letters do not look like Latin ones.
    """
    letters = [character for character in name if character.isalpha()]
    if not any(_script(each) == "LATIN" for each in letters):
        return None
    for odd in letters:
        if _script(odd) == "CYRILLIC" or odd in _GREEK_LOOK_ALIKES:
            return (
                f"`{shortened(name)}` cannot name a column: `{odd}` (U+{ord(odd):04X}) looks like "
                "another letter. Write the name in one alphabet."
            )
    return None


def _script(character: str) -> str:
    return unicodedata.name(character, "?").partition(" ")[0]


def shortened(name: str) -> str:
    """A name for a message: its first 60 characters."""
    return name if len(name) <= 60 else f"{name[:60]}..."
