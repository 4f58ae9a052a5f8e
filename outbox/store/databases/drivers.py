"""What is asked of a connection and its driver in the same way, whatever the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection, Dialect


def is_autocommit(connection: Connection) -> bool:
    """Whether SQLAlchemy was told so, for the engine or for this connection."""
    by_engine = getattr(connection.dialect, "_on_connect_isolation_level", None)  # of create_engine; there is no other
    level = connection.get_execution_options().get("isolation_level", by_engine)
    return str(level).upper() == "AUTOCOMMIT"


def driver_connection(connection: Connection) -> Any:
    """The driver's own."""
    return connection.connection.driver_connection


def shown(connection: Connection, statement: str) -> str:
    """The one value that a query gives, as text."""
    return str(connection.exec_driver_sql(statement).scalar_one())


def style(dialect: Dialect) -> str:
    """The database, and how its driver takes parameters."""
    return f"{dialect.name} {dialect.paramstyle}"
