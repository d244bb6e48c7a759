"""Each kind of broken declaration gives one clear line, and does not stop other domains.

The table holds edits to the tiny mesh, each with the line that `mesh check` must print for it.
"""

# ruff: noqa: E501 - a case a line reads as a table

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshhouse.cli.main import cli, run
from meshhouse.landing.decode import METADATA_COLUMNS
from meshhouse.lint import columns
from meshhouse.repository import printable
from meshhouse.repository.columns import LANDING_COLUMNS
from tests.conftest import Mesh, make_mesh

SHOP, CRM = "domains/shop", "domains/crm"
PROJECT, DEPENDENCIES = f"{SHOP}/dbt_project.yml", f"{SHOP}/dependencies.yml"
DOMAIN, TOPICS = f"{SHOP}/models/domain.yml", f"{SHOP}/models/topics.yml"
PRODUCTS = f"{SHOP}/models/products"
ORDERS, SQL = f"{PRODUCTS}/orders.yml", f"{PRODUCTS}/orders.sql"
CHECKS, TOTALS = f"{PRODUCTS}/orders.checks.yml", f"{PRODUCTS}/totals.yml"
STAGING = f"{SHOP}/models/staging/stg_sales.sql"
STG_YML = f"{SHOP}/models/staging/stg_sales.yml"

Edit = Callable[[Path], None]


@dataclass(frozen=True)
class Broken:
    """One edit, and the place and text of the line that it must produce."""

    edit: Edit
    place: str
    words: str


def swap(file: str, old: str, new: str, at: int, words: str, found_in: str = "") -> Broken:
    """Replaces a text that is in a file."""

    def edit(root: Path) -> None:
        text = (root / file).read_text()
        assert old in text, f"{old!r} is not in {file}"
        (root / file).write_text(text.replace(old, new, 1))

    return Broken(edit, f"{found_in or file}:{at}", words)


def put(file: str, content: str | bytes, at: int, words: str, found_in: str = "") -> Broken:
    """Writes a whole file."""

    def edit(root: Path) -> None:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return Broken(edit, f"{found_in or file}:{at}", words)


def move(old: str, new: str, place: str, words: str) -> Broken:
    def edit(root: Path) -> None:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)

    return Broken(edit, place, words)


def domain(name: str, words: str) -> Broken:
    """Adds a domain of this name."""
    file = f"domains/{name}/dbt_project.yml"
    project = f"name: {json.dumps(name)}\n"
    shown = printable(name)
    return put(file, project, 1, words, f"domains/{shown}/dbt_project.yml")


def raw(name: str, words: str) -> Broken:
    """Renames the raw table."""
    return swap(TOPICS, "- name: sales", f"- name: {name}", 7, words)


def schema(name: str) -> Broken:
    words = f"raw tables of `shop` must be in the schema `shop_raw`, not in `{name}`"
    return swap(TOPICS, "schema: shop_raw", f"schema: {name}", 4, words)


def topic(name: str) -> Broken:
    words = "cannot be the name of a topic. Use up to 249 letters"
    return swap(TOPICS, "topic: shop.sales", f"topic: {name}", 10, words)


def product(name: str, words: str = "cannot name a product. Use lower-case letters") -> Broken:
    return swap(ORDERS, "- name: orders", f"- name: {name}", 3, words)


def column(name: str, words: str) -> Broken:
    return swap(ORDERS, "{name: customer_id,", f"{{name: {name},", 14, words)


def raw_column(name: str, words: str) -> Broken:
    return swap(TOPICS, "{name: sold_at,", f"{{name: {name},", 15, words)


def link(place: str, target: str, words: str) -> Broken:
    def edit(root: Path) -> None:
        (root / place).symlink_to(target)

    return Broken(edit, f"{place}:1", words)


def folder(place: str, words: str) -> Broken:
    return Broken(lambda root: (root / place).mkdir(), f"{place}:1", words)


def pipe(place: str) -> Broken:
    def edit(root: Path) -> None:
        (root / place).parent.mkdir(exist_ok=True)
        (root / place).unlink(missing_ok=True)
        os.mkfifo(root / place)

    words = "this is a pipe, a socket or a device, and reading it might never end. Remove it."
    return Broken(edit, f"{place}:1", words)


def gone(place: str, found_at: str, words: str) -> Broken:
    return Broken(lambda root: (root / place).unlink(), found_at, words)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(n)}: &{chr(n)} [{', '.join([f'*{chr(n - 1)}'] * 9)}]\n" for n in range(98, 110)
)
NO_MAPPING = "must be a mapping of keys to values; it is"
NO_LIST = "must be a list (lines that begin with `- `); it is"
NO_TEXT = "must be text; it is"
NOT_UTF8 = "this is not UTF-8 text (byte 0xe9); save the file with the encoding UTF-8."
FIVE_THOUSAND = "".join(
    f"      - {{name: c{number}, data_type: bigint, description: x}}\n" for number in range(5000)
)
PUBLIC = "models:\n  - name: {}\n    config: {{access: public}}\n    columns: [{{name: a, data_type: date}}]\n"

BROKEN = {
    # Text and YAML
    "not UTF-8": put(ORDERS, b"version: 2\n# caf\xe9\n", 2, NOT_UTF8),
    "UTF-16": put(DOMAIN, "version: 2\n".encode("utf-16"), 1, "this is not UTF-8 text"),
    "SQL not UTF-8": put(SQL, b"select 1 as a\n-- caf\xe9\n", 2, NOT_UTF8),
    "SQL with a byte order mark": put(STAGING, b"\xef\xbb\xbfselect 1", 1, "a byte order mark"),
    "tab": put(DOMAIN, "version: 2\ngroups:\n\t- name: shop\n", 3, "cannot start any token"),
    "mapping in a value": swap(ORDERS, "description: What", "description: : What", 4,
                               "mapping values are not allowed"),
    "open bracket": put(DOMAIN, "groups: [\n", 1, "this is not valid YAML"),
    "NUL": put(DOMAIN, b"version: 2\na: \x00\n", 2, "control characters are not allowed"),
    "escape character": put(DOMAIN, b"version: 2\na: \x1b[31m\n", 2, "control characters"),
    "two documents": put(DOMAIN, "version: 2\n---\nversion: 2\n", 2, "another document"),
    "unknown alias": put(DOMAIN, "version: 2\ngroups: *no\n", 2, "undefined alias"),
    "unknown tag": put(DOMAIN, "version: !x 2\n", 1, "could not determine a constructor"),
    "Python object": put(DOMAIN, "a: !!python/object/apply:os.system [ls]\n", 1, "constructor"),
    "no such date": put(DOMAIN, "version: 2\na: 2024-99-01\n", 2, "`2024-99-01` cannot be read"),
    "endless number": put(DOMAIN, "a: " + "9" * 5000, 1, "cannot be read"),
    "recursive": put(DOMAIN, "a: &a [*a]\n", 1, "recursive"),
    "billion laughs": put(DOMAIN, LAUGHS, 7, "it holds more than 1,000,000 values"),
    "10,000 nested lists": put(DOMAIN, "a: " + "[" * 10_000, 1, "more than 60 levels deep"),
    "1,000,000 nested lists": put(DOMAIN, "a: " + "[" * 1_000_000, 1, "more than 60 levels deep"),
    "deep mappings": put(DOMAIN, "".join(f"{' ' * n}a:\n" for n in range(200)), 61, "60 levels"),
    "list as key": put(DOMAIN, "? [a]\n: 2\n", 1, "a key must be a word"),
    "mapping as key": put(DOMAIN, "? {a: 1}\n: 2\n", 1, "a key must be a word"),
    "merge of no mapping": put(DOMAIN, "a:\n  <<: 5\n", 2, "expected a mapping"),
    "duplicate key": swap(ORDERS, "    config:\n", "    config: {}\n    config:\n", 6,
                          "the key `config` is here twice (first in line 5)"),
    "duplicate key of a column": swap(ORDERS, "{name: order_id,", "{name: order_id, name: x,", 13,
                                      "the key `name` is here twice"),
    "list for a file": put(ORDERS, "- a\n", 1, "the file must hold a mapping"),
    "text for a file": put(ORDERS, "hello\n", 1, "the file must hold a mapping"),
    "empty project": put(PROJECT, "", 1, "dbt_project.yml has no `name`"),
    "sixties": swap(ORDERS, "hours: 24", "hours: 1:30", 11, "YAML reads `1:30` as 90. Write the number, or quotes around it."),
    "sixties below zero": swap(ORDERS, "hours: 24", "hours: -1:30:00", 11, "YAML reads `-1:30:00` as -5400."),
    "sixties with a point": swap(ORDERS, "hours: 24", "hours: 1:30.5", 11, "YAML reads `1:30.5` as 90.5."),
    "sixties in a flow": swap(ORDERS, "customer_id: 2", "customer_id: 10:30", 23, "YAML reads `10:30` as 630."),
    "sixties in seeds": put(f"{SHOP}/seeds/a.yml", "a:\n- b: [1:30]", 2, "YAML reads `1:30` as 90."),
    "YAML in seeds": put(f"{SHOP}/seeds/a.yml", "a: [", 1, "this is not valid YAML"),
    # Files
    "folder called like YAML": folder(f"{SHOP}/models/x.yml", "this is a folder, not a file"),
    "folder called like SQL": folder(f"{SHOP}/models/x.sql", "this is a folder, not a file"),
    "pipe called like YAML": pipe(f"{SHOP}/models/x.yml"),
    "pipe called like SQL": pipe(f"{SHOP}/models/x.sql"),
    "pipe of any name": pipe(f"{SHOP}/models/x.md"),
    "pipe in seeds": pipe(f"{SHOP}/seeds/x.csv"),
    "pipe for checks": pipe(CHECKS),
    "pipe for dependencies": pipe(DEPENDENCIES),
    "pipe for dbt_project.yml": pipe(PROJECT),
    "link to itself": link(f"{SHOP}/models/x.yml", "x.yml", "cannot be read: Too many levels"),
    "link to nothing": link(f"{SHOP}/models/x.yml", "y.yml", "cannot be read: No such file"),
    "link to a parent": link(f"{SHOP}/models/x", "..", "points to a folder that contains it"),
    "SQL link to nothing": link(f"{SHOP}/models/x.sql", "y.sql", "cannot be read: No such file"),
    "no dbt_project.yml": gone(PROJECT, f"{PROJECT}:1", "there is no such file"),
    "no SQL": gone(SQL, f"{ORDERS}:3", "product shop.orders has no SQL."),
    # dbt_project.yml and dependencies.yml
    "other name": swap(PROJECT, "name: shop", "name: sales", 1, "must be named `shop`"),
    "number for a name": swap(PROJECT, "name: shop", "name: 5", 1, NO_TEXT),
    "model-paths": swap(PROJECT, "[models]", "[sql]", 5, "`model-paths` must be [models]"),
    "model-paths as text": swap(PROJECT, "[models]", "models", 5, NO_LIST),
    "unknown key of a project": swap(PROJECT, "profile:", "profil:", 4,
                                     "`profil` is not a key that the mesh knows in dbt_project.yml. Did you mean"),
    "models as list": swap(PROJECT, "models:\n  shop:", "models:\n  - shop:", 9, NO_MAPPING),
    "root called otherwise": swap("dbt_project.yml", "name: mesh", "name: m", 1,
                                  "the root dbt project must be named `mesh`"),
    "dependency on itself": put(DEPENDENCIES, "projects:\n  - name: shop\n", 2, "names itself"),
    "dependency on no domain": put(DEPENDENCIES, "projects:\n  - name: x\n", 2,
                                   "there is no domain `x`. Domains: crm, mesh."),
    "circle": put(DEPENDENCIES, "projects:\n  - name: crm\n", 1,
                  "in a circle: crm -> shop -> crm. Remove one", f"{CRM}/dependencies.yml"),
    "dependency twice": put(f"{CRM}/dependencies.yml",
                            "projects:\n  - name: shop\n  - name: shop\n", 3, "is listed twice"),
    "dependencies as text": put(DEPENDENCIES, "projects: crm\n", 1, NO_LIST),
    "dependency as text": put(DEPENDENCIES, "projects:\n  - crm\n", 1, NO_MAPPING),
    "dependency without name": put(DEPENDENCIES, "projects:\n  - {}\n", 2, "has no `name`"),
    "dependencies broken": put(DEPENDENCIES, "projects: [\n", 1, "this is not valid YAML"),
    # Domains
    "two underscores": domain("a__b", "two underscores separate an environment from a domain"),
    "capital domain": domain("Sales", "cannot name a domain. Use lower-case letters (a-z)"),
    "hyphen in a domain": domain("my-sales", "cannot name a domain. Use lower-case"),
    "space in a domain": domain("my sales", "cannot name a domain. Use lower-case"),
    "digit first in a domain": domain("1st", "cannot name a domain. Use lower-case"),
    "domain named raw": domain("shop_raw", "the mesh adds `_raw` to the name of a domain (`shop`)"),
    "domain named build": domain("shop_build", "the mesh adds `_build` to the name"),
    "domain named landing": domain("shop_landing", "the mesh adds `_landing` to the name"),
    "domain of the ledger": domain("meshhouse", "reserved for another schema or folder"),
    "domain of the engine": domain("information_schema", "reserved for another schema or folder"),
    "domain main": domain("main", "reserved for another schema or folder"),
    "domain mesh": domain("mesh", "`mesh` is the domain of the root project"),
    "long domain": domain("d" * 64, "at most 63 characters"),
    "Cyrillic domain": domain("sal\u0435s", "cannot name a domain. Use lower-case"),
    "escape in a domain": domain("a\x1b[31m", "cannot name a domain"),
    # Raw tables
    "schema of another domain": schema("crm"),
    "schema of another domain's raw tables": schema("crm_raw"),
    "schema of own products": schema("shop"),
    "schema of own builds": schema("shop_build"),
    "schema of the ledger": schema("meshhouse"),
    "schema of an environment": schema("ana__shop_raw"),
    "schema as path": schema("../../../../OUT"),
    "schema in capitals": schema("SHOP_RAW"),
    "source named otherwise": swap(TOPICS, "  - name: shop_raw\n    schema: shop_raw", "  - name: crm_raw", 3,
                                   "must be in the schema `shop_raw`, not in `crm_raw`"),
    "table as path": raw("../../../../OUT", "cannot name a raw table. Use lower-case letters"),
    "table with a slash": raw("a/b", "cannot name a raw table"),
    "table with a dot": raw("a.b", "cannot name a raw table"),
    "table with a quote": raw("\"a'b\"", "cannot name a raw table"),
    "table in capitals": raw("Sales", "cannot name a raw table"),
    "table of rejected events": raw("sales__rejected", "`__rejected` is for the table of rejected"),
    "table named by a date": raw("2024-01-01", "`name` of a source table must be text; it is"),
    "table named no": raw("no", "`name` of a source table must be text; it is `false`"),
    "table named null": raw("null", "a source table has no `name`"),
    "table named by a list": raw("[a]", "must be text; it is a list"),
    "table with another identifier": swap(TOPICS, "        config:", "        identifier: x\n        config:",
                                          9, "`identifier` must be `sales`"),
    "no topic": swap(TOPICS, "topic: shop.sales, ", "", 7, "source table `sales` names no topic"),
    "topic as path": topic("../../x"),
    "topic of dots": topic(".."),
    "topic with a slash": topic("a/b"),
    "topic with a space": topic("a b"),
    "long topic": topic("t" * 250),
    "topic as number": swap(TOPICS, "topic: shop.sales", "topic: 5", 10, NO_TEXT),
    "unknown format": swap(TOPICS, "format: json", "format: xml", 7, "not a known format of events"),
    "percent below zero": swap(TOPICS, "format: json", "max_rejected_percent: -1", 10,
                               "give a number from 0 to 100"),
    "percent as text": swap(TOPICS, "format: json", "max_rejected_percent: many", 10,
                            "give a number from 0 to 100"),
    "changelog as text": swap(TOPICS, "format: json", "changelog: maybe", 10, "true or false"),
    "schema file elsewhere": swap(TOPICS, "format: json", "format: avro, schema: ../../../x.avsc", 10,
                                  "outside the folder of the domain"),
    "tables as mapping": put(TOPICS, "sources:\n  - name: shop_raw\n    tables: {a: 1}\n", 3, NO_LIST),
    "table as text": put(TOPICS, "sources:\n  - name: shop_raw\n    tables: [sales]\n", 3, NO_MAPPING),
    "sources as mapping": put(TOPICS, "sources:\n  name: shop_raw\n", 1, NO_LIST),
    "no columns": swap(TOPICS, "        columns:", "        tags:", 7, "has no columns"),
    "columns as mapping": put(TOPICS, "sources:\n  - name: shop_raw\n    tables:\n      - name: a\n"
                              "        meta: {topic: a}\n        columns: {a: bigint}\n", 6, NO_LIST),
    "meta as list": swap(TOPICS, "meta: {topic: shop.sales, format: json}", "meta: [topic]", 10,
                         NO_MAPPING),
    "raw table twice": put(f"{SHOP}/models/more.yml", "sources:\n  - name: shop_raw\n    tables:\n"
                           "      - name: sales\n        meta: {topic: a}\n"
                           "        columns: [{name: a, data_type: date}]\n",
                           7, "raw table `shop_raw.sales` is declared twice", TOPICS),
    "reserved column": raw_column("_offset", "landing adds a column of this name"),
    "reserved column in capitals": raw_column("_LANDED_AT", "landing adds a column of this name"),
    "column twice": raw_column("amount", "is here twice (first in line 14)"),
    "column in other case": raw_column("Amount", "is here twice, in other case"),
    "unknown type": swap(TOPICS, "timestamptz", "money", 15, "`money` is not a known type"),
    "encoding without effect": swap(
        TOPICS, 'data_type: "decimal(12,2)", ', 'data_type: "decimal(12,2)", config: {meta: '
        "{encoding: milliseconds}}, ", 14, "holds no timestamp or timestamptz; remove it"),
    "type as list": swap(TOPICS, "data_type: timestamptz", "data_type: [a]", 15, NO_TEXT),
    "no type": swap(TOPICS, "data_type: timestamptz, ", "", 15, "no data_type is given"),
    "huge decimal": swap(TOPICS, "decimal(12,2)", "decimal(99,2)", 14, "is not a known type"),
    "column with an escape": raw_column('"a\\e[31mb"', "must not contain `\\x1b`"),
    "column with a quote": raw_column("'a\"b'", "must not contain"),
    "column of two alphabets": raw_column("sold_\u0430t", "(U+0430) looks like another letter"),
    "empty column": raw_column("''", "use 1 to 255 characters"),
    "long column": raw_column("c" * 256, "use 1 to 255 characters"),
    # Models and products
    "product in capitals": product("Orders"),
    "product with a slash": product("a/b"),
    "product as path": product("../x"),
    "product with a space": product("my orders"),
    "product as date": product("2024-01-01", NO_TEXT),
    "product as boolean": product("yes", NO_TEXT),
    "product as number": product("1.5", NO_TEXT),
    "product as null": product("null", "a model has no `name`"),
    "product as mapping": product("{a: b}", "must be text; it is a mapping"),
    "product with an escape": product('"a\\e[2Jb"'),
    "product of two alphabets": product("\u043erders"),
    "long product": product("p" * 64, "at most 63 characters"),
    "no name": swap(ORDERS, "  - name: orders\n    description", "  - description", 3, "has no `name`"),
    "model as text": put(ORDERS, "models:\n  - orders\n", 1, NO_MAPPING),
    "models as mapping": put(ORDERS, "models:\n  orders: {}\n", 1, NO_LIST),
    "empty entry": put(ORDERS, "models:\n  -\n", 1, "an entry of"),
    "config as list": swap(ORDERS, "    config:\n", "    config: [a]\n    docs:\n", 5, NO_MAPPING),
    "access as list": swap(ORDERS, "access: public", "access: [public]", 6, NO_TEXT),
    "unknown access": swap(ORDERS, "access: public", "access: pubic", 6, "`access` of `orders` is `pubic`"),
    "capital access": swap(ORDERS, "access: public", "access: Public", 6, "Use public, protected, private"),
    "access as boolean": swap(ORDERS, "access: public", "access: true", 6, NO_TEXT),
    "misspelt config": swap(ORDERS, "      group: shop", "      grop: shop", 7,
                            "`grop` is not a key that the mesh knows in config of a model. Did you mean `group`?"),
    "contract as boolean": swap(ORDERS, "contract: {enforced: true}", "contract: true", 8, NO_MAPPING),
    "contract of text": swap(ORDERS, "enforced: true", "enforced: 'yes'", 8, "true or false"),
    "unknown group": swap(ORDERS, "group: shop", "group: shops", 3, "has no owner"),
    "grain as number": swap(ORDERS, "grain: [order_id]", "grain: 5", 10, NO_LIST),
    "grain as text": swap(ORDERS, "grain: [order_id]", "grain: order_id", 10, NO_LIST),
    "grain of numbers": swap(ORDERS, "grain: [order_id]", "grain: [1]", 10, NO_TEXT),
    "grain of no column": swap(ORDERS, "grain: [order_id]", "grain: [till]", 3, "names `till`"),
    "promise as text": swap(ORDERS, "hours: 24", "hours: soon", 11, "must be a number"),
    "promise below zero": swap(ORDERS, "hours: 24", "hours: -1", 11, "from 0 to 1,000,000"),
    "promises as list": swap(ORDERS, "{refreshed_within_hours: 24}", "[a]", 11, NO_MAPPING),
    "shared as text": swap(ORDERS, "grain: [order_id]", "grain: [order_id]\n        shared: all", 11,
                           "true or false"),
    "no such product column type": swap(ORDERS, "timestamptz", "instant", 16, "is not a known type"),
    "product column twice": column("order_id", "is here twice (first in line 13)"),
    "product column in other case": column("ORDER_ID", "is here twice, in other case"),
    "column without name": swap(ORDERS, "{name: sold_at, ", "{", 16, "a column has no `name`"),
    "column as text": swap(ORDERS, "    columns:\n", "    columns:\n      - till\n", 12, NO_MAPPING),
    "no product columns": put(ORDERS, PUBLIC.format("orders").replace("columns", "docs"), 2,
                              "product shop.orders has no columns"),
    "5,000 columns": swap(ORDERS, "    columns:\n", f"    columns:\n{FIVE_THOUSAND}", 13,
                          "has `c0` and 4,999 more, which orders.sql does not select"),
    "version as text": swap(ORDERS, "    columns:", "    versions: [{v: beta}]\n    columns:", 12,
                            "version `beta` of model `orders` cannot be used"),
    "version with a fraction": swap(ORDERS, "    columns:", "    versions: [{v: 2.5}]\n    columns:", 12,
                                    "version `2.5` of model `orders` cannot be used"),
    "version twice": swap(ORDERS, "    columns:", "    versions: [{v: 1}, {v: 1}]\n    columns:", 12,
                          "model `orders` declares version 1 twice"),
    "version without number": swap(ORDERS, "    columns:", "    versions: [{}]\n    columns:", 12,
                                   "a version of a model has no `v`"),
    "versions as number": swap(ORDERS, "    columns:", "    versions: 2\n    columns:", 12, NO_LIST),
    "version elsewhere": swap(ORDERS, "    columns:",
                              "    versions: [{v: 1, defined_in: ../../x}]\n    columns:", 12,
                              "`defined_in` is `../../x`"),
    "latest of none": swap(ORDERS, "    columns:",
                           "    latest_version: 3\n    versions: [{v: 1}]\n    columns:", 12,
                           "`latest_version` of model `orders` is `3`, but the versions"),
    "no date": swap(ORDERS, "    columns:", "    deprecation_date: soon\n    columns:", 12,
                    "`deprecation_date` is `soon`. Write it as 2027-01-31."),
    "product twice": put(f"{PRODUCTS}/more.yml", PUBLIC.format("orders"), 3,
                         "model `orders` is declared twice (first in more.yml:2)", ORDERS),
    "product in other case": put(f"{PRODUCTS}/more.yml", PUBLIC.format("ORDERS"), 3,
                                 "model `orders` differs from `ORDERS` in case only", ORDERS),
    "model in two files": put(f"{SHOP}/models/staging/orders.sql", "select 1 as a", 1,
                              "model `orders` is declared twice"),
    "model file with a space": put(f"{SHOP}/models/my model.sql", "select 1 as a", 1,
                                   "cannot name a model"),
    "model file beyond ASCII": put(f"{SHOP}/models/größe.sql", "select 1 as a", 1,
                                   "cannot name a model"),
    "private model with a slash": swap(STG_YML, "name: stg_sales", "name: stg/sales", 3,
                                       "`stg/sales` cannot name a model"),
    "constraint of no kind": swap(ORDERS, "{name: sold_at,", "{name: sold_at, constraints: [{type: x}],",
                                  16, "`x` is not a constraint"),
    "unknown key of a model": swap(ORDERS, "    description:", "    descripton:", 4, "is not a key that the mesh knows"),
    # Groups
    "groups as mapping": put(DOMAIN, "groups: {name: shop}\n", 1, NO_LIST),
    "group as text": put(DOMAIN, "groups: [shop]\n", 1, NO_MAPPING),
    "group without owner": put(DOMAIN, "groups:\n  - name: shop\n", 2, "a group has no `owner`"),
    "owner as text": put(DOMAIN, "groups:\n  - name: shop\n    owner: me\n", 3, NO_MAPPING),
    "no address": swap(DOMAIN, "shop@tiny.example", "nobody", 6, "`nobody` is not an e-mail address"),
    "address as number": swap(DOMAIN, "shop@tiny.example", "5", 6, NO_TEXT),
    "group twice": put(f"{SHOP}/models/more.yml", "groups:\n  - name: shop\n    owner: {name: a}\n", 2,
                       "group `shop` is declared twice"),
    "no groups": put(DOMAIN, "", 3, "product shop.orders has no owner.", ORDERS),
    # Jinja and references
    "open Jinja": swap(SQL, "('stg_sales')", "('stg_sales'", 6, "its Jinja cannot be read"),
    "unknown tag of Jinja": swap(STAGING, "select", "{% fro %}select", 1, "unknown tag 'fro'"),
    "open block": swap(STAGING, "select", "{% if x %}select", 7, "its Jinja cannot be read"),
    "unknown filter": swap(SQL, "'stg_sales')", "'stg_sales') | nofilter", 1, "nofilter"),
    "broken ref": swap(STAGING, "source('shop_raw', 'sales')", "ref('nope')", 7,
                       "ref('nope'): domain `shop` has no model of that name"),
    "broken source": swap(STAGING, "'sales')", "'salez')", 7,
                          "has no source of that name. Did you mean `shop_raw.sales`?"),
    "source of another domain": swap(STAGING, "'shop_raw', ", "'crm_raw', ", 7, "has no source"),
    "ref to no domain": swap(STAGING, "source('shop_raw', 'sales')", "ref('nope', 'x')", 7,
                             "There is no domain `nope`. Domains: crm, shop, mesh."),
    "ref to no product": swap(f"{CRM}/models/staging/stg_shop__orders.sql", "'orders'", "'order'", 5,
                              "shop publishes no product `order`"),
    "ref without dependency": swap(STAGING, "source('shop_raw', 'sales')", "ref('crm', 'customers')", 7,
                                   "without naming crm as a dependency"),
    "endless range": swap(SQL, "select", "{% for i in range(10**9) %}{% endfor %}select", 1,
                          "a `range` of 1,000,000,000 steps is too long"),
    "endless power": swap(SQL, "select", "{% set x = 10 ** 1000000000 %}select", 1, "is too large"),
    "endless text": swap(SQL, "select", "{% set x = 'x' * 10000000000 %}select", 1, "is too large"),
    "hidden range": swap(SQL, "select", "{% set n = 10 ** 9 %}{% for i in range(n) %}{% endfor %}select",
                         1, "Range too big"),
    "nested loops": swap(SQL, "select", "{% set l = range(90000) | list %}{% for a in l %}"
                         "{% for b in l %}{% for c in l %}{% endfor %}{% endfor %}{% endfor %}select",
                         1, "its Jinja takes longer than"),
    "division by zero": swap(SQL, "select", "{{ 1 / 0 }}select", 1, "division by zero"),
    "deep Jinja": put(SQL, "select {{ " + "(" * 5000 + "1" + ")" * 5000 + " }} as a", 1, "nested too"),
    "deep SQL": put(SQL, "select " + "(" * 5000 + "1" + ")" * 5000 + " as a", 1, "cannot be read"),
    "no select": put(SQL, "create table x (a int)", 1, "it is not a select statement"),
    "empty SQL": put(SQL, "", 1, "it is empty"),
    "star": put(SQL, "select * from x", 1, "must not select `*`"),
    "broken macro": put("macros/mine.sql", "\n{% macro x( %}{% endmacro %}", 2, "its Jinja cannot be read"),
    "macro not UTF-8": put("macros/mine.sql", b"-- \xe9", 1, NOT_UTF8),
    "broken profiles": put("profiles/profiles.yml", "meshhouse: [", 1, "this is not valid YAML"),
    # Checks
    "checks as mapping": put(CHECKS, "checks: {schema: }\n", 1, NO_LIST),
    "check as text": put(CHECKS, "checks:\n  - schema\n", 1, NO_MAPPING),
    "columns of checks as text": put(CHECKS, "columns: order_id\n", 1, NO_LIST),
    "column of checks as text": put(CHECKS, "columns: [order_id]\n", 1, NO_MAPPING),
    "checks of a column as mapping": put(CHECKS, "columns:\n  - name: order_id\n    checks: {missing: }\n",
                                         3, NO_LIST),
    "check of a column as text": put(CHECKS, "columns:\n  - name: order_id\n    checks: [missing]\n", 3,
                                     NO_MAPPING),
    "body of a check as number": put(CHECKS, "checks:\n  - row_count: 5\n", 2, NO_MAPPING),
    "threshold as number": put(CHECKS, "checks:\n  - row_count: {threshold: 5}\n", 2, NO_MAPPING),
    "unknown threshold": put(CHECKS, "checks:\n  - row_count: {threshold: {must_bee: 1}}\n", 2,
                             "`must_bee` is not a key that the mesh knows in a threshold. Did you mean `must_be`?"),
    "unknown check": put(CHECKS, "checks:\n  - rowcount:\n", 2, "Did you mean `row_count`?"),
    "unknown key of a check": put(CHECKS, "checks:\n  - failed_rows: {querry: a}\n", 2,
                                  "`querry` is not a key that the mesh knows in a check `failed_rows`"),
    "filter of all checks": put(CHECKS, "filter: order_id > 5\n", 1, "Write `filter` in each check"),
    "column with two entries": put(CHECKS, "columns:\n  - {name: order_id, checks: [missing: ]}\n"
                                   "  - {name: order_id, checks: [invalid: {valid_min: 0}]}\n", 3,
                                   "`order_id` has an entry in line 2 already."),
    "expression of a column": put(CHECKS, "columns:\n  - {name: order_id, column_expression: '1'}\n", 2,
                                  "`column_expression` is not a key"),
    "expression of a check": put(CHECKS, "columns:\n  - name: order_id\n    checks:\n"
                                 "      - missing: {column_expression: '1'}\n", 4,
                                 "`column_expression` is not a key"),
    "duplicate without columns": put(CHECKS, "checks:\n  - duplicate:\n", 2, "has no `columns`"),
    "query as list": put(CHECKS, "checks:\n  - failed_rows: {query: [a]}\n", 2, NO_TEXT),
    "checks broken": put(CHECKS, "checks: [\n", 1, "this is not valid YAML"),
    "checks not UTF-8": put(CHECKS, b"# \xe9\n", 1, NOT_UTF8),
    "checks of no product": put(f"{PRODUCTS}/order.checks.yml", "checks: []\n", 1,
                                "these checks belong to no product"),
    "check of no column": put(CHECKS, "columns:\n  - name: till\n", 2, "checks `till`"),
    # Unit tests
    "unit test without model": swap(ORDERS, "    model: orders\n", "", 18, "a unit test has no `model`"),
    "unit tests as mapping": swap(ORDERS, "unit_tests:\n", "unit_tests: {}\nanalyses:\n", 17, NO_LIST),
}  # fmt: skip

PLANTED = "domains/crm/models/products/customers.yml:3: product crm.customers has no description."
LINE = re.compile(r"[^:\x00-\x1f]+:\d+: \S.*")


@pytest.fixture
def planted(tmp_path, monkeypatch) -> Mesh:
    """A mesh with a finding in another domain, which each check must print as well."""
    mesh = make_mesh(tmp_path / "tiny")
    mesh.edit("domains/crm/models/products/customers.yml",
              "    description: Who bought. One row per customer.\n", "")  # fmt: skip
    monkeypatch.setattr(columns, "SECONDS", 1.0)
    monkeypatch.setenv("MESH_ROOT", str(mesh.root))
    monkeypatch.chdir(mesh.root)
    return mesh


@pytest.mark.parametrize("name", BROKEN)
def test_one_clear_line_says_what_is_broken_and_where(planted, name, capsys):
    broken = BROKEN[name]
    broken.edit(planted.root)
    assert run(cli, ["check"]) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    lines = said.out.splitlines()
    odd = [line for line in lines if not LINE.fullmatch(line)]
    assert not odd
    found = [
        each for each in lines if each.startswith(f"{broken.place}: ") and broken.words in each
    ]
    assert len(found) == 1, said.out
    line = found[0]
    assert line.isprintable()
    assert [each for each in lines if each.startswith(PLANTED)]


def test_there_are_at_least_110_kinds():
    assert len(BROKEN) >= 110


def test_columns_that_landing_adds_are_reserved():
    assert {name for name, _ in METADATA_COLUMNS} == LANDING_COLUMNS
