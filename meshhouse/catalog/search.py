"""The search index: made here, so that a browser never indexes anything.

Belongs here: what can be found, and in which file. Not here: scores and results
(pages/assets/search.js).

`LIST` has every product, domain and owner; the home page loads it at once. Words of columns and
descriptions are in 64 shards by their first two letters; the browser loads one when three letters
are typed. A typo in these letters leads to another shard: `WORDS` has every word, and is loaded
when a term finds little. All are scripts that push data, because a page that was opened as a file
cannot fetch.

In a shard, `w` maps each word to [columns with the word, products whose texts have it]. A column is
a position in `c`, whose entries are [name, products that have it]. A product is a position in the
list. Ascending positions are stored as differences, which halves the compressed size.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from meshhouse.catalog.documents import Mesh, ProductFacts
from meshhouse.catalog.page import Page
from meshhouse.catalog.pages.words import late_after, plain, short

LIST = "search/list.js"
WORDS = "search/words.js"
SHARDS = 64
SENTENCE = 80
"""Characters of a product's sentence: with 5,000 products, the list stays below 110 KiB."""
_LONGEST_WORD = 40
_FORGIVEN = 4
"""Letters from which a word may have a typo; search.js has the same number."""
_MOST_TEXT = 4000
"""Characters of one description that are indexed."""
_WORD = re.compile(r"[^\W_]+")
_COMMON = frozenset(
    _WORD.findall(
        "a an and are as at be by each for from has have if in is it its of on one or per row that "
        "the this to was were which with"
    )
)


@dataclass
class _Shard:
    words: dict[str, tuple[set[str], set[int]]] = field(default_factory=dict)


def pages(mesh: Mesh) -> Iterator[Page]:
    """The list and its shards."""
    products = in_order(mesh)
    named = _named(mesh, products)
    yield Page(LIST, named, partial(_pushed, "list", named))
    if mesh.listed is not None:
        return  # the texts, which contracts decide, are the same
    index = _Index(products)
    for number in range(SHARDS):
        yield Page(shard_file(number), (index.digest, number), partial(index.shard, number))
    yield Page(WORDS, (index.digest, WORDS), index.words)


def in_order(mesh: Mesh) -> list[ProductFacts]:
    """Products in the order of their positions in the index."""
    return sorted(mesh.products, key=lambda each: (each.domain, each.relation))


def shard_file(number: int) -> str:
    """The file of a shard."""
    return f"search/{number:02}.js"


def shard_of(word: str) -> int:
    """The shard of a word of two letters or more; search.js computes the same."""
    return (ord(word[0]) * 31 + ord(word[1])) % SHARDS


def words_of(text: str) -> list[str]:
    """The words of a text in lower case."""
    return [each[:_LONGEST_WORD] for each in _WORD.findall(text[:_MOST_TEXT].lower())]


def _named(mesh: Mesh, products: Sequence[ProductFacts]) -> str:
    """What the list pushes: columns of values, because equal neighbours compress well."""
    domains = sorted({*(each.name for each in mesh.domains), *(each.domain for each in products)})
    described = {each.name: each.description for each in mesh.domains}
    owners = sorted({_owner(each) for each in products})
    states = sorted({each.state for each in products})
    place = {each: at for at, each in enumerate(domains)}
    owned = {each: at for at, each in enumerate(owners)}
    stated = {each: at for at, each in enumerate(states)}
    return _json(
        {
            "domains": [[each, _line(described.get(each, ""))] for each in domains],
            "owners": [plain(each) for each in owners],
            "states": states,
            "names": [each.relation.partition(".")[2] for each in products],
            "of": [place[each.domain] for each in products],
            "by": [owned[_owner(each)] for each in products],
            "is": [stated[each.state] for each in products],
            "ends": [_end(each) for each in products],
            "says": [_line(each.sentence) for each in products],
        }
    )  # fmt: skip


def _end(product: ProductFacts) -> int:
    """The first whole hour since 1970 in which a fresh product is late; 0 if it stays fresh."""
    end = late_after(product)
    return math.ceil(end.timestamp() / 3600) if end else 0


def _line(text: str) -> str:
    return plain(short(text, SENTENCE))


def _owner(product: ProductFacts) -> str:
    return short(product.owner.name or product.owner.email, 60)


class _Index:
    """Words of columns and descriptions. It is made when the first shard is needed."""

    def __init__(self, products: Sequence[ProductFacts]) -> None:
        self._products = products
        self._shards: tuple[list[str], list[str]] | None = None
        hashed = hashlib.blake2b(digest_size=16)
        for product in products:
            for text in _texts(product):
                hashed.update(text.encode(errors="replace") + b"\0")
        self.digest = hashed.hexdigest()

    def shard(self, number: int) -> str:
        """The content of one shard."""
        return _pushed(f"{number}", self._made()[0][number])

    def words(self) -> str:
        """The content of `WORDS`: one text, which a browser reads faster than a list."""
        return _pushed("words", _json(" ".join(self._made()[1])))

    def _made(self) -> tuple[list[str], list[str]]:
        if self._shards is None:
            self._shards = _shards(self._products)
        return self._shards


def _texts(product: ProductFacts) -> Iterator[str]:
    """Everything that shards hold of a product."""
    yield product.relation
    yield product.description
    yield " ".join(product.tags)
    for column in product.columns:
        yield column.name
        yield column.description


def _shards(products: Sequence[ProductFacts]) -> tuple[list[str], list[str]]:
    """The content of each shard, and all words that may have a typo, sorted."""
    columns: dict[str, list[int]] = {}
    shards = [_Shard() for _ in range(SHARDS)]

    def found(word: str) -> tuple[set[str], set[int]]:
        return shards[shard_of(word)].words.setdefault(word, (set(), set()))

    for at, product in enumerate(products):
        said: set[str] = set()
        for text in (product.description, *product.tags):
            said.update(words_of(text))
        for column in product.columns:
            columns.setdefault(plain(short(column.name, 120)), []).append(at)
            said.update(words_of(column.description))
        for word in said:
            if len(word) > 2 and word not in _COMMON:
                found(word)[1].add(at)
    for name in columns:
        for word in words_of(name):
            if len(word) > 1:
                found(word)[0].add(name)
    forgiven = sorted(word for shard in shards for word in shard.words if len(word) >= _FORGIVEN)
    return [_packed(each, columns) for each in shards], forgiven


def _packed(shard: _Shard, columns: dict[str, list[int]]) -> str:
    names = sorted({name for named, _ in shard.words.values() for name in named})
    place = {name: at for at, name in enumerate(names)}
    words = {
        word: [_differences(sorted(place[name] for name in named)), _differences(sorted(said))]
        for word, (named, said) in sorted(shard.words.items())
    }
    return _json({"c": [[name, _differences(columns[name])] for name in names], "w": words})


def _differences(ascending: Iterable[int]) -> list[int]:
    found, before = [], 0
    for each in ascending:
        found.append(each - before)
        before = each
    return found


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))  # ASCII only, so no text ends a line


def _pushed(name: str, data: str) -> str:
    return f'(window.mesh=window.mesh||[]).push(["{name}",{data}]);\n'
