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
    | (?P<word>[^\W\d]\w*)
    | (?P<number>\d[\w.]*)
    | (?P<other>-(?!-)|[+*/<>=!~|&^,.()\[\]%{}])
    """,
    re.VERBOSE | re.DOTALL,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WRITE = _words("""
    alter analyze attach begin call cluster commit copy create deallocate declare delete detach discard do drop
    execute for grant handler import insert into kill listen load lock merge notify optimize outfile pragma prepare
    refresh reindex release rename replace reset revoke rollback savepoint set share show start truncate unlisten
    unlock update use vacuum
    """)
"""Words that a statement which only reads has no use for. A column that is called so counts as a write as well."""

_BEFORE_BRACKET = _words("""
    all and any as between by case distinct else end escape except exists filter from group having ilike in intersect
    interval is join lateral like limit materialized not offset on or order over partition recursive select some then
    union using values when where with within
    """)

_TYPES = _words(
    "bit binary char character datetime decimal float nchar numeric nvarchar time timestamp varbinary varchar"
)

_FUNCTIONS = _words("""
    abs avg cast ceil ceiling char_length character_length coalesce concat concat_ws count date date_part date_trunc
    datetime dense_rank extract floor greatest group_concat ifnull json_extract json_quote julianday least length lower
    ltrim max min mod nullif now octet_length position rank round row_number rtrim sign strftime string_agg substr
    substring sum trim typeof upper
    """)
"""Functions of the databases' own that change nothing."""

_NAME = '"'  # of a table, or of a function that somebody made: quoted, or in a schema


@functools.lru_cache(1024)
def only_reads(statement: str) -> bool:
    """Whether it is a SELECT, of one statement, without a lock, and with no function but the harmless ones here."""
    first = before = ""
    place = 0
    while place < len(statement):
        token = _TOKEN.match(statement, place)
        if token is None:
            return False
        place = token.end()
        kind, text = token.lastgroup, token[0]
        if kind == "space":
            continue
        if kind == "word":
            text = text.lower()
            if text in _WRITE and before != ".":
                return False
            first = first or text
        elif text == "(" and not _may_open(before):
            return False
        before = _NAME if kind == "quoted" or (kind == "word" and before == ".") else text
    return first in {"select", "with"}


def _may_open(before: str) -> bool:
    """Whether a bracket after this begins no call of a function that may do anything."""
    is_word = before is _NAME or before[:1].isalpha() or before[:1] == "_"
    return not is_word or before in _BEFORE_BRACKET or before in _TYPES or before in _FUNCTIONS
