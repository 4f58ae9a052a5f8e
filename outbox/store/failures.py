"""Database errors, by what they mean for the caller."""

from __future__ import annotations

import sqlalchemy as sa

OUTAGES = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError, sa.exc.TimeoutError)
"""What is raised when a database is away, full, locked, or chose us in a deadlock: the same again may succeed."""

DATABASE_ERROR = sa.exc.SQLAlchemyError


def disconnected(error: Exception) -> bool:
    """Whether it says that there is no connection, and nothing of what was asked."""
    if isinstance(error, sa.exc.DBAPIError):
        return error.connection_invalidated or error.statement is None  # it was lost, or could not be made
    return isinstance(error, sa.exc.TimeoutError)
