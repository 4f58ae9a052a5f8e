"""What a database server is set to, as far as mail depends on it."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from outbox.operations.connect import connected
from outbox.operations.finding import Finding
from outbox.store.autocommit import READ_ONLY, is_read_only
from outbox.store.dialect import MYSQL_FAMILY
from outbox.store.packet_size import longest_value, packet_for

_WRITABLE = READ_ONLY.partition(". ")[2]


def server_settings(engine: sa.Engine, max_message_bytes: int) -> Iterator[Finding]:
    """What workers find."""
    if engine.dialect.name == "postgresql":
        yield from _of_postgresql(engine)
    elif engine.dialect.name in MYSQL_FAMILY:
        yield from _of_mariadb(engine, max_message_bytes)


def _of_postgresql(engine: sa.Engine) -> Iterator[Finding]:
    with connected(engine) as connection:
        level = _shown(connection, "SHOW transaction_isolation")
        fsync = _shown(connection, "SHOW fsync")
        read_only = _shown(connection, "SHOW transaction_read_only")
    if level not in {"read committed", "read uncommitted"}:
        yield Finding(
            "database",
            False,
            f"workers are at the isolation level {level}: their claims fail beside each other",
            "Let workers use READ COMMITTED: set OUTBOX_DATABASE_URL without an isolation level.",
        )
    if read_only == "on":
        yield Finding(
            "database",
            False,
            "the database is read-only (a standby, or default_transaction_read_only)",
            "Give workers the address of the primary server in OUTBOX_DATABASE_URL.",
        )
    if fsync == "off":
        yield Finding(
            "database", None, "fsync is off: a crash of the machine can lose the whole database", "Set fsync=on."
        )


def _of_mariadb(engine: sa.Engine, max_message_bytes: int) -> Iterator[Finding]:
    with connected(engine) as connection:
        packet = int(_shown(connection, "SELECT @@max_allowed_packet"))
        binlog = _shown(connection, "SELECT @@log_bin")
        form = _shown(connection, "SELECT @@global.binlog_format") if binlog in {"1", "ON"} else ""
        flush = _shown(connection, "SELECT @@global.innodb_flush_log_at_trx_commit")
        read_only = _shown(connection, "SELECT @@global.read_only")
    if form.upper() == "STATEMENT":
        yield Finding(
            "database",
            False,
            "binlog_format is STATEMENT, with which the server refuses every write at READ COMMITTED (error 1665)",
            "Set binlog_format=MIXED or ROW.",
        )
    if read_only in {"1", "ON"}:
        yield Finding(
            "database",
            None,
            "the server is read-only (a replica): only users with special rights can write",
            "Give workers the address of the primary server in OUTBOX_DATABASE_URL.",
        )
    if longest_value(packet) < max_message_bytes:
        yield Finding(
            "database",
            None,
            f"max_allowed_packet is {_mib(packet)}: text and HTML of a message above about "
            f"{_mib(longest_value(packet))} are refused (attachments are not), and OUTBOX_MAX_MESSAGE_BYTES allows "
            f"{_mib(max_message_bytes)}",
            f"If texts may be as long, set max_allowed_packet to {_mib(packet_for(max_message_bytes))} or more.",
        )
    if flush != "1":
        yield Finding(
            "database",
            None,
            f"innodb_flush_log_at_trx_commit is {flush}: a crash of the server can lose mail that was committed, and "
            "send again what was recorded",
            "Set innodb_flush_log_at_trx_commit=1.",
        )


def session_settings(session: sa.Engine) -> Iterator[Finding]:
    """What the application's own connections are set to, as far as mail depends on it."""
    with session.connect() as connection:
        if _is_read_only(connection):
            yield Finding("database", False, "the application's own connections can't write: `send` fails", _WRITABLE)
        if session.dialect.name == "postgresql" and _shown(connection, "SHOW synchronous_commit") == "off":
            yield Finding(
                "database",
                None,
                "synchronous_commit is off: a crash of the server can lose mail that the application has committed",
                "Set synchronous_commit=on for the application's user. (Workers set it for themselves.)",
            )
        if session.dialect.name in MYSQL_FAMILY and connection.get_isolation_level() in {
            "REPEATABLE READ",
            "SERIALIZABLE",
        }:
            level = connection.get_isolation_level()
            yield Finding(
                "database",
                None,
                f"the application is at {level}, where transactions that enqueue with a key can block each other",
                "Create the application's engine with isolation_level='READ COMMITTED'.",
            )


def _is_read_only(connection: sa.Connection) -> bool:
    if connection.dialect.name == "postgresql":
        return _shown(connection, "SHOW transaction_read_only") == "on"
    if connection.dialect.name in MYSQL_FAMILY:
        name = "tx_read_only" if connection.dialect.is_mariadb else "transaction_read_only"  # type: ignore[attr-defined]
        return _shown(connection, f"SELECT @@{name}") in {"1", "ON"}
    if _shown(connection, "PRAGMA query_only") == "1":
        return True
    try:
        connection.exec_driver_sql("DELETE FROM outbox_message WHERE 1 = 0")
    except sa.exc.OperationalError as error:
        return is_read_only(error)  # else there is no such table, or somebody else is writing
    connection.rollback()
    return False


def _shown(connection: sa.Connection, statement: str) -> str:
    return str(connection.exec_driver_sql(statement).scalar_one())


def _mib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"
