"""The words that make an input of a model hidden, and those that are harmless.

Belongs here: lists of functions, names and words, for every target together. Not here: finding
them in a text (hidden.py).
"""

from __future__ import annotations

CLOCK, CHANCE, SESSION = "the clock", "a random number", "the session"
FILE, NAME, GRAPH = "a file", "a table by its name", "the whole dbt project"
UNSEEN = "what the mesh cannot see"

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

CALL_KINDS = {word: kind for kind, words in _CALLS.items() for word in words.split()}
WORD_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split()}
JINJA_WORD_KINDS = {word: kind for kind, words in _JINJA_WORDS.items() for word in words.split()}
JINJA_CALL_KINDS = {word: kind for kind, words in _JINJA_CALLS.items() for word in words.split()}

NO_ARGUMENT = {"unix_timestamp", "to_unix_timestamp"}
"""Functions that read the clock if they have no argument."""
ONE_ARGUMENT = {"age"}
"""Functions that read the clock if they have no second argument."""
PER_RUN_VARIABLES = {"MESH_RUN_ID", "MESH_PINS"}
RELATIONS = ("from", "join", "using")
"""Words before a relation, unless a parenthesis follows."""
BEFORE = ("only", "lateral")
"""Words that may come between `from` and the relation."""
AFTER_FROM = {
    "where", "group", "order", "having", "qualify", "window", "limit", "offset", "fetch",
    "union", "intersect", "except", "minus", "select", "set", "when", ";",
}  # fmt: skip
"""Words that end the list of relations after `from`: later commas do not separate relations."""
ORDERINGS = {"sort", "cluster", "distribute", "connect"}
"""Words that do the same before `by`."""
OPENING, CLOSING = {"(", "[", "{"}, {")", "]", "}"}
PARTS_OF = {
    "extract", "trim", "ltrim", "rtrim", "btrim", "substr", "substring", "overlay", "position",
}  # fmt: skip
"""Functions in whose parentheses `from` precedes a value."""
FILE_FORMATS = {"csv", "json", "parquet", "orc", "text", "avro", "delta", "binaryfile"}
MOMENTS = {"now", "today", "tomorrow", "yesterday"}
"""Strings that a cast to a date or timestamp replaces by the current time."""
TABLE_FUNCTIONS = {
    "unnest", "range", "generate_series", "repeat", "repeat_row", "json_each", "json_tree",
    "histogram", "histogram_values", "summary", "values", "explode", "explode_outer", "posexplode",
    "posexplode_outer", "inline", "inline_outer", "stack", "json_tuple", "variant_explode",
    "variant_explode_outer", "flatten", "generator", "split_to_table", "strtok_split_to_table",
}  # fmt: skip
"""Functions in `from` whose rows follow from their arguments; any other may read anything."""
BEFORE_STATEMENT = {
    "", "(", ";", "as", "all", "distinct", "union", "except", "intersect", "minus",
}  # fmt: skip
"""What may precede a statement inside a text; a Jinja block may as well."""
STATEMENTS = {"table", "summarize", "describe", "pivot", "unpivot", "pivot_wider", "pivot_longer"}
"""Words that begin a statement and precede a relation."""
TEXT_PREFIXES = {"e", "x", "b", "n", "r", "u"}
"""Words that change what a string after them means: E'text', U&'text'."""
JINJA_DOORS: dict[str, set[str]] = {
    "modules": {
        "modules.re", "modules.itertools", "modules.pytz", "modules.datetime.timedelta",
        "modules.datetime.timezone", "modules.datetime.datetime()", "modules.datetime.date()",
        "modules.datetime.time()", "modules.datetime.datetime.strptime",
        "modules.datetime.datetime.combine", "modules.datetime.datetime.fromisoformat",
        "modules.datetime.date.fromisoformat",
    },
    "context": set(),
    "builtins": {"builtins.ref", "builtins.source", "builtins.config", "builtins.var"},
    "flags": {"flags.FULL_REFRESH", "flags.STORE_FAILURES"},
}  # fmt: skip
"""Names through which Jinja reaches many others -> what is harmless of that, `()` for a call."""
