"""Where the databases differ: types, the clock, locking, and how a worker's engine is set up. Nothing else is SQL here.

Known limits: SQLite's clock has a resolution of 1 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
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

MYSQL_FAMILY = frozenset({"mysql", "mariadb"})

CHANNEL = "outbox"
"""The channel of PostgreSQL's NOTIFY."""

SQLITE_BUSY_SECONDS = 30
"""How long SQLite waits for another writer before it says "database is locked"."""


IDLE_TRANSACTION_SECONDS = 10
"""After this the server ends a worker's transaction in which nothing happens: that worker stands still, and its row
locks hold up the others."""

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


def worker_engine(url: sa.URL | str, *, connections: int = 4, echo: bool = False) -> Engine:
    """An engine for the daemon: short transactions, dead connections noticed, parameters (mail!) kept out of errors.

    `connections`: how many threads use it at once.
    """
    url = sa.make_url(url)
    options: dict[str, Any] = {"hide_parameters": True, "echo": echo}
    if url.get_dialect().name == "sqlite":
        engine = sa.create_engine(url, **options, connect_args={"timeout": SQLITE_BUSY_SECONDS})
        configure_sqlite(engine, immediate=True)
        return engine
    if url.get_dialect().name in MYSQL_FAMILY:
        # at REPEATABLE READ an open claim blocks the application's inserts, and two claims of an empty queue deadlock
        options["isolation_level"] = "READ COMMITTED"
    engine = sa.create_engine(
        url,
        **options,
        pool_size=connections,
        max_overflow=2,
        pool_pre_ping=True,
        pool_recycle=1800,
        pool_timeout=30,
        connect_args=_connect_limits(url),
    )
    _end_idle_transactions(engine)
    return engine


def configure_sqlite(engine: Engine, *, immediate: bool) -> None:
    """WAL, foreign keys, a busy timeout; with `immediate` each transaction takes the write lock at its start.

    A deferred transaction that reads and then writes fails at once with "database is locked" when another has
    committed in between, whatever the busy timeout; so a worker's must be immediate. `synchronous=FULL` stays: a
    "sent" that a power cut takes back is a duplicate.
    """

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: ConnectionPoolEntry) -> None:
        if immediate:
            connection.isolation_level = None  # or the driver begins transactions of its own
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_SECONDS * 1000}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    if immediate:

        @event.listens_for(engine, "begin")
        def begun(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")


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


def steady_plans(connection: Connection) -> None:
    """Have statements that must be quick use the indexes they were made for, whatever the statistics say.

    Those of a queue are always wrong: it was empty when they were taken, or full.
    """
    if connection.dialect.name == "postgresql":
        for kind in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
            connection.exec_driver_sql(f"SET enable_{kind} = off")
        connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")  # planning a claim takes longer than it
        connection.exec_driver_sql("SET jit = off")  # and compiling it longer still


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


def _end_idle_transactions(engine: Engine) -> None:
    statement = {
        "postgresql": f"SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_SECONDS}s'",
        # MySQL has no such setting; in the comment MariaDB alone sees it
        "mysql": f"SET @outbox_worker = 1 /*M!, SESSION idle_transaction_timeout = {IDLE_TRANSACTION_SECONDS} */",
    }["postgresql" if engine.dialect.name == "postgresql" else "mysql"]

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        connection.commit()


def _connect_limits(url: sa.URL) -> dict[str, Any]:
    """Time limits of a connection, in seconds: a database that is gone must be noticed, not waited for."""
    driver = url.get_driver_name()
    if driver in {"psycopg", "psycopg2"}:
        return {
            "connect_timeout": 10,
            "keepalives": 1,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
        }
    if driver == "pymysql":
        return {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60}
    return {}
