"""Digests of what pages are made from, so that a build knows which pages did not change.

Belongs here: digests of documents and of the code that makes pages. Not here: where they are kept
(manifest.py).
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from meshhouse.catalog.documents import adapter
from meshhouse.settings import value

_HERE = Path(__file__).parent
_LENGTH = 12
"""Bytes of a digest: with 100,000 pages, two are equal by chance once in 10^19 builds."""


class Digests:
    """Digests of inputs. A document is digested once, however many pages are made from it.

    Of a product with 20 columns and 90 publications, the text takes 0.2 ms. Documents that are the
    same objects in the next build are not digested again, if this object is kept.
    """

    def __init__(self) -> None:
        # By identity; the document is kept, so that its identity is not given to another one.
        self._before: dict[int, tuple[object, str]] = {}
        self._now: dict[int, tuple[object, str]] = {}

    def next_build(self) -> None:
        """Forgets documents that the build before did not use."""
        self._before, self._now = self._now, {}

    def of(self, inputs: object) -> str:
        """The digest of a document, or of a tuple or list of documents and plain values."""
        if isinstance(inputs, tuple | list):
            return _digest("\n".join(map(self._item, inputs)))
        return self._item(inputs)

    def _item(self, item: object) -> str:
        if isinstance(item, tuple | list):
            return self.of(item)
        if not is_dataclass(item):
            return _digest(f"{type(item).__name__} {item!r}")
        known = self._now.get(id(item)) or self._before.get(id(item))
        if known is None:
            known = item, _digest(_text(item))
        self._now[id(item)] = known
        return known[1]

    def know(self, document: object, digest: str) -> None:
        """Takes the digest of a document of which only a part is in memory."""
        self._now[id(document)] = document, digest


def _text(document: object) -> str:
    # JSON, which is written twice as fast, so that a document has the same digest when it is read
    # from a file: there, times have another class.
    with suppress(ValueError):  # half of a surrogate pair
        return adapter(type(document)).dump_json(document).decode()
    return repr(document)


@cache
def digest_of_code() -> str:
    """A digest of the code, templates and settings that decide pages beside the documents."""
    hashed = hashlib.blake2b(digest_size=_LENGTH)
    for name in ("meshhouse", "jinja2"):
        hashed.update(f"{name} {version(name)}\n".encode())
    hashed.update(f"{value('MESH_CATALOG_URL')}\n".encode())
    for path in sorted(_HERE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            hashed.update(f"{path.relative_to(_HERE).as_posix()}\n".encode())
            hashed.update(path.read_bytes())
    return hashed.hexdigest()


def _digest(text: str) -> str:
    # Texts from outside may have lone surrogates, which UTF-8 refuses.
    encoded = text.encode(errors="surrogatepass")
    return hashlib.blake2b(encoded, digest_size=_LENGTH).hexdigest()
