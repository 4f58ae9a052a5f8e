"""SQLite: a file, one writer, no server.

Known limits: its clock has a resolution of 1 ms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, Pool, SingletonThreadPool

from outbox.store.databases.base import Database
from outbox.store.databases.drivers import driver_connection, is_autocommit, shown
from outbox.store.databases.news import FileWatch
from outbox.store.databases.sqlite_file import DataVersion, is_replaced, notice_replaced
from outbox.store.reading import only_reads

BUSY_SECONDS = 30
"""How long SQLite waits for another writer before it says "database is locked"."""


class SQLite(Database):
    """A file, or memory."""

    names = ("sqlite",)
    title = "SQLite"

    in_process = True
    one_writer = True
    reads_only = ("PRAGMA query_only = ON", "PRAGMA query_only = OFF")
    numbers_new_rows = True
    alters_constraints = False

    big_integer = short_integer = sa.Integer()  # the INTEGER that a row id must be
    partial_indexes = True
    ids_once = {"sqlite_autoincrement": True}

    clock = "'%Y-%m-%d %H:%M:%f', 'now'"
    """Of `strftime`."""

    micros = "(CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)"

    def now(self, seconds: str) -> str:
        """Six digits, as SQLAlchemy stores a datetime: the text is what is compared."""
        shift = f", printf('%+.3f seconds', {seconds})" if seconds else ""
        return f"(strftime({self.clock}{shift}) || '000')"

    def reuses_ids(self, connection: Connection, table: sa.Table) -> bool:
        if not table.dialect_options["sqlite"]["autoincrement"]:
            return False
        statement = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name")
        return "AUTOINCREMENT" not in str(connection.execute(statement, {"name": table.name}).scalar()).upper()

    def skip_locked(self, statement: sa.Select[Any], *, to_delete: bool = False) -> sa.Select[Any]:
        """Nothing: `BEGIN IMMEDIATE` already holds the one write lock."""
        return statement

    def lock(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        return statement

    def keep(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        return statement

    def alone(self, connection: Connection) -> AbstractContextManager[None]:
        """It is: the file is locked."""
        return nullcontext()

    def insert_unless_there(self, table: sa.Table, unique: Sequence[str]) -> sa.Insert:
        return sqlite.insert(table).on_conflict_do_nothing(index_elements=list(unique))

    def watch(self, engine: Engine) -> FileWatch | None:
        return None if engine.url.database in {None, "", ":memory:"} else DataVersion(engine)

    def may_pool(self, source: Pool) -> bool:
        """Its connections may be such that only one thread can use each."""
        return not isinstance(source, NullPool | SingletonThreadPool)

    def set_up(self, engine: Engine, *, isolated: bool, timeout: float) -> None:
        configure_sqlite(engine, immediate=True, busy=timeout)
        notice_replaced(engine)

    def is_replaced(self, info: Mapping[Any, Any]) -> bool:
        return is_replaced(info)

    def commits_at_once(self, connection: Connection) -> bool:
        return not _in_transaction(connection)

    def begins_nothing(self, connection: Connection) -> bool:
        """Python's driver begins no transaction by itself, and no listener of the application's does."""
        driver = driver_connection(connection)
        if getattr(driver, "autocommit", None) is True:
            return True
        if driver.isolation_level is not None or getattr(driver, "autocommit", None) is False:
            return False
        connection.exec_driver_sql("SELECT 1")
        return not driver.in_transaction

    def before_savepoint(self, connection: Connection, cursor: Any) -> None:
        """Python's driver begins a transaction only before INSERT, UPDATE and DELETE.

        Outside of any, the RELEASE of a savepoint is a COMMIT, and nothing that comes after it can roll it back. With
        SQLAlchemy's AUTOCOMMIT that is what was asked for.
        """
        if is_autocommit(connection) or getattr(driver_connection(connection), "autocommit", None) is True:
            return
        if not _in_transaction(connection):
            cursor.execute("BEGIN")

    def place(self, url: sa.URL) -> tuple[Any, ...]:
        file = self.file(url)
        return (self.names[0], (url.database or "") if file is None else str(Path(file).resolve()))

    def file(self, url: sa.URL) -> str | None:
        name = url.database
        return None if not name or name == ":memory:" or name.startswith("file:") else name

    def is_in_memory(self, url: sa.URL) -> bool:
        return not url.database or ":memory:" in url.database or url.query.get("mode") == "memory"

    def certainly(self, same: bool | None, ours: sa.URL, theirs: sa.URL) -> bool | None:
        """Two addresses are two files."""
        return False

    def is_read_only(self, connection: Connection) -> bool | None:
        return True if shown(connection, "PRAGMA query_only") == "1" else None


def configure_sqlite(engine: Engine, *, immediate: bool, busy: float = BUSY_SECONDS) -> None:
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
            connection.exec_driver_sql("BEGIN" if only_reads(connection) else "BEGIN IMMEDIATE")


def _begins_by_hand(connection: Any) -> None:
    """Let Python's driver neither begin nor end transactions of its own."""
    if hasattr(connection, "autocommit"):  # from Python 3.12 on; True would make a rollback do nothing
        connection.autocommit = -1  # sqlite3.LEGACY_TRANSACTION_CONTROL
    connection.isolation_level = None


def _in_transaction(connection: Connection) -> bool:
    driver = driver_connection(connection)
    # with autocommit=True (from Python 3.12 on) neither commit() nor rollback() does anything
    return getattr(driver, "autocommit", None) is not True and bool(getattr(driver, "in_transaction", True))
