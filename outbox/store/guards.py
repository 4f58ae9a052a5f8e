"""`guard=`: a condition of the application's, stored with a message as SQL of its database, asked before it is sent.

It is made of a SQLAlchemy expression, so values are parameters, and never of a text; it can only read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.sql import visitors
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ColumnElement, TextClause
from sqlalchemy.sql.selectable import Select

from outbox.core.errors import MessageError, OutboxError
from outbox.store.databases import of
from outbox.store.databases.drivers import style

LONGEST = 16 * 1024
"""Characters of JSON."""

_EXAMPLE = "Give a condition or a select of SQLAlchemy, such as sa.exists().where(Customer.id == 7, Customer.active)."
_READ: dict[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": Decimal,
    "uuid": UUID,
}


def check(guard: object) -> None:
    """Raises MessageError for what is not one condition that only reads."""
    if not isinstance(guard, ColumnElement | Select):
        raise MessageError("guard", f"is of type {type(guard).__name__}", _EXAMPLE)
    part: Any
    for part in visitors.iterate(guard):
        if isinstance(part, TextClause):
            raise MessageError("guard", "holds a text() of SQL", _EXAMPLE)
        if isinstance(part, UpdateBase):
            raise MessageError("guard", "writes", _EXAMPLE)
        if isinstance(part, Select) and part._for_update_arg is not None:
            raise MessageError("guard", "locks rows (with_for_update)", _EXAMPLE)


def stored(dialect: sa.Dialect, guard: Any) -> dict[str, Any]:
    """As it is kept: what `check` has passed, in the words of the database. Raises MessageError."""
    condition = sa.exists(guard.subquery()) if isinstance(guard, Select) else guard
    try:
        compiled = (
            sa.select(sa.literal(1))
            .where(condition)
            .compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        )
        named = compiled.construct_params()
        processors = getattr(compiled, "_bind_processors", {})
        values = {name: processors[name](value) if name in processors else value for name, value in named.items()}
    except sa.exc.SQLAlchemyError as error:
        raise MessageError("guard", f"can't be written as SQL ({error})", _EXAMPLE) from None
    order = getattr(compiled, "positiontup", None)
    given: Any = {n: _plain(v) for n, v in values.items()} if order is None else [_plain(values[n]) for n in order]
    kept = {"sql": str(compiled), "values": given, "style": style(dialect)}
    if len(json.dumps(kept)) > LONGEST:
        raise MessageError("guard", f"has more than {LONGEST:,} characters", "Ask for less, by a key of your rows.")
    return kept


def same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two conditions, as they are stored, are one. Of two drivers they can't be compared, and count as one."""
    if one is None or other is None:
        return one is other
    return bool(one["style"] != other["style"]) or json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def holds(connection: sa.Connection, kept: Mapping[str, Any]) -> bool:
    """Whether the condition is true. The transaction is read-only, and rolled back. Raises what the database does."""
    if kept["style"] != (own := style(connection.dialect)):
        raise OutboxError(f"it was stored for {kept['style']}, and this worker's driver takes {own}")
    given = kept["values"]
    values: Any = (
        {name: _value(one) for name, one in given.items()} if isinstance(given, dict) else tuple(map(_value, given))
    )
    begin, end = of(connection).reads_only
    connection.exec_driver_sql(begin)
    try:
        return connection.exec_driver_sql(kept["sql"], values).first() is not None
    finally:
        connection.rollback()
        if end is not None:
            connection.exec_driver_sql(end)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    for name, kind in (("datetime", datetime), ("date", date)):
        if isinstance(value, kind):
            return {name: value.isoformat()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, UUID):
        return {"uuid": str(value)}
    remedy = "Compare with texts, numbers, dates, decimals and UUIDs."
    raise MessageError("guard", f"holds a value of type {type(value).__name__}", remedy)


def _value(kept: Any) -> Any:
    if not isinstance(kept, dict):
        return kept
    ((name, text),) = kept.items()
    return _READ[name](text)
