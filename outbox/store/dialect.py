"""Where the databases differ: types, the clock, locking. Nothing else is SQL here.

Known limits: SQLite's clock has a resolution of 1 ms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from outbox.core.clock import UNREADABLE
from outbox.core.progress import got_on

MYSQL_FAMILY = frozenset({"mysql", "mariadb"})

CHANNEL = "outbox"
"""The channel of PostgreSQL's NOTIFY."""

SQLITE_BUSY_SECONDS = 30
"""How long SQLite waits for another writer before it says "database is locked"."""

_READS = "outbox_reads"  # the execution option of a connection that only looks

OUTAGES = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError, sa.exc.TimeoutError)
"""What is raised when a database is away, full, locked, or chose us in a deadlock: the same again may succeed."""

DATABASE_ERROR = sa.exc.SQLAlchemyError


def disconnected(error: Exception) -> bool:
    """Whether it says that there is no connection, and nothing of what was asked."""
    if isinstance(error, sa.exc.DBAPIError):
        return error.connection_invalidated or error.statement is None  # it was lost, or could not be made
    return isinstance(error, sa.exc.TimeoutError)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """Aware datetimes in UTC with microseconds, on every database."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in MYSQL_FAMILY:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))  # plain DATETIME drops fractions
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        process = super().result_processor(dialect, coltype)
        if process is None:
            return None

        def careful(value: Any) -> datetime | None:
            try:
                return process(value)
            except (ValueError, TypeError, AttributeError):
                return UNREADABLE  # one row, edited by hand, must not end a list of many

        return careful

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: give it a time zone, e.g. datetime.now(UTC)")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utc(value: datetime) -> datetime:
    """An aware datetime in UTC, as `UtcDateTime` gives it, of one that came from the driver.

    That has the session's time zone, and between two of one zone Python does not count the hour of summer time.
    """
    return value.astimezone(UTC)


def big_integer() -> sa.types.TypeEngine[int]:
    """64 bits; on SQLite the INTEGER that a row id must be."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def big_binary() -> sa.types.TypeEngine[bytes]:
    """Up to 4 GiB: MariaDB's plain BLOB holds 64 KB."""
    return sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


class No(sa.ColumnElement[bool]):
    """False as a column's default, in the form in which the database gives it back."""

    inherit_cache = True


@compiles(No)
def _no(element: No, compiler: SQLCompiler, **kw: Any) -> str:
    return "false" if compiler.dialect.name == "postgresql" else "0"


class DbNow(FunctionElement[datetime]):
    """The database's clock plus a number of seconds: the one clock for due times, leases and heartbeats.

    It is the start of the statement, so that it can bound an index scan (PostgreSQL's `clock_timestamp()` can't).
    """

    type = UtcDateTime()
    name = "db_now"
    inherit_cache = True

    def __init__(self, seconds: float | sa.ColumnElement[float] | None = None) -> None:
        if seconds is None:
            super().__init__()
        else:
            super().__init__(seconds if isinstance(seconds, sa.ColumnElement) else sa.literal(seconds, sa.Float()))


@compiles(DbNow, "postgresql")
def _now_postgresql(element: DbNow, compiler: SQLCompiler, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(statement_timestamp() + make_interval(secs => {seconds}))" if seconds else "statement_timestamp()"


@compiles(DbNow, "sqlite")
def _now_sqlite(element: DbNow, compiler: SQLCompiler, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    shift = f", printf('%+.3f seconds', {seconds})" if seconds else ""
    # six digits, as SQLAlchemy stores a datetime: the text is what is compared
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now'{shift}) || '000')"


@compiles(DbNow, "mysql")
@compiles(DbNow, "mariadb")
def _now_mysql(element: DbNow, compiler: SQLCompiler, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(UTC_TIMESTAMP(6) + INTERVAL ROUND({seconds} * 1000000) MICROSECOND)" if seconds else "UTC_TIMESTAMP(6)"


def configure_sqlite(engine: Engine, *, immediate: bool, busy: float = SQLITE_BUSY_SECONDS) -> None:
    """WAL, foreign keys, a busy timeout of `busy` seconds; with `immediate` each transaction that may write takes the
    write lock at its start.

    A deferred transaction that reads and then writes fails at once with "database is locked" when another has
    committed in between, whatever the busy timeout; so a worker's must be immediate, but for those that only read (see
    `reading`). `synchronous=FULL` stays: a "sent" that a power cut takes back is a duplicate.
    """

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: ConnectionPoolEntry) -> None:
        if immediate:
            _begins_by_hand(connection)
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {math.ceil(busy * 1000)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    if immediate:

        @event.listens_for(engine, "begin")
        def begun(connection: Connection) -> None:
            driver: Any = connection.connection.dbapi_connection
            if driver.isolation_level is not None:  # a listener of the application's, at each checkout
                _begins_by_hand(driver)
            if driver.in_transaction:  # begun, in another way, by a listener of the application's
                driver.execute("ROLLBACK")
            reads = connection.get_execution_options().get(_READS)
            connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _begins_by_hand(connection: Any) -> None:
    """Let Python's driver neither begin nor end transactions of its own."""
    if hasattr(connection, "autocommit"):  # from Python 3.12 on; True would make a rollback do nothing
        connection.autocommit = -1  # sqlite3.LEGACY_TRANSACTION_CONTROL
    connection.isolation_level = None


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection to look with, not to write: it takes no lock, and waits for none."""
    with engine.connect() as connection:
        yield connection.execution_options(**{_READS: True})


@contextmanager
def only_reading(connection: Connection) -> Iterator[None]:
    """A transaction of that kind on a connection that is used for others as well."""
    connection.execution_options(**{_READS: True})
    try:
        with connection.begin():
            yield
    finally:
        connection.execution_options(**{_READS: False})


def tell_progress(engine: Engine) -> None:
    """Have each statement tell that the thread which makes it gets on: see `progress`."""

    if not event.contains(engine, "before_cursor_execute", _executing):
        event.listen(engine, "before_cursor_execute", _executing)


def _executing(*_: Any) -> None:
    got_on()


def skip_locked(statement: sa.Select[Any], dialect: str) -> sa.Select[Any]:
    """Lock the rows that `statement` selects, passing over those that another claim holds.

    On SQLite nothing: `BEGIN IMMEDIATE` already holds the one write lock.
    """
    if dialect == "sqlite":
        return statement
    return statement.with_for_update(skip_locked=True, key_share=dialect == "postgresql")


def latest(statement: sa.Select[Any], dialect: str) -> sa.Select[Any]:
    """`statement` such that it sees what belongs to rows that a locking read has just seen.

    In MariaDB a transaction that is committing is past for a locking read a moment before it is for a plain one: a
    claim saw a delivery, and not the message that was inserted before it.
    """
    return statement.with_for_update(read=True) if dialect in MYSQL_FAMILY else statement


def table_text(engine: Engine, table: sa.Table) -> str:
    """The name of a table as SQL text, with the schema that the engine translates its own to."""
    schemas = engine.get_execution_options().get("schema_translate_map") or {}
    schema, quoting = schemas.get(table.schema, table.schema), engine.dialect.identifier_preparer
    return f"{quoting.quote_schema(schema)}.{quoting.quote(table.name)}" if schema else quoting.quote(table.name)


def now_text(dialect: Dialect, seconds: str) -> str:
    """`DbNow` as SQL text; `seconds` is SQL, too."""
    now = str(DbNow(sa.literal_column("{seconds}")).compile(dialect=dialect))
    return now.replace(":", r"\:").replace("{seconds}", seconds)  # the colons are no parameters


def frozen_text(dialect: Dialect, statement: str, moment: datetime) -> str:
    """`statement` with `moment` in the place of the database's clock: for tests that let time stand still."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    if dialect.name == "postgresql":
        return statement.replace("statement_timestamp()", f"TIMESTAMPTZ '{text}+00'")
    if dialect.name == "sqlite":
        return statement.replace("'%Y-%m-%d %H:%M:%f', 'now'", f"'%Y-%m-%d %H:%M:%f', '{text[:-3]}'")
    return statement.replace("UTC_TIMESTAMP(6)", f"TIMESTAMP'{text}'")


def time_text(dialect: Dialect, moment: datetime) -> str:
    """A point in time as the text that the database takes for one in UTC."""
    zone = "+00" if dialect.name == "postgresql" else ""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f") + zone


def rows_text(dialect: Dialect, columns: Mapping[str, type]) -> str:
    """The FROM item `i`: one row for each object in the JSON array that is bound as `rows`. Not for SQLite.

    One statement for many rows is one round trip, and one plan.
    """
    types = _JSON_TYPES["postgresql" if dialect.name == "postgresql" else "mysql"]
    if dialect.name == "postgresql":
        typed = ", ".join(f"{name} {types[kind]}" for name, kind in columns.items())
        return f"json_to_recordset(CAST(:rows AS json)) AS i({typed})"
    typed = ", ".join(f"{name} {types[kind]} PATH '$.{name}'" for name, kind in columns.items())
    return f"JSON_TABLE(:rows, '$[*]' COLUMNS({typed})) AS i"


def update_text(dialect: Dialect, table: str, source: str | None, changes: Mapping[str, str], where: str) -> str:
    """An UPDATE of `table` as `d`, from `source` (see `rows_text`) if there is one."""
    if dialect.name in MYSQL_FAMILY:
        assignments = ", ".join(f"d.{name} = {value}" for name, value in changes.items())
        return f"UPDATE {table} AS d JOIN {source} ON {where} SET {assignments}"  # noqa: S608 - no data in it
    assignments = ", ".join(f"{name} = {value}" for name, value in changes.items())
    origin = "" if source is None else f" FROM {source}"
    return f"UPDATE {table} AS d SET {assignments}{origin} WHERE {where}"  # noqa: S608 - no data in it


_JSON_TYPES: dict[str, dict[type, str]] = {
    "postgresql": {int: "bigint", float: "double precision", str: "text", datetime: "timestamptz"},
    "mysql": {int: "BIGINT", float: "DOUBLE", str: "VARCHAR(1000)", datetime: "DATETIME(6)"},
}
