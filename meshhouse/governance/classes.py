"""Names and values that look personal.

Belongs here: what names and texts betray. Not here: declared classes (repository/classes.py), or
what a change of a class means (rules/privacy.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

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
