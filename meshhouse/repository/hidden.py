"""Hidden inputs of a model, which no snapshot covers: the clock, chance, the session, files.

Belongs here: finding such reads in the text of a model or macro (SQL with Jinja). Not here:
which texts belong to a product (code.py), or what follows from a finding (lint/hidden.py,
runs/plan.py).

The text is scanned by tokens because it is a template: dbt renders it to SQL, but rendering
loses the line numbers. Words in comments, in strings and in column names do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

CLOCK, CHANCE, SESSION = "the clock", "a random number", "the session"
FILE, NAME, GRAPH = "a file", "a table by its name", "the whole dbt project"


@dataclass(frozen=True, order=True)
class HiddenInput:
    """One read whose result may change while code and inputs stay the same."""

    line: int
    what: str
    """The read as the author wrote it, such as `now()`."""
    kind: str


# SQL functions that need parentheses; the same word without them may be a column.
_CALLS = {
    CLOCK: """
        now today getdate sysdate systimestamp systime sysdatetime curdate curtime
        get_current_timestamp get_current_time transaction_timestamp statement_timestamp
        clock_timestamp timeofday current_localtimestamp current_localtime utc_timestamp
        utc_date utc_time ago pg_conf_load_time pg_postmaster_start_time""",
    CHANCE: """
        random rand randn randstr uniform normal zipf uuid uuidv4 uuidv7 uuid_string
        gen_random_uuid newid newsequentialid generate_uuid seq1 seq2 seq4 seq8 nextval currval
        setseed shuffle monotonically_increasing_id spark_partition_id sample""",
    SESSION: """
        current_setting current_schemas current_query current_connection_id
        current_transaction_id current_query_id txid_current user getenv getvariable version
        last_query_id last_transaction invoker_role invoker_share is_role_in_session
        current_timezone connection_id session_context in_search_path duckdb_settings
        duckdb_databases duckdb_tables duckdb_columns duckdb_views duckdb_memory duckdb_logs
        duckdb_extensions duckdb_variables pg_timezone_names""",
    FILE: """
        read_csv read_csv_auto sniff_csv read_parquet parquet_scan parquet_metadata read_json
        read_json_auto read_json_objects read_json_objects_auto read_ndjson read_ndjson_auto
        read_ndjson_objects read_text read_blob read_xlsx read_files glob st_read arrow_scan
        iceberg_scan delta_scan sqlite_scan postgres_scan postgres_query mysql_scan mysql_query
        input_file_name http_get http_post read_duckdb read_avro parquet_schema
        parquet_file_metadata parquet_kv_metadata parquet_full_metadata iceberg_metadata
        iceberg_snapshots""",
    NAME: "query query_table identifier",
}
# SQL functions that work with or without parentheses.
_WORDS = {
    CLOCK: "current_timestamp current_date current_time localtimestamp localtime",
    SESSION: """
        current_user session_user system_user current_role current_schema current_database
        current_catalog current_warehouse current_account current_region current_session
        current_statement current_transaction current_version current_client
        current_available_roles current_secondary_roles current_ip_address""",
    CHANCE: "tablesample",
}
# Names in Jinja. `_JINJA_CALLS` also finds `modules.datetime.datetime.now()`.
_JINJA_WORDS = {
    CLOCK: "run_started_at snapshot_get_time",
    SESSION: "invocation_id thread_id selected_resources invocation_args_dict",
    CHANCE: "",
    GRAPH: "graph",
}
_JINJA_CALLS = {
    CLOCK: "now utcnow today",
    CHANCE: "random shuffle uuid4",
    NAME: "get_relation load_relation load_cached_relation list_relations replace_path incorporate",
}

_CALL_KINDS = {word: kind for kind, words in _CALLS.items() for word in words.split()}
_WORD_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_JINJA_WORD_KINDS = {word: kind for kind, words in _JINJA_WORDS.items() for word in words.split()}
_JINJA_CALL_KINDS = {word: kind for kind, words in _JINJA_CALLS.items() for word in words.split()}

_NO_ARGUMENT = {"unix_timestamp", "to_unix_timestamp"}
"""Functions that read the clock if they have no argument."""
_ONE_ARGUMENT = {"age"}
"""Functions that read the clock if they have no second argument."""
_PER_RUN_VARIABLES = {"MESH_RUN_ID", "MESH_PINS"}
_RELATIONS = ("from", "join", "using")
"""Words before a relation, unless a parenthesis follows."""
_BEFORE = ("only", "lateral")
"""Words that may come between `from` and the relation."""
_AFTER_FROM = {
    "where", "group", "order", "having", "qualify", "window", "limit", "offset", "fetch",
    "union", "intersect", "except", "minus", "select", "set", "when", ";",
}  # fmt: skip
"""Words that end the list of relations after `from`: later commas do not separate relations."""
_OPENING, _CLOSING = {"(", "[", "{"}, {")", "]", "}"}
_PARTS_OF = {"extract", "trim", "ltrim", "rtrim", "btrim", "substring", "overlay", "position"}
"""Functions in whose parentheses `from` precedes a value."""
_FILE_FORMATS = {"csv", "json", "parquet", "orc", "text", "avro", "delta", "binaryfile"}
_MOMENTS = {"now", "today", "tomorrow", "yesterday"}
"""Strings that a cast to a date or timestamp replaces by the current time."""

_BLOCK = r"\{\{.*?\}\}|\{%.*?%\}"
_PIECES = r"""
    (?P<jinja_comment>\{\#.*?\#\})
  | (?P<jinja>BLOCK)
  | (?P<comment>--[^\n]*|/\*.*?\*/)
  | (?P<text>TEXT)
  | (?P<dollars>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
  | (?P<quoted>"(?:[^"]|"")*"|`[^`]*`)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<mark>::|\S)
"""
_FLAGS = re.VERBOSE | re.DOTALL
# After a backslash, a quote ends the string on some targets and not on others: try both.
_SQL = tuple(
    re.compile(_PIECES.replace("BLOCK", _BLOCK).replace("TEXT", text), _FLAGS)
    for text in (
        rf"'(?>{_BLOCK}|\{{(?![{{%])|[^'{{]|'')*'",
        rf"'(?>{_BLOCK}|\{{(?![{{%])|[^'{{\\]|''|\\.)*'",
    )
)
_JINJA = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<word>[A-Za-z_]\w*)|(?P<mark>\S)""",
    re.DOTALL,
)
_COMPUTED = re.compile(
    r"\b(?:env_var|var|target|api|adapter)\b|\bthis\s*\.(?!\s*(?:render|include)\b)"
)
"""Jinja that computes the name of a relation; dbt records no dependency on it."""
_JINJA_BLOCK = re.compile(_BLOCK, re.DOTALL)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


@lru_cache(maxsize=4096)
def hidden_inputs(text: str, macros: frozenset[str] = frozenset()) -> tuple[HiddenInput, ...]:
    """The hidden inputs of a template, by line.

    Args:
        text: a model or a macro.
        macros: names of the repository's macros; the caller scans them separately.
    """
    found: set[HiddenInput] = set()
    for pattern in _SQL if "\\" in text else _SQL[:1]:
        for at, what, kind in _in_sql(text, 0, pattern, macros):
            found.add(HiddenInput(text.count("\n", 0, at) + 1, what, kind))
    return tuple(sorted(found))


def hidden_in_value(value: str) -> tuple[HiddenInput, ...]:
    """The hidden inputs in a value that Jinja inserts: SQL, or a word such as `now`."""
    word = value.strip().lower()
    if word in _MOMENTS:
        return (HiddenInput(1, value, CLOCK),)
    if word in _CALL_KINDS and word not in ("user", "version", "normal", "uniform", "sample"):
        return (HiddenInput(1, value, _CALL_KINDS[word]),)
    return hidden_inputs(value)


@lru_cache(maxsize=4096)
def jinja_names(text: str) -> dict[str, int]:
    """Every name in the Jinja of a template, with the line of its first use."""
    names: dict[str, int] = {}
    for match in _SQL[0].finditer(text):
        pieces = [match] if match.lastgroup == "jinja" else _blocks(match)
        for block in pieces:
            for token in re.finditer(r"[A-Za-z_]\w*", block.group()):
                offset = match.start() + token.start() + (0 if block is match else block.start())
                names.setdefault(token.group(), text.count("\n", 0, offset) + 1)
    return names


_Found = Iterator[tuple[int, str, str]]
"""Offset, what, kind."""


def _blocks(match: re.Match[str]) -> list[re.Match[str]]:
    """Jinja inside a string or a quoted name; dbt renders it there too."""
    if match.lastgroup not in ("text", "quoted", "dollars"):
        return []
    return list(_JINJA_BLOCK.finditer(match.group()))


def _in_sql(text: str, base: int, pattern: re.Pattern[str], macros: frozenset[str]) -> _Found:
    tokens: list[_Token] = []
    for match in pattern.finditer(text):
        kind = "dollars" if match["dollars"] is not None else str(match.lastgroup)
        at = base + match.start()
        if kind == "jinja":
            yield from _in_jinja(match.group(), at, pattern, macros)
        for block in _blocks(match):
            yield from _in_jinja(block.group(), at + block.start(), pattern, macros)
        if kind not in ("comment", "jinja_comment"):
            tokens.append(_Token(kind, match.group(), at))
    yield from _in_tokens(tokens)


def _in_jinja(text: str, base: int, pattern: re.Pattern[str], macros: frozenset[str]) -> _Found:
    tokens = [
        _Token(str(match.lastgroup), match.group(), base + match.start())
        for match in _JINJA.finditer(text)
    ]
    for index, token in enumerate(tokens):
        before, after = _near(tokens, index, -1), _near(tokens, index, 1)
        if token.kind == "text":
            # A string may be SQL, for example an argument of a macro.
            yield from _in_sql(token.text[1:-1], token.at + 1, pattern, macros)
        elif token.kind == "word":
            kind = _jinja_kind(token.text, before, after)
            if kind == NAME and _only_this(tokens, index + 1):
                continue
            if kind and (before == "." or token.text not in macros):
                yield token.at, token.text, kind
            elif token.text == "env_var" and _near(tokens, index, 2)[1:-1] in _PER_RUN_VARIABLES:
                yield token.at, f"env_var({_near(tokens, index, 2)})", SESSION


def _jinja_kind(word: str, before: str, after: str) -> str | None:
    if word.startswith("current_timestamp"):
        return CLOCK
    if word == "create" and before == "." and after == "(":
        return NAME  # api.Relation.create()
    if word in _JINJA_CALL_KINDS and (after == "(" or before == "|"):
        return _JINJA_CALL_KINDS[word]
    if before == "." and word != "snapshot_get_time":
        return None
    return None if after == "=" else _JINJA_WORD_KINDS.get(word)


def _only_this(tokens: Sequence[_Token], opening: int) -> bool:
    """Whether a call's only arguments are `this` (the model's own table) or parts of it.

    Args:
        tokens: of the Jinja block.
        opening: index of the call's opening parenthesis.
    """
    depth, names = 0, set()
    for index in range(opening, len(tokens)):
        token, text = tokens[index], tokens[index].text
        depth += {"(": 1, ")": -1}.get(text, 0)
        if depth == 0:
            break
        is_part = _near(tokens, index, -1) == "." or _near(tokens, index, 1) == "="
        if token.kind == "text" or (token.kind == "word" and not is_part):
            names.add(text)
    return names == {"this"}


def _near(tokens: Sequence[_Token], index: int, steps: int) -> str:
    there = index + steps
    return tokens[there].text if 0 <= there < len(tokens) else ""


def _in_tokens(tokens: Sequence[_Token]) -> _Found:
    openers: list[str] = []
    starts = [-1]
    """For each open parenthesis, the index where its relations begin; -1 without relations."""
    for index, token in enumerate(tokens):
        word = token.text.lower()
        if word in _OPENING:
            openers.append(_near(tokens, index, -1).lower())
            starts.append(-1)
        elif word in _CLOSING and openers:
            openers.pop()
            starts.pop()
        elif word == "," and starts[-1] >= 0:
            yield from _of_relation(tokens, index + 1, starts[-1])
        elif word in _AFTER_FROM:
            starts[-1] = -1
        elif token.kind == "text" and _is_moment(tokens, index):
            yield token.at, token.text, CLOCK
        if token.kind == "word":
            yield from _of_word(tokens, index)
            if _precedes_relation(tokens, index, openers):
                starts[-1] = starts[-1] if starts[-1] >= 0 else index
                yield from _of_relation(tokens, index + 1, index)


def _precedes_relation(tokens: Sequence[_Token], index: int, openers: Sequence[str]) -> bool:
    word, before = tokens[index].text.lower(), _near(tokens, index, -1).lower()
    if word not in _RELATIONS or before in (".", "distinct") or set(openers[-1:]) & _PARTS_OF:
        return False
    return word != "using" or _near(tokens, index, 1) != "("


def _of_word(tokens: Sequence[_Token], index: int) -> _Found:
    token = tokens[index]
    word, before = token.text.lower(), _near(tokens, index, -1).lower()
    after = _near(tokens, index, 1)
    if before == "as" and after != "(":
        return  # an alias
    if word in _CALL_KINDS and after == "(":
        yield token.at, f"{word}()", _CALL_KINDS[word]
    elif word in _WORD_KINDS and (after == "(" or (before != "." and after != ".")):
        yield token.at, word, _WORD_KINDS[word]
    elif word == "nextval" and before == ".":
        yield token.at, word, CHANCE
    elif word == "sample" and before == "using":
        yield token.at, "using sample", CHANCE
    elif (
        word in _NO_ARGUMENT | _ONE_ARGUMENT
        and after == "("
        and _arguments(tokens, index + 1) <= (1 if word in _ONE_ARGUMENT else 0)
    ):
        yield token.at, f"{word}()", CLOCK


def _arguments(tokens: Sequence[_Token], opening: int) -> int:
    """The number of arguments of the call whose parenthesis opens at `opening`."""
    depth, commas = 0, 0
    for token in tokens[opening:]:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)
        commas += token.text == "," and depth == 1
        if depth == 0:
            break
    return 0 if _near(tokens, opening, 1) == ")" else commas + 1


def _of_relation(tokens: Sequence[_Token], index: int, start: int) -> _Found:
    """A relation that is a file, or a table that neither `ref` nor `source` names.

    Args:
        tokens: of the template.
        index: where the relation begins.
        start: where the first relation of the same `from` begins.
    """
    while _near(tokens, index, 0).startswith("{%") or _near(tokens, index, 0) in (
        "only",
        "lateral",
    ):
        index += 1
    if index >= len(tokens):
        return
    token, dot, last = tokens[index], _near(tokens, index, 1), _near(tokens, index, 2)
    if token.kind == "text":
        yield token.at, f"from {token.text}", FILE
    elif token.text == "@":
        yield token.at, "a stage", FILE
    elif token.text.lower() == "table" and re.match("['\"{$]", last):
        yield token.at, f"table({last})", NAME
    elif token.kind == "jinja" and (dot == "." or _COMPUTED.search(token.text)):
        yield token.at, f"{token.text}{'.' + last if dot == '.' else ''}", NAME
    elif token.kind in ("word", "quoted") and dot == "." and _near(tokens, index, 3) != "(":
        if token.text in {each.text for each in tokens[start + 1 : index]}:
            return  # a column of an earlier table in the same `from`
        kind = FILE if token.text.lower() in _FILE_FORMATS and last.startswith("`") else NAME
        yield token.at, f"{token.text}.{last}", kind


def _is_moment(tokens: Sequence[_Token], index: int) -> bool:
    if tokens[index].text[1:-1].strip().lower() not in _MOMENTS:
        return False
    before, second = (_near(tokens, index, -step).lower() for step in (1, 2))
    cast = before == "(" and second in ("cast", "try_cast", "to_date", "to_timestamp", "date")
    return cast or _near(tokens, index, 1) == "::" or bool(re.match("date|timestamp", before))
