"""A connection for an operator's question; what may be wrong with the database told as the package's own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from outbox import schema
from outbox.errors import DatabaseError, SchemaError


@contextmanager
def connected(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection to look with. Raises DatabaseError, or SchemaError where the database is not migrated."""
    with guarded(engine), engine.connect() as connection:
        yield connection


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection to change with; committed at the end. Raises DatabaseError or SchemaError."""
    with guarded(engine), engine.begin() as connection:
        yield connection


@contextmanager
def guarded(engine: sa.Engine) -> Iterator[None]:
    """Turns what the database raises in the block into DatabaseError, or SchemaError where it lacks tables."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        lacking = _missing(engine)
        if lacking:
            raise SchemaError(f"the database lacks {_few(lacking)}. {schema.REMEDY}") from error
        raise DatabaseError(f"the database at {where(engine)} did not do it: {_words(error)}") from error
    except sa.exc.SQLAlchemyError as error:
        raise DatabaseError(f"the database at {where(engine)} did not do it: {error}") from error


def where(engine: sa.Engine) -> str:
    """The database's address without its password."""
    return engine.url.render_as_string(hide_password=True)


def missing(engine: sa.Engine) -> list[str]:
    """The tables and columns that the database lacks. Raises DatabaseError where it cannot be asked."""
    with guarded(engine), engine.connect() as connection:
        return schema.missing(connection)


def _missing(engine: sa.Engine) -> list[str]:
    try:
        with engine.connect() as connection:
            return schema.missing(connection)
    except sa.exc.SQLAlchemyError:
        return []  # it is down: that is the error to tell


def _words(error: sa.exc.DBAPIError) -> str:
    """What the driver said, in one line: neither the statement nor its parameters."""
    return " ".join(str(error.orig).split()) or type(error.orig).__name__


def _few(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
