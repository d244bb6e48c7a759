"""Classifications of columns, and values that look personal.

Belongs here: the order of classes, and what names and texts betray. Not here: what a change of a
class means (rules/privacy.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

CLASSES = ("public", "internal", "confidential", "restricted", "personal", "sensitive")
"""From the least protected to the most."""
_PERSONAL = CLASSES.index("personal")
_NAMES = re.compile(
    r"(^|_)(e_?mail|phone|mobile|fax|ssn|social_security|passport|iban|tax_id|birth|born|dob"
    r"|birthday|birthdate|first_?name|last_?name|given_name|family_name|full_?name|surname"
    r"|maiden_name|street|postal_address|home_address|ip_address|ip|credit_card|card_number"
    r"|driver_licen[cs]e|national_id|gender|religion|ethnicity)"
    r"(_(address|number|no|nr|date|day|of_birth|raw|text))?$",
    re.IGNORECASE,
)
_MAIL = re.compile(r"\b[\w.+-]+@(?:[\w-]+\.)+[a-z]{2,}\b", re.IGNORECASE)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")
_PHONE = re.compile(
    r"(?<![\w.-])(?:\+|00)\d{1,3}[ ./-]?(?:\(?\d{2,4}\)?[ ./-]?){2,4}\d{2,}(?![\w-])"
)
_SSN = re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])")
_LOOKS = (_MAIL, _IBAN, _PHONE, _SSN)


def classes_of(column: Mapping[str, Any]) -> tuple[str, ...]:
    """The declared classes of a column, in lower case."""
    declared = column.get("classification") or ()
    declared = [declared] if isinstance(declared, str) else declared
    return tuple(str(each).lower() for each in declared)


def rank(column: Mapping[str, Any]) -> int | None:
    """How protected a column is; -1 without a class, None if the mesh does not know the class."""
    declared = classes_of(column)
    known = [CLASSES.index(each) for each in declared if each in CLASSES]
    if declared and not known:
        return None
    return max(known, default=-1)


def is_personal(column: Mapping[str, Any]) -> bool:
    """Whether a column's classification says that it is about people."""
    found = rank(column)
    return found is not None and found >= _PERSONAL


def looks_personal(name: str, column: Mapping[str, Any], values: Iterable[Any] = ()) -> bool:
    """Whether the name of a column, or one of its values, is like that of personal data."""
    # `email_count` and `is_mobile` are numbers and flags about people, not their data.
    is_text = str(column.get("type", "string")).lower().startswith(("string", "varchar", "date"))
    return (is_text and bool(_NAMES.search(name))) or any(personal_values(values))


def personal_values(texts: Iterable[Any], known: Iterable[str] = ()) -> Iterator[str]:
    """What looks like a mail address, telephone number, bank account or security number.

    Args:
        texts: where to look.
        known: values that may be named, such as the owner's address.
    """
    allowed = {each.lower() for each in known}
    for text in texts:
        for look in _LOOKS:
            for match in look.finditer(str(text)):
                if match.group().lower() not in allowed:
                    yield match.group()
