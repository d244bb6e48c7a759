"""Reads a domain's SQL files without dbt.

Belongs here: text that cannot be read, Jinja that does not parse or would not end, and the
references of models. Not here: whether a reference resolves (references.py, domain.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshhouse.repository.model import CrossReference
from meshhouse.repository.yaml import DeclarationError, read_text

if TYPE_CHECKING:
    import jinja2

_REFERENCE = re.compile(
    r"""\bref\(\s*(['"])(?P<domain>\w+)\1\s*,\s*(['"])(?P<product>\w+)\3"""
    r"""(?:\s*,\s*(?:v|version)\s*=\s*(?P<version>\d+))?\s*\)"""
)
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_DBT_BLOCK = re.compile(r"\{%-?\s*(test|materialization|docs|snapshot|data_test)\b")
"""Blocks that only dbt can parse; the Jinja of a file with such a block is not read here."""
MOST_STEPS = 100_000
"""dbt's sandbox has the same limit for a `range`."""
_LARGEST_POWER = 100
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class OwnReference:
    """A `ref` or `source` within the domain, outside any condition, loop or macro."""

    kind: str
    """`ref` or `source`."""
    name: str
    """For a source, `<source>.<table>`."""
    path: Path
    line: int


@dataclass(frozen=True)
class SqlFile:
    """A model, singular test, snapshot or macro, before rendering."""

    path: Path
    references: tuple[CrossReference, ...] = ()
    own: tuple[OwnReference, ...] = ()
    problems: tuple[DeclarationError, ...] = ()


def read_sql(path: Path) -> SqlFile:
    """Reads a file; the result includes its problems."""
    try:
        text = read_text(path)
    except DeclarationError as error:
        return SqlFile(path, problems=(error,))
    references = tuple(_cross_references(path, _without_comments(text)))
    if "{" not in text or _DBT_BLOCK.search(text):
        return SqlFile(path, references, problems=tuple(_marks(path)))
    try:
        tree = _parse(path, text)
    except DeclarationError as error:
        return SqlFile(path, references, problems=(error,))
    problems = (*_marks(path), *_endless(path, tree))
    return SqlFile(path, references, tuple(_own_references(path, tree)), problems)


def without_comments(path: Path) -> str:
    """The text of a model without Jinja's comments; every line keeps its number.

    Raises:
        DeclarationError: the file cannot be read.
    """
    return _without_comments(read_text(path))


def _without_comments(text: str) -> str:
    return _COMMENT.sub(lambda match: "\n" * match.group().count("\n"), text)


def _marks(path: Path) -> Iterator[DeclarationError]:
    if path.read_bytes().startswith(BYTE_ORDER_MARK.encode()):
        problem = "the file begins with a byte order mark; save it as UTF-8 without one."
        yield DeclarationError(path, 1, problem)


def _cross_references(path: Path, text: str) -> Iterable[CrossReference]:
    for match in _REFERENCE.finditer(text):
        version = match["version"]
        yield CrossReference(
            domain=match["domain"],
            product=match["product"],
            path=path,
            line=text.count("\n", 0, match.start()) + 1,
            version=int(version) if version and len(version) < 10 else None,
        )


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(extensions=["jinja2.ext.do"])  # noqa: S701 - makes SQL, not HTML


def _parse(path: Path, text: str) -> Any:
    import jinja2

    try:
        return _environment().parse(text)
    except jinja2.TemplateSyntaxError as error:
        problem = f"its Jinja cannot be read: {str(error.message).rstrip('.')}."
        raise DeclarationError(path, error.lineno, problem) from error
    except (RecursionError, ValueError, OverflowError) as error:
        problem = "its Jinja cannot be read: it is nested too deeply or has too long a number."
        raise DeclarationError(path, 1, problem) from error


def _own_references(path: Path, tree: Any) -> Iterator[OwnReference]:
    from jinja2 import nodes

    if any(each.key == "enabled" for each in tree.find_all(nodes.Keyword)):
        return  # a disabled model may refer to anything
    for call in _always_rendered(tree):
        if not isinstance(call.node, nodes.Name) or call.node.name not in ("ref", "source"):
            continue
        names = [each.value for each in call.args if isinstance(each, nodes.Const)]
        expected = 1 if call.node.name == "ref" else 2
        if len(call.args) == len(names) == expected and all(isinstance(n, str) for n in names):
            yield OwnReference(call.node.name, ".".join(names), path, call.lineno)


def _always_rendered(node: Any) -> Iterator[Any]:
    """Calls that are not inside a condition, loop, macro or call block."""
    from jinja2 import nodes

    skipped = (
        nodes.If,
        nodes.CondExpr,
        nodes.For,
        nodes.Macro,
        nodes.CallBlock,
        nodes.And,
        nodes.Or,
    )
    if isinstance(node, skipped):
        return
    if isinstance(node, nodes.Call):
        yield node
    for child in node.iter_child_nodes():
        yield from _always_rendered(child)


def _endless(path: Path, tree: Any) -> Iterator[DeclarationError]:
    """Constant loops, repetitions and powers that would use up all time or memory.

    If such a value is computed from variables, only dbt's time limit finds it (meshhouse/dbt/).
    """
    from jinja2 import nodes

    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "range":
            numbers = [number for each in call.args if (number := _number(each)) is not None]
            if len(numbers) == len(call.args) and _steps(numbers) > MOST_STEPS:
                problem = (
                    f"a `range` of {_steps(numbers):,} steps is too long; dbt allows "
                    f"{MOST_STEPS:,}. Generate rows in SQL instead."
                )
                yield DeclarationError(path, call.lineno, problem)
    for operation in tree.find_all((nodes.Mul, nodes.Pow)):
        if _is_too_large(operation):
            problem = "this Jinja computes a value that is too large. Compute it in SQL."
            yield DeclarationError(path, operation.lineno, problem)


def _is_too_large(operation: Any) -> bool:
    from jinja2 import nodes

    left, right = _number(operation.left), _number(operation.right)
    if isinstance(operation, nodes.Pow):
        return right is not None and abs(right) > _LARGEST_POWER
    for number, other in ((left, operation.right), (right, operation.left)):
        repeats = isinstance(other, nodes.List | nodes.Tuple | nodes.TemplateData) or (
            isinstance(other, nodes.Const) and isinstance(other.value, str)
        )
        if number is not None and number > MOST_STEPS and repeats:
            return True
    return False


def _number(node: Any) -> int | None:
    """A constant integer, or one computed from constants, such as `10 ** 9`; None otherwise."""
    from jinja2 import nodes

    if isinstance(node, nodes.Const):
        return node.value if isinstance(node.value, int) else None
    if isinstance(node, nodes.Neg):
        number = _number(node.node)
        return None if number is None else -number
    if isinstance(node, nodes.Mul | nodes.Pow):
        left, right = _number(node.left), _number(node.right)
        if left is None or right is None:
            return None
        if isinstance(node, nodes.Mul):
            return left * right
        return left**right if 0 <= right <= _LARGEST_POWER and abs(left) < 10**6 else 10**30
    return None


def _steps(numbers: list[int]) -> int:
    try:
        return len(range(*numbers))
    except OverflowError:
        return 10**19
    except (TypeError, ValueError):  # no argument, four of them, or a step of zero
        return 0
