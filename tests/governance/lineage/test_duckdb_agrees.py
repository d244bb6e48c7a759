"""DuckDB as the judge of the corpus: it binds each query with one column of a relation removed.

Without a column that is read, the query fails or loses a column of its result. Without a column
that is not read, the query is as before.
"""

import re
from pathlib import Path

import duckdb
import pytest
import yaml

from meshhouse.governance.lineage import reads_of

_CORPUS = yaml.safe_load(Path(__file__).with_name("reads.yml").read_text())
_STRUCT = "struct(city text, zip text, street text, door text, floor text, geo struct(lat double))"
_TYPES = {
    "address": _STRUCT,
    "amount": "decimal(12, 2)",
    "code": "text",
    "items": "struct(sku text, n integer, price double)[]",
    "name": "text",
    "ordered_at": "timestamp",
    "region": "text",
    "status": "text",
}
_OTHERS = [
    "create table other.fees (order_id integer, fee double)",
    "create table other.things (a integer, b integer, c integer)",
    "create table other.rates (valid_from timestamp, rate double)",
    "create table crm_build.stg_orders (ordered_at timestamp)",
]
_CANNOT_BIND = {
    # Not DuckDB's SQL, no such file, wrong on purpose, or columns of a relation that has none.
    "lateral view of Spark",
    "flatten of Snowflake",
    "casts and table functions",
    "SQL that does not parse",
    "a statement that is not a query",
    "a column that does not exist",
    "a column that one of two relations does not have",
    "an ambiguous name",
    "a name that two relations without known columns may have",
    "a relation without known columns",
    "star of a relation without known columns",
    "a relation of which only the rows matter",
    "names in any letter case, quoted and with a catalog",
    "insert by place",
    "pivot with values that only the rows tell",
    "star by pattern of Snowflake",
    "decode of Snowflake",
    "a path of JSON in Snowflake",
    "how rows are distributed and sorted in Spark",
    "a clause that is not known",
    "a union of different numbers of columns",
}
_BINDS_OTHERWISE = {
    "a column wins over an alias of its name",
    "columns as arguments",
    "all columns as one value",
    "a row as one value",
    "a column by its place",
}
"""Without the column, the name means something else, or fewer columns are computed with."""
_DUCKDBS = [
    each for each in _CORPUS["queries"] if each["name"] not in _CANNOT_BIND | _BINDS_OTHERWISE
]


@pytest.fixture(scope="module")
def database():
    with duckdb.connect() as connection:
        for schema in ("sales", "crm", "other", "crm_build"):
            connection.execute(f"create schema {schema}")
        for statement in _OTHERS:
            connection.execute(statement)
        for relation in _relations():
            _create(connection, relation)
        yield connection


@pytest.mark.parametrize("query", _DUCKDBS, ids=[each["name"] for each in _DUCKDBS])
def test_only_a_column_that_is_read_is_missed(database, query):
    whole = _columns(database, query["sql"])
    assert isinstance(whole, list), whole
    unknown = {each.removesuffix(".*") for each in query["reads"] if each.endswith(".*")}
    told = {each for each, read in query["reads"].items() if not _is_seen_in_rows_only(read)}
    columns = {
        f"{relation}.{each}" for relation in _relations() for each in _CORPUS["schemas"][relation]
    }
    told = {column for column in columns for each in told if f"{each}.".startswith(f"{column}.")}
    missed = set()
    for relation in _relations():
        for column in _CORPUS["schemas"][relation]:
            _create(database, relation, without=column)
            if _columns(database, query["sql"]) != whole:
                missed.add(f"{relation}.{column}")
        _create(database, relation)
    of_unknown = {each for each in columns if each.rpartition(".")[0] in unknown}
    assert missed - of_unknown == told - of_unknown


def _is_seen_in_rows_only(read):
    """As with `distinct *` in a subquery: the columns of the result stay the same."""
    return isinstance(read, list) and len(read) == 1 and read[0] == "group star"


TPCH = {
    "part": "p_partkey p_name p_mfgr p_brand p_type p_size p_container p_retailprice p_comment",
    "supplier": "s_suppkey s_name s_address s_nationkey s_phone s_acctbal s_comment",
    "partsupp": "ps_partkey ps_suppkey ps_availqty ps_supplycost ps_comment",
    "customer": "c_custkey c_name c_address c_nationkey c_phone c_acctbal c_mktsegment c_comment",
    "orders": "o_orderkey o_custkey o_orderstatus o_totalprice o_orderdate o_orderpriority o_clerk"
    " o_shippriority o_comment",
    "lineitem": "l_orderkey l_partkey l_suppkey l_linenumber l_quantity l_extendedprice l_discount"
    " l_tax l_returnflag l_linestatus l_shipdate l_commitdate l_receiptdate l_shipinstruct"
    " l_shipmode l_comment",
    "nation": "n_nationkey n_name n_regionkey n_comment",
    "region": "r_regionkey r_name r_comment",
}
_KINDS = [
    (r"date$", "date"),
    (r"key$|_size|qty$|linenumber|shippriority", "integer"),
    (r"price|acctbal|cost|quantity|discount|_tax", "decimal(15, 2)"),
    (r"", "text"),
]


def test_the_22_queries_of_tpch_read_what_duckdb_needs():
    """1 bind without all columns that are not read, and 1 without each that is."""
    schemas = {table: columns.split() for table, columns in TPCH.items()}
    text = (Path(__file__).parents[2] / "lint" / "sql" / "tpch.sql").read_text()
    queries = re.split(r"-- Q\d+\n", text)[1:]
    assert len(queries) == 22
    with duckdb.connect() as connection:

        def create(table, without):
            columns = [
                f"{each} {next(kind for pattern, kind in _KINDS if re.search(pattern, each))}"
                for each in schemas[table]
                if each not in without
            ]
            columns.append("spare integer")  # a table must have a column
            connection.execute(f"create or replace table {table} ({', '.join(columns)})")

        for query in queries:
            reads = reads_of("crm.model", query, schemas)
            assert all(each.is_known for each in reads)
            read = {(each.relation, each.column) for each in reads if each.column}
            unread = {
                table: {each for each in columns if (table, each) not in read}
                for table, columns in schemas.items()
            }
            for table in {table for table, _ in read}:
                create(table, unread[table])
            whole = _columns(connection, f"create or replace temp view tried as {query}")
            assert isinstance(whole, list), whole
            for table, column in read:
                create(table, unread[table] | {column})
                found = _columns(connection, f"create or replace temp view tried as {query}")
                assert isinstance(found, str), (query, table, column)
                create(table, unread[table])


def _relations():
    return [relation for relation, columns in _CORPUS["schemas"].items() if columns]


def _create(connection, relation, without=""):
    columns = ", ".join(
        f"{each} {_TYPES.get(each, 'integer')}"
        for each in _CORPUS["schemas"][relation]
        if each != without
    )
    connection.execute(f"create or replace table {relation} ({columns})")


def _columns(connection, sql):
    """The columns of the result; the error if the query does not bind."""
    try:
        return [each[0] for each in connection.execute(sql).description]
    except duckdb.Error as error:
        return str(error)
