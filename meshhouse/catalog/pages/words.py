"""Values as people read them: numbers, sizes, times, and text that cannot mislead.

Belongs here: pure functions that templates call. Not here: markup (templates/).
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from markupsafe import Markup, escape

from meshhouse.catalog.documents import ProductFacts

MOST = 20_000
"""Characters of one description on a page; the file for programs has all of it."""
_MOST_OF_A_NAME = 1_000
"""Characters of everything else."""
CUT = " … (shortened)"
_MISLEADING = re.compile(
    # Controls, marks that reorder text, invisible tags, halves of characters.
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    "\U000e0000-\U000e007f\ud800-\udfff\ufffe\uffff]"
)
_NOT_IN_ANCHORS = re.compile(r"\W+")
# Without `%`, `&`, `?` and `#`, with which a link could add headers and text to the mail.
_MAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!$'*+/=^_`{|}~-]*@[A-Za-z0-9][A-Za-z0-9.-]*")
_WEB = re.compile(r"https?://[A-Za-z0-9][^\s\"'<>\\]*")
_PARAGRAPHS = re.compile(r"\n\s*\n")
_DONE = {
    "publish": "published", "rollback": "rolled back", "retire": "retired",
    "unretire": "brought back", "rename": "renamed", "alias": "got one more name",
    "end": "lost an old name",
}  # fmt: skip
_SIZES = ("bytes", "KB", "MB", "GB", "TB", "PB")


def clean(value: Any) -> Any:
    """What a template prints: text without marks that reorder or hide it, and not endless."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return "" if value is None else value
    return plain(value if len(value) <= _MOST_OF_A_NAME else value[:_MOST_OF_A_NAME] + CUT)


def plain(text: str) -> str:
    """A text in which marks that reorder or hide text are replaced."""
    return _MISLEADING.sub("\ufffd", text) if _MISLEADING.search(text) else text


def whole(text: str) -> Markup:
    """A text that a reader copies, so that nothing of it is cut."""
    return escape(plain(text))


def anchor(column: str) -> str:
    """The id of a column on its page; search.js computes the same."""
    return "c-" + _NOT_IN_ANCHORS.sub("-", column[:80].lower())


def short(text: str, most: int = 200) -> str:
    """A text in one line, cut after a number of characters."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def ticked(text: str, most: int = 600) -> Markup:
    """A sentence in one line, in which `names` are code."""
    parts = plain(short(text, most)).split("`")
    if len(parts) % 2 == 0:  # a backtick without its partner
        parts[-2:] = ["`".join(parts[-2:])]
    code = Markup("<code>{}</code>")
    shown = (code.format(each) if at % 2 else escape(each) for at, each in enumerate(parts))
    return Markup().join(shown)


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a description, which empty lines separate."""
    if len(text) > MOST:
        text = text[:MOST] + CUT
    return [part.strip() for part in _PARAGRAPHS.split(text) if part.strip()]


def count(value: int | None) -> str:
    """A whole number with commas."""
    return "unknown" if value is None else f"{value:,}"


def number(value: float | None, digits: int = 2) -> str:
    """A number with at most so many digits behind the point."""
    if value is None:
        return "unknown"
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"


def score(value: float | None) -> str:
    """A score of 100 as a share of one, rounded down: 1.00 is said of nothing less."""
    return "unknown" if value is None else f"{math.floor(value) / 100:.2f}"


def share(value: float | None) -> str:
    """A share of one as per cent; a small share is not shown as 0 %."""
    if value is None:
        return "unknown"
    if 0 < value < 0.001:
        return "< 0.1 %"
    return f"{number(100 * value, 1)} %"


def size(value: int | None) -> str:
    """Bytes in the largest unit that keeps one digit before the point."""
    if value is None:
        return "unknown"
    scaled, unit = float(value), _SIZES[0]
    for unit in _SIZES:
        if scaled < 1000 or unit == _SIZES[-1]:
            break
        scaled /= 1000
    return f"{value:,} bytes" if unit == "bytes" else f"{scaled:.3g} {unit}"


def seconds(value: float | None) -> str:
    """A duration in seconds, minutes or hours."""
    if value is None:
        return "unknown"
    if value < 120:
        return f"{number(value, 1)} s"
    if value < 7200:
        return f"{number(value / 60, 1)} min"
    return f"{number(value / 3600, 1)} h"


def plural(value: int, one: str, many: str = "") -> str:
    """A count with its noun."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def done(kind: str, shows: int | None = None, undid: int | None = None) -> str:
    """What an entry of the ledger did, as a verb.

    Args:
        kind: of the entry.
        shows: the publication that a rollback shows again, if it is known.
        undid: the publication that a rollback took back, if it is known.
    """
    said = _DONE.get(kind, kind)
    if undid is not None:
        said += f", undid publication {undid}"
    return f"{said}, shows publication {shows} again" if shows is not None else said


def late_after(product: ProductFacts) -> datetime | None:
    """When a fresh product becomes late if nothing refreshes it."""
    hours, refreshed = product.refreshed_within_hours, product.refreshed_at
    if product.state != "fresh" or hours is None or refreshed is None:
        return None
    return _utc(refreshed) + timedelta(hours=hours)


def iso(at: datetime | date) -> str:
    """A time or day for programs."""
    return _utc(at).isoformat(timespec="seconds") if isinstance(at, datetime) else at.isoformat()


def epoch(at: datetime) -> int:
    """A time as seconds since 1970, where a page has thousands of them."""
    return int(_utc(at).timestamp())


def absolute(at: datetime | date) -> str:
    """A time or day for people."""
    return f"{_utc(at):%Y-%m-%d %H:%M} UTC" if isinstance(at, datetime) else at.isoformat()


def mail(text: str) -> str:
    """The link to a mail address; empty if the text is not one."""
    return f"mailto:{text}" if _MAIL.fullmatch(text) else ""


def web(text: str) -> str:
    """The link to a web address; empty if the text is not one."""
    return text if _WEB.fullmatch(text) else ""


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
