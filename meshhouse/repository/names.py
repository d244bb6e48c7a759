"""What things may be called.

Belongs here: one rule for the names of domains, raw tables and products, one for topics, one
for columns, and the schemas that nobody may claim. Not here: reading declarations (read.py).

Names become schemas, tables, folders, files and Dagster's keys. A name that passes here needs
no escaping in any of them, and cannot leave the folder that it is put in.
"""

from __future__ import annotations

import re
import unicodedata

from meshhouse.repository.environment import collides

LONGEST = 63
"""Characters of a name. `_raw`, `__rejected` and an environment are added to it, and
Snowflake, Iceberg catalogs and file systems take at most 255."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MODEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOPIC = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_LONGEST_TOPIC = 249
"""Kafka's limit."""
_LONGEST_COLUMN = 255
_RESERVED = {
    "meshhouse", "information_schema", "main", "pg_catalog", "system", "temp", "default", "public",
    "domains", "target", "logs",
}  # fmt: skip
"""Schemas of the ledger and of engines, and folders of the repository."""
_SUFFIXES = ("_raw", "_build", "_published", "_shared", "_landing")
"""What the mesh adds to a domain's name for its own schemas and Dagster steps."""

NAME_RULE = (
    f"Use lower-case letters (a-z), digits and underscores, a letter first, at most {LONGEST} "
    "characters."
)


def bad_name(what: str, name: str) -> str | None:
    """Why a domain, raw table or product cannot be called this; None if it can.

    Args:
        what: of which kind it is, for the message.
        name: as declared.
    """
    if _NAME.fullmatch(name) and len(name) <= LONGEST:
        return None
    return f"`{shortened(name)}` cannot name a {what}. {NAME_RULE}"


def bad_domain(name: str) -> str | None:
    """Why a domain cannot be called this; None if it can."""
    if collides(name):
        return (
            f"`{shortened(name)}` cannot name a domain: two underscores divide the name of an "
            "environment from that of a domain. Rename the domain and its folder."
        )
    if problem := bad_name("domain", name):
        return problem
    if name in _RESERVED:
        return (
            f"`{name}` cannot name a domain: it is the name of a schema or folder that is not a "
            "domain's. Rename the domain and its folder."
        )
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return (
                f"`{name}` cannot name a domain: `{suffix}` at the end is for what belongs to the "
                f"domain `{name.removesuffix(suffix)}`. Rename the domain and its folder."
            )
    return None


def bad_model(name: str) -> str | None:
    """Why a private dbt model cannot be called this; None if it can."""
    if _MODEL.fullmatch(name) and len(name) <= LONGEST:
        return None
    return (
        f"`{shortened(name)}` cannot name a model. Use letters (a-z), digits and underscores, no "
        f"digit first, at most {LONGEST} characters."
    )


def bad_topic(name: str) -> str | None:
    """Why a topic cannot be called this; None if it can. The rule is Kafka's."""
    if _TOPIC.fullmatch(name) and len(name) <= _LONGEST_TOPIC:
        return None
    return (
        f"`{shortened(name)}` cannot be the name of a topic. Use up to {_LONGEST_TOPIC} letters, "
        "digits, dots, underscores and hyphens, with no dot in front."
    )


def bad_column(name: str) -> str | None:
    """Why a column cannot be called this; None if it can.

    A raw column has the name of a field of an event, which others chose: more is allowed.
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
"""Not sigma, mu or Delta, which name measures and do not look like a Latin letter."""


def _mixed_scripts(name: str) -> str | None:
    """A Cyrillic letter among Latin ones looks like a Latin one, and is another name.

    Japanese, Korean and most other letters are not mistaken for Latin ones.
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
