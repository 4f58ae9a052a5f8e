"""MySQL and MariaDB, which differ little.

A statement longer than `max_allowed_packet` costs the connection, and with it the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.pool import ConnectionPoolEntry

from outbox.store.databases.base import Database
from outbox.store.databases.drivers import shown
from outbox.store.databases.values import IDLE_TRANSACTION_SECONDS, Problem

LOCK_SECONDS = 20
"""How long one process waits while another creates the tables."""

_LOCK_NAME = "outbox-create-tables"

_REST = 64 * 1024
"""Bytes for the rest of a statement beside one long value."""

_ESCAPED = 2
"""Drivers escape bytes, or write them in hexadecimal digits."""

_DUPLICATE = 1062
_OPTIONS = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}  # transactions, full Unicode, keys
_JSON_TYPES = {int: "BIGINT", float: "DOUBLE", str: "VARCHAR(1000)", datetime: "DATETIME(6)"}


class MySQL(Database):
    """The family."""

    names = ("mysql", "mariadb")
    title = "MySQL"
    usual_port = 3306

    returns_new_rows = False
    numbers_new_rows = True
    locks_gaps = True
    commits_ddl = True
    read_only_codes = frozenset({1792, 1290, 1836})
    reads_only = ("START TRANSACTION READ ONLY", None)

    big_binary = mysql.LONGBLOB()  # plain BLOB holds 64 KB
    digest = mysql.BINARY(16)  # of CHAR a prefix of as many bits is twice as long, and has its length besides
    short_integer = mysql.INTEGER(unsigned=True)
    moment = mysql.DATETIME(fsp=6)  # plain DATETIME drops fractions
    table_options = {f"{name}_{option}": value for name in sorted(names) for option, value in _OPTIONS.items()}

    identity = "SELECT @@hostname, @@port, @@datadir, DATABASE()"

    def __init__(self) -> None:
        self._longest: WeakKeyDictionary[Dialect, int] = WeakKeyDictionary()  # one for each engine: asked once

    clock = "UTC_TIMESTAMP(6)"
    micros = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"

    def now(self, seconds: str) -> str:
        return f"({self.clock} + INTERVAL ROUND({seconds} * 1000000) MICROSECOND)" if seconds else self.clock

    def latest(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        """By a locking read.

        At REPEATABLE READ a plain one does not see what was committed since the transaction began. And in MariaDB a
        transaction that is committing is past for a locking read a moment before it is for a plain one: a claim saw a
        delivery, and not the message that was inserted before it.
        """
        return statement.with_for_update(read=True)

    @contextmanager
    def alone(self, connection: Connection) -> Iterator[None]:
        """By a lock of the session's: each table that is created commits."""
        connection.execute(sa.select(sa.func.get_lock(_LOCK_NAME, LOCK_SECONDS)))
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.release_lock(_LOCK_NAME)))

    def insert_unless_there(self, table: sa.Table, unique: Sequence[str]) -> sa.Insert:
        """There is no DO NOTHING: it "updates" nothing instead."""
        unchanged = {column.name: column for column in table.primary_key}
        return mysql.insert(table).on_duplicate_key_update(**unchanged)

    def is_duplicate(self, error: sa.exc.IntegrityError) -> bool:
        number = getattr(error.orig, "errno", None) or next(iter(getattr(error.orig, "args", ())), None)
        return bool(number == _DUPLICATE)

    def longest_value(self, connection: Connection) -> int | None:
        dialect = connection.dialect
        if dialect not in self._longest:
            packet = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one())
            self._longest[dialect] = longest_value(packet)
        return self._longest[dialect]

    def for_longer(self, size: int) -> str:
        return f"Or set max_allowed_packet to {-(-packet_for(size) // 2**20)} MiB or more."

    def begins_with(self, first: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
        """As a range of one value. Of an equality it makes a look-up by the first column alone once much is due, and
        reads every row of the lane whose second is NULL: all that was ever sent, since no index leaves it out.
        """
        return sa.and_(first >= value, first <= value)

    def is_behind(self, columns: Sequence[Any], place: Sequence[Any]) -> sa.ColumnElement[bool]:
        """It does not look up pairs by the index."""
        (first, second), (begin, after) = columns, place
        return sa.and_(first >= begin, sa.or_(first > begin, second > after))

    def rows_text(self, columns: Mapping[str, type], given: str = "rows") -> str:
        typed = ", ".join(f"{name} {_JSON_TYPES[kind]} PATH '$.{name}'" for name, kind in columns.items())
        return f"JSON_TABLE(:{given}, '$[*]' COLUMNS({typed})) AS i"

    def update_text(self, table: str, source: str | None, changes: Mapping[str, str], where: str) -> str:
        assignments = ", ".join(f"d.{name} = {value}" for name, value in changes.items())
        return f"UPDATE {table} AS d JOIN {source} ON {where} SET {assignments}"  # noqa: S608 - no data in it

    def connect_limits(self, driver: str, whole: int, connecting: int) -> dict[str, Any]:
        if driver == "mysqlconnector":
            return {"connection_timeout": connecting}
        if driver in {"pymysql", "mysqldb"}:
            return {"connect_timeout": connecting, "read_timeout": whole, "write_timeout": whole}
        return {}

    def set_up(self, engine: Engine, *, isolated: bool, timeout: float) -> None:
        """Once for each connection: an execution option would cost two round trips for each transaction.

        At REPEATABLE READ an open claim blocks the application's inserts, and two claims of an empty queue deadlock.
        """
        if isolated:
            super().set_up(engine, isolated=isolated, timeout=timeout)
        # MySQL has no such setting; in the comment MariaDB alone sees it
        statement = f"SET @outbox_worker = 1 /*M!, SESSION idle_transaction_timeout = {IDLE_TRANSACTION_SECONDS} */"

        @event.listens_for(engine, "connect")
        def connected(connection: Any, record: ConnectionPoolEntry) -> None:
            if not isolated:
                engine.dialect.set_isolation_level(connection, "READ COMMITTED")
            cursor = connection.cursor()
            cursor.execute(statement)
            cursor.close()
            connection.commit()

    def certainly(self, same: bool | None, ours: sa.URL, theirs: sa.URL) -> bool | None:
        """The nodes of a cluster name themselves, and hold the same."""
        return same or (None if ours.database == theirs.database else False)

    def described(self, dialect: Dialect) -> str:
        words = super().described(dialect)
        return words.replace(self.title, "MariaDB", 1) if _is_mariadb(dialect) else words

    def server_problems(self, connection: Connection, max_message_bytes: int) -> Iterator[Problem]:
        packet = int(shown(connection, "SELECT @@max_allowed_packet"))
        binlog = shown(connection, "SELECT @@log_bin")
        form = shown(connection, "SELECT @@global.binlog_format") if binlog in {"1", "ON"} else ""
        flush = shown(connection, "SELECT @@global.innodb_flush_log_at_trx_commit")
        read_only = shown(connection, "SELECT @@global.read_only")
        if form.upper() == "STATEMENT":
            yield Problem(
                False,
                "binlog_format is STATEMENT, with which the server refuses every write at READ COMMITTED (error 1665)",
                "Set binlog_format=MIXED or ROW.",
            )
        if read_only in {"1", "ON"}:
            yield Problem(
                None,
                "the server is read-only (a replica): only users with special rights can write",
                "Give workers the address of the primary server in OUTBOX_DATABASE_URL.",
            )
        if (longest := longest_value(packet)) < max_message_bytes:
            yield Problem(
                None,
                f"max_allowed_packet is {_mib(packet)}: text and HTML of a message above about {_mib(longest)} are "
                f"refused (attachments are not), and OUTBOX_MAX_MESSAGE_BYTES allows {_mib(max_message_bytes)}",
                f"If texts may be as long, set max_allowed_packet to {_mib(packet_for(max_message_bytes))} or more.",
            )
        if flush != "1":
            yield Problem(
                None,
                f"innodb_flush_log_at_trx_commit is {flush}: a crash of the server can lose mail that was committed, "
                "and send again what was recorded",
                "Set innodb_flush_log_at_trx_commit=1.",
            )

    def session_problems(self, connection: Connection) -> Iterator[Problem]:
        level = connection.get_isolation_level()
        if level in {"REPEATABLE READ", "SERIALIZABLE"}:
            yield Problem(
                None,
                f"the application is at {level}, where transactions that enqueue with a key can block each other",
                "Create the application's engine with isolation_level='READ COMMITTED'.",
            )

    def is_read_only(self, connection: Connection) -> bool | None:
        name = "tx_read_only" if _is_mariadb(connection.dialect) else "transaction_read_only"
        return shown(connection, f"SELECT @@{name}") in {"1", "ON"}


def longest_value(packet: int) -> int:
    """How many bytes of one value a statement of `packet` bytes can carry for certain."""
    return max(0, packet - _REST) // _ESCAPED


def packet_for(size: int) -> int:
    """The `max_allowed_packet` that a value of `size` bytes needs."""
    return size * _ESCAPED + _REST


def _is_mariadb(dialect: Dialect) -> bool:
    return bool(getattr(dialect, "is_mariadb", False))


def _mib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"
