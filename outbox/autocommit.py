"""Whether what is written on a connection can be rolled back: with AUTOCOMMIT it can't, and its mail is sent anyway."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

REMEDY = (
    "Create the engine without isolation_level='AUTOCOMMIT' (SQLite: without the driver's isolation_level None or "
    "autocommit=True)."
)


def commits_at_once(connection: sa.Connection) -> bool:
    """Whether no transaction is open on `connection` on which something was just written."""
    if str(connection.get_execution_options().get("isolation_level", "")).upper() == "AUTOCOMMIT":
        return connection.dialect.name != "sqlite" or not _in_transaction(connection)
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        return not _in_transaction(connection)
    autocommit = getattr(driver, "get_autocommit", None)  # PyMySQL, mysqlclient
    return bool(autocommit() if callable(autocommit) else getattr(driver, "autocommit", False))


def begin_before_savepoint(connection: sa.Connection, cursor: Any) -> None:
    """SQLite: see that a SAVEPOINT which is about to be executed stands in a transaction.

    Python's driver begins one only before INSERT, UPDATE and DELETE. Outside of any, the RELEASE of a savepoint is a
    COMMIT, and nothing that comes after it can roll it back.
    """
    if not _in_transaction(connection) and getattr(_driver(connection), "autocommit", None) is not True:
        cursor.execute("BEGIN")


def _in_transaction(connection: sa.Connection) -> bool:
    driver = _driver(connection)
    # with autocommit=True (from Python 3.12 on) neither commit() nor rollback() does anything
    return getattr(driver, "autocommit", None) is not True and bool(getattr(driver, "in_transaction", True))


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection
