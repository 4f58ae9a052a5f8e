"""The application's outbox and its database, for the time of one request."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from flask import current_app

from outbox import operations
from outbox.core.errors import NotBoundError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


def bound() -> Any:
    """The application's `Outbox`, which lies above this layer. Raises NotBoundError."""
    outbox = current_app.extensions.get("outbox")
    if outbox is None:
        raise NotBoundError(
            f"The application {current_app.name!r} has no outbox. Call mail.init_app(app) when it is created."
        )
    return outbox


def settings() -> Any:
    """The application's `Settings`. Raises NotBoundError, ConfigurationError."""
    return bound().settings(current_app)


def engine() -> Engine:
    """The database that holds the outbox. Raises NotBoundError, ConfigurationError."""
    found: Engine = bound().database(current_app)
    return found


def connected() -> AbstractContextManager[Connection]:
    """A connection to look with. Raises DatabaseError, SchemaError."""
    return operations.connected(engine())
