"""Whether an SQL statement only reads, told by its words. What can't be told counts as a write."""

from __future__ import annotations

import functools
import re

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|/\*(?![!+M]).*?\*/)        # comments, but for those that MySQL and MariaDB execute
    | (?P<text>'(?:[^'\\]|'')*')               # a backslash may escape the quote that follows, or not
    | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    | (?P<parameter>%%|%\(\w+\)s|%s|\?\d*|(?<!:):\w+|\$\d+)
    | (?P<cast>::)
    | (?P<operator>@[>@?]|<@)
    | (?P<word>[^\W\d]\w*)
    | (?P<number>\d[\w.]*)
    | (?P<other>-(?!-)|[+*/<>=!~|&^,.()\[\]%{}])
    """,
    re.VERBOSE | re.DOTALL,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WRITE = _words("alter create delete drop for grant insert into lock merge outfile replace truncate update")
"""Words with which one statement that begins with SELECT or WITH may write, or lock. The names of other statements, as
SHOW or CALL, can be nothing in it but a table's or a column's. A column that is called as one of these counts as well.
"""

_BEFORE_BRACKET = _words("""
    all and any array as between by case distinct else end escape except exists filter from group having ilike in
    intersect interval is join lateral like limit materialized not offset on or order over partition recursive select
    some then union using values when where with within
    """)

_TYPES = _words(
    "bit binary char character datetime decimal float nchar numeric nvarchar time timestamp varbinary varchar"
)

_FUNCTIONS = _words("""
    abs any_value array_agg array_length array_to_string avg bool_and bool_or cast ceil ceiling char_length
    character_length coalesce concat concat_ws count cume_dist curdate date date_add date_format date_part date_sub
    date_trunc datediff datetime dayofweek dense_rank extract first_value floor from_unixtime gen_random_uuid
    generate_series greatest group_concat ifnull initcap instr json_agg json_array json_array_elements
    json_array_elements_text json_array_length json_arrayagg json_build_array json_build_object json_contains
    json_contains_path json_each json_each_text json_extract json_extract_path json_extract_path_text
    json_group_array json_group_object json_keys json_length json_object json_object_agg json_object_keys
    json_objectagg json_query json_quote json_search json_tree json_type json_typeof json_unquote json_valid json_value
    jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object
    jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_object_agg jsonb_object_keys
    jsonb_path_exists jsonb_path_query jsonb_typeof julianday lag last_value lead least length lower lpad ltrim max
    md5 min mod now nth_value ntile nullif octet_length percent_rank percentile_cont percentile_disc
    plainto_tsquery position rand random rank regexp_replace replace round row_number row_to_json rpad rtrim sign
    split_part stddev strftime string_agg substr substring sum timestampdiff to_char to_date to_json to_jsonb
    to_timestamp to_tsquery to_tsvector trim ts_headline ts_rank typeof unix_timestamp unixepoch unnest upper variance
    websearch_to_tsquery
    """)
"""Functions of the databases' own that change nothing."""

_NAME = '"'  # of a table, or of a function that somebody made: quoted, or in a schema


@functools.lru_cache(1024)
def beyond_reading(statement: str) -> str | None:
    """What keeps it from being a SELECT, of one statement, without a lock, and with none but the functions here.

    None if nothing does.
    """
    first = before = earlier = ""
    place = depth = 0
    with_lists: set[int] = set()  # how deep those stand that name the queries of a WITH
    while place < len(statement):
        token = _TOKEN.match(statement, place)
        if token is None:
            return _named(first, f"{statement[place]!r}")
        place = token.end()
        kind, text = token.lastgroup, token[0]
        if kind == "space":
            continue
        if kind == "word":
            text = text.lower()
            if text in _WRITE and before != "." and not (text == "replace" and statement[place : place + 1] == "("):
                return _named(first or text, text.upper())
            first = first or text
            if text == "with" and before in {"", "("}:
                with_lists.add(depth)
            elif text == "select":
                with_lists.discard(depth)
        elif text == "(":
            is_column_list = depth in with_lists and earlier in {"with", "recursive", ","}
            if not is_column_list and not _may_open(before):
                return _named(first, "a function with a quoted name or a schema" if before is _NAME else before)
            depth += 1
        elif text == ")":
            with_lists.discard(depth)
            depth -= 1
        earlier, before = before, _NAME if kind == "quoted" or (kind == "word" and before == ".") else text
    return None if first in {"select", "with"} else _named(first, "")


def _named(first: str, what: str) -> str:
    """For a log line: the kind of statement, and what about a SELECT is more than reading."""
    if first not in {"select", "with"}:
        return first.upper() or "an empty statement"
    is_function = what[:1].islower() and " " not in what
    return f"SELECT with {'function ' if is_function else ''}{what}"


def _may_open(before: str) -> bool:
    """Whether a bracket after this begins no call of a function that may do anything."""
    is_word = before is _NAME or before == "]" or before[:1].isalpha() or before[:1] == "_"
    return not is_word or before in _BEFORE_BRACKET or before in _TYPES or before in _FUNCTIONS
