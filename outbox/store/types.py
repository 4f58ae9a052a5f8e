"""Column types, the database's clock, and a default, the same on every database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from outbox.core.clock import UNREADABLE
from outbox.store.databases import KNOWN, Database, of

T = TypeVar("T")


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """Aware datetimes in UTC with microseconds, on every database."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(of(dialect).moment)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        process = super().result_processor(dialect, coltype)
        if process is None:
            return None

        def careful(value: Any) -> datetime | None:
            try:
                return process(value)
            except (ValueError, TypeError, AttributeError, OverflowError):
                return UNREADABLE  # one row, edited by hand, must not end a list of many

        return careful

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: give it a time zone, e.g. datetime.now(UTC)")
        value = value.astimezone(UTC)
        return value if of(dialect).keeps_time_zones else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Digest(sa.types.TypeDecorator[str]):
    """A keyed hash of an address (`message.digest`), 32 hexadecimal digits; where the database prefers it, 16 bytes."""

    impl = sa.CHAR(32)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(of(dialect).digest or self.impl_instance)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        return value if value is None or of(dialect).digest is None else bytes.fromhex(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return str(value if of(dialect).digest is None else value.hex())


def utc(value: datetime) -> datetime:
    """An aware datetime in UTC, as `UtcDateTime` gives it, of one that came from the driver.

    That has the session's time zone, and between two of one zone Python does not count the hour of summer time.
    """
    return value.astimezone(UTC)


def big_integer() -> sa.types.TypeEngine[int]:
    """64 bits."""
    return _with_variants(sa.BigInteger(), lambda database: database.big_integer)


def short_integer() -> sa.types.TypeEngine[int]:
    """32 bits where that is worth it, for the ids of a table whose indexes are to be small; else 64."""
    return _with_variants(sa.BigInteger(), lambda database: database.short_integer)


def big_binary() -> sa.types.TypeEngine[bytes]:
    """Up to 4 GiB."""
    return _with_variants(sa.LargeBinary(), lambda database: database.big_binary)


def _with_variants(
    kind: sa.types.TypeEngine[T], own: Callable[[Database], sa.types.TypeEngine[T] | None]
) -> sa.types.TypeEngine[T]:
    """`kind`, and on each database that has a type of its own for it, that."""
    for database in KNOWN:
        if (variant := own(database)) is not None:
            kind = kind.with_variant(variant, *database.names)
    return kind


class No(sa.ColumnElement[bool]):
    """False as a column's default."""

    inherit_cache = True


@compiles(No)
def _no(element: No, compiler: SQLCompiler, **kw: Any) -> str:
    return of(compiler.dialect).false


class DbNow(FunctionElement[datetime]):
    """The database's clock plus a number of seconds: the one clock for due times, leases and heartbeats.

    It is the start of the statement, so that it can bound an index scan.
    """

    type = UtcDateTime()
    name = "db_now"
    inherit_cache = True

    def __init__(self, seconds: float | sa.ColumnElement[float] | None = None) -> None:
        if seconds is None:
            super().__init__()
        else:
            super().__init__(seconds if isinstance(seconds, sa.ColumnElement) else sa.literal(seconds, sa.Float()))


@compiles(DbNow)
def _now(element: DbNow, compiler: SQLCompiler, **kw: Any) -> str:
    return of(compiler.dialect).now(compiler.process(element.clauses, **kw))


class DbMicros(FunctionElement[int]):
    """The same clock as a whole number: microseconds since 1970."""

    type = sa.BigInteger()
    name = "db_micros"
    inherit_cache = True


@compiles(DbMicros)
def _micros(element: DbMicros, compiler: SQLCompiler, **kw: Any) -> str:
    return of(compiler.dialect).micros
