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
        return True
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        return not getattr(driver, "in_transaction", True)
    autocommit = getattr(driver, "get_autocommit", None)  # PyMySQL, mysqlclient
    return bool(autocommit() if callable(autocommit) else getattr(driver, "autocommit", False))
