"""Many rows in one statement, on PostgreSQL: a parameter for each column, not for each value.

A statement with a parameter for each value is parsed and rendered at each call, in the driver and in the server;
that costs more than writing the rows. Within an array each element is quoted, which costs as much again where elements
are long: bytes travel end to end in one value, JSON as a sequence of texts (RFC 7464's separator).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from outbox.store.databases.values import Given, Types

_PLACE = "place"
_SEPARATOR = "\x1e"  # never in JSON: a string's control characters are escaped there
_START, _LENGTH = "_start", "_length"


def insert_from_arrays(
    table: sa.Table, types: Types, computed: Callable[[Given], Mapping[str, Any]]
) -> postgresql.Insert:
    """Insert a row for each element of what `arrays` makes for the same `types`, in their order.

    `types`: what is given for each row, by its name. Which columns come of it: `computed`, and each given one that is
    a column's name and that `computed` does not say.
    """
    unnested: dict[str, Any] = {}
    for name, kind in types.items():
        if isinstance(kind, sa.LargeBinary):
            unnested |= {name + part: _array(name + part, sa.Integer()) for part in (_START, _LENGTH)}
        elif isinstance(kind, sa.JSON):
            texts = sa.func.string_to_array(sa.bindparam(name, type_=sa.Text()), _SEPARATOR, "")
            unnested[name] = sa.cast(texts, postgresql.ARRAY(sa.JSON()))
        else:
            # a cast to VARCHAR(n) would cut off what is too long, where the column refuses it
            unnested[name] = _array(name, sa.Text() if isinstance(kind, sa.String) else kind)
    columns = [sa.column(name, array.type.item_type) for name, array in unnested.items()]
    function = sa.func.unnest(*unnested.values())
    given = function.table_valued(*columns, with_ordinality=_PLACE).render_derived("given")
    values = {name: _value(given, name, kind) for name, kind in types.items() if name in table.c}
    values.update(computed(given))
    rows = sa.select(*values.values()).select_from(given).order_by(given.c[_PLACE])
    return postgresql.insert(table).from_select(list(values), rows, include_defaults=False)


def arrays(types: Types, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters for rows; what a row lacks is None, but for bytes."""
    parameters: dict[str, Any] = {}
    for name, kind in types.items():
        values: list[Any] = [row.get(name) for row in rows]
        if isinstance(kind, sa.LargeBinary):
            lengths = [len(value) for value in values]
            parameters[name] = b"".join(values)
            parameters[name + _START] = list(itertools.accumulate(lengths[:-1], initial=1))
            parameters[name + _LENGTH] = lengths
        elif isinstance(kind, sa.JSON):
            parameters[name] = _SEPARATOR.join("" if value is None else json.dumps(value) for value in values)
        else:
            parameters[name] = values
    return parameters


def _array(name: str, element: sa.types.TypeEngine[Any]) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=postgresql.ARRAY(element))


def _value(given: Given, name: str, kind: sa.types.TypeEngine[Any]) -> sa.ColumnElement[Any]:
    if not isinstance(kind, sa.LargeBinary):
        return given.c[name]
    whole = sa.cast(sa.bindparam(name, type_=kind), kind)  # not every driver says the type of bytes
    return sa.func.substr(whole, given.c[name + _START], given.c[name + _LENGTH])
