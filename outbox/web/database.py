"""The application's outbox and its database, for the time of one request."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from flask import current_app

from outbox import operations
from outbox.errors import NotBoundError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


def engine() -> Engine:
    """The database that holds the outbox. Raises NotBoundError."""
    outbox = current_app.extensions.get("outbox")
    if outbox is None:
        raise NotBoundError("This application has no outbox. Call Outbox.init_app(app) before its pages are used.")
    found: Engine = outbox.database(current_app)
    return found


def connected() -> AbstractContextManager[Connection]:
    """A connection to look with. Raises DatabaseError, SchemaError."""
    return operations.connected(engine())
