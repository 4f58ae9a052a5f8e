"""Whether a connection can be written to, and what is written can be rolled back.

With AUTOCOMMIT it can't, and its mail is sent anyway.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

REMEDY = (
    "Create the engine without isolation_level='AUTOCOMMIT' (SQLite: without the driver's isolation_level None or "
    "autocommit=True)."
)

READ_ONLY = (
    "the session's transaction is read-only. Enqueue in a session whose engine is not postgresql_readonly, has no "
    "default_transaction_read_only, opens the SQLite file for writing, and is connected to the primary server."
)

_READ_ONLY = {"25006", 1792, 1290, 1836}  # PostgreSQL's SQLSTATE; errors of MariaDB and MySQL


def is_read_only(error: sa.exc.StatementError) -> bool:
    """Whether it says that nothing can be written."""
    said: Any = error.orig
    codes = (getattr(said, "sqlstate", None), getattr(said, "pgcode", None), getattr(said, "errno", None))
    known = _READ_ONLY.intersection({*codes, *getattr(said, "args", ())[:1]} - {None})
    return bool(known) or "readonly database" in str(said) or "read-only transaction" in str(said)


def commits_at_once(connection: sa.Connection) -> bool:
    """Whether no transaction is open on `connection` on which something was just written."""
    if connection.dialect.name == "sqlite":
        return not _in_transaction(connection)
    if _is_autocommit(connection):
        return True
    driver = _driver(connection)
    autocommit = getattr(driver, "get_autocommit", None)  # PyMySQL, mysqlclient
    return bool(autocommit() if callable(autocommit) else getattr(driver, "autocommit", False))


def begin_before_savepoint(connection: sa.Connection, cursor: Any) -> None:
    """SQLite: see that a SAVEPOINT which is about to be executed stands in a transaction.

    Python's driver begins one only before INSERT, UPDATE and DELETE. Outside of any, the RELEASE of a savepoint is a
    COMMIT, and nothing that comes after it can roll it back. With SQLAlchemy's AUTOCOMMIT that is what was asked for.
    """
    if _is_autocommit(connection) or getattr(_driver(connection), "autocommit", None) is True:
        return
    if not _in_transaction(connection):
        cursor.execute("BEGIN")


def _is_autocommit(connection: sa.Connection) -> bool:
    """Whether SQLAlchemy was told so, for the engine or for this connection."""
    by_engine = getattr(connection.dialect, "_on_connect_isolation_level", None)  # of create_engine; there is no other
    level = connection.get_execution_options().get("isolation_level", by_engine)
    return str(level).upper() == "AUTOCOMMIT"


def _in_transaction(connection: sa.Connection) -> bool:
    driver = _driver(connection)
    # with autocommit=True (from Python 3.12 on) neither commit() nor rollback() does anything
    return getattr(driver, "autocommit", None) is not True and bool(getattr(driver, "in_transaction", True))


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection
