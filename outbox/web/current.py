"""The application's outbox and its database, for the time of one request."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from flask import Flask, current_app, request

from outbox import operations
from outbox.extension.outbox import outbox_of
from outbox.extension.state import bound_to
from outbox.settings import Settings
from outbox.settings.kinds import Policy

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


def application() -> Flask:
    """The application itself, not its proxy."""
    return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]


def settings() -> Settings:
    """The application's `Settings`. Raises NotBoundError."""
    return outbox_of(application()).settings(application())


def sensitive_kinds() -> tuple[str, ...]:
    """The kinds whose mail holds secrets. Raises NotBoundError."""
    return bound_to(application()).sensitive_kinds


def kinds_defined() -> list[Policy]:
    """The kinds that the application's code defines. Raises NotBoundError."""
    return list(bound_to(application()).kinds)


def engine() -> Engine:
    """The database that holds the outbox. Raises NotBoundError, ConfigurationError."""
    return outbox_of(application()).database(application())


def application_engine() -> Engine | None:
    """The database of the application's session; None if there is none. Raises NotBoundError."""
    return outbox_of(application()).application_database(application())


def connected() -> AbstractContextManager[Connection]:
    """A connection to look with; where a request changes something, to the database itself.

    Raises DatabaseError, SchemaError.
    """
    outbox = outbox_of(application())
    looks = request.method in {"GET", "HEAD"}
    return operations.connected(outbox.reading_database(application()) if looks else engine())
