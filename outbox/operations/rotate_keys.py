"""Which keys something is still sealed with, and wrapping all of it with the newest one.

What is sealed is not decrypted for this: each value carries the key of its message, which is wrapped again. It may run
while mail is enqueued and sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from outbox.message import sealed, sealed_bytes
from outbox.message.keyring import NAME_LENGTH, Keyring
from outbox.operations.purge import take_write_lock
from outbox.store.databases import of
from outbox.store.models import Base
from outbox.store.reading import reading
from outbox.store.sealing import Sealable, SealableBinary, SealableJson, as_stored

PORTION = 200
"""Rows changed in one transaction; of those with bytes a tenth of it."""


@dataclass(slots=True)
class Rotated:
    """What was done."""

    rows: dict[str, int] = field(default_factory=dict)  # by table, without its prefix
    unopened: dict[str, int] = field(default_factory=dict)  # values whose key is missing, or that were changed


def in_use(connection: sa.Connection) -> dict[str, dict[str, int]]:
    """By the name of each key, how many values of which table are sealed with it. Reads all of the tables."""
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for table, columns in _tables():
        for column in columns:
            name, number = _name(column).label("name"), sa.func.count().label("number")
            for row in connection.execute(sa.select(name, number).where(_is_sealed(column)).group_by(name)):
                key = row.name.decode("ascii", "replace") if isinstance(row.name, bytes) else str(row.name)
                short = _short(table)
                found[key][short] = found[key].get(short, 0) + row.number
    return dict(found)


def rotate(engine: sa.Engine, ring: Keyring, *, told: Callable[[int], None] = lambda count: None) -> Rotated:
    """Wrap all that is sealed with an older key with the newest one; `told` gets the rows of each transaction."""
    done = Rotated()
    for table, columns in _tables():
        size = PORTION // 10 if any(isinstance(one.type, SealableBinary) for one in columns) else PORTION
        for changed, unopened in _portions(engine, ring, table, columns, size):
            name = _short(table)
            for counts, number in ((done.rows, changed), (done.unopened, unopened)):
                if number:
                    counts[name] = counts.get(name, 0) + number
            told(changed)
    return done


def _portions(
    engine: sa.Engine, ring: Keyring, table: sa.Table, columns: Sequence[sa.Column[Any]], size: int
) -> Iterator[tuple[int, int]]:
    """(rows changed, values that could not be) of each transaction."""
    keys = tuple(table.primary_key.columns)
    older = sa.or_(*(_is_older(column, ring.newest) for column in columns))
    after: tuple[Any, ...] | None = None
    while True:
        where = older if after is None else sa.and_(older, sa.tuple_(*keys) > sa.tuple_(*map(sa.literal, after)))
        page = sa.select(*keys).where(where).order_by(*keys).limit(size)
        with reading(engine) as connection:
            found = [tuple(row) for row in connection.execute(page)]
        if not found:
            return
        with engine.begin() as connection:
            take_write_lock(connection)
            yield _portion(connection, ring, table, columns, found)
        after = found[-1]


def _portion(
    connection: sa.Connection,
    ring: Keyring,
    table: sa.Table,
    columns: Sequence[sa.Column[Any]],
    found: Sequence[tuple[Any, ...]],
) -> tuple[int, int]:
    keys = tuple(table.primary_key.columns)
    these = sa.or_(*(_is_row(keys, one) for one in found))
    stored = [as_stored(column).label(f"value_{number}") for number, column in enumerate(columns)]
    rows = connection.execute(of(connection).lock(sa.select(*keys, *stored).where(these).order_by(*keys))).all()
    changed = unopened = 0
    for row in rows:
        values = {}
        for column, value in zip(columns, row[len(keys) :], strict=True):
            if _stale(value, ring.newest):
                again = _again(value, ring)
                unopened += again is None
                if again is not None:
                    values[column.name] = again
        if values:
            connection.execute(table.update().where(_is_row(keys, row[: len(keys)])).values(_as_stored(table, values)))
            changed += 1
    return changed, unopened


def _as_stored(table: sa.Table, values: dict[str, Any]) -> dict[str, Any]:
    """What is to be written as it is, whatever its column's type makes of clear values."""
    kinds = {name: table.c[name].type for name in values}
    return {
        name: sa.bindparam(None, value, type_=kinds[name].impl_instance)  # type: ignore[attr-defined]
        for name, value in values.items()
    }


def _tables() -> Iterator[tuple[sa.Table, list[sa.Column[Any]]]]:
    """The tables with columns that may be sealed."""
    for table in Base.metadata.sorted_tables:
        columns = [one for one in table.columns if isinstance(one.type, Sealable | SealableJson | SealableBinary)]
        if columns:
            yield table, columns


def _text(column: sa.Column[Any]) -> tuple[sa.ColumnElement[Any], str]:
    """A sealed column as text, and how it begins: JSON has a quote before it."""
    if isinstance(column.type, SealableJson):
        return sa.cast(as_stored(column), sa.Text), f'"{sealed.PREFIX}'
    return as_stored(column), sealed.PREFIX


def _head(column: sa.Column[Any], length: int) -> sa.ColumnElement[Any]:
    return sa.func.substr(as_stored(column), 1, length, type_=sa.LargeBinary())


def _is_sealed(column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    if isinstance(column.type, SealableBinary):
        return _head(column, len(sealed_bytes.MAGIC)) == sealed_bytes.MAGIC
    text, start = _text(column)
    return sa.func.substr(text, 1, len(start), type_=sa.Text()) == start


def _is_older(column: sa.Column[Any], newest: str) -> sa.ColumnElement[bool]:
    if isinstance(column.type, SealableBinary):
        whole = sealed_bytes.MAGIC + newest.encode()
        return sa.and_(_is_sealed(column), _head(column, len(whole)) != whole)
    return sa.and_(_is_sealed(column), _name(column) != newest)


def _name(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """The name of the key, of what is sealed."""
    if isinstance(column.type, SealableBinary):
        start = len(sealed_bytes.MAGIC) + 1
        return sa.func.substr(as_stored(column), start, NAME_LENGTH, type_=sa.LargeBinary())
    text, start_ = _text(column)
    return sa.func.substr(text, len(start_) + 1, NAME_LENGTH, type_=sa.Text())


def _stale(value: Any, newest: str) -> bool:
    if isinstance(value, str):
        return sealed.is_sealed(value) and sealed.key_name(value) != newest
    if value is None or isinstance(value, list | dict):
        return False
    data = bytes(value)
    return sealed_bytes.is_sealed(data) and sealed_bytes.key_name(data) != newest


def _again(value: Any, ring: Keyring) -> Any:
    if isinstance(value, str):
        return sealed.wrapped_again(value, ring)
    data = bytes(value)
    header = sealed_bytes.header_again(data[: sealed_bytes.HEADER], ring)
    return None if header is None else header + data[sealed_bytes.HEADER :]


def _is_row(keys: Sequence[sa.Column[Any]], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    return sa.and_(*(key == value for key, value in zip(keys, values, strict=True)))


def _short(table: sa.Table) -> str:
    return table.name.removeprefix("outbox_")
