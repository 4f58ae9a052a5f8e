"""The outbox's tables, made without Alembic."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from outbox.core.errors import DatabaseError
from outbox.operations.connect import guarded, where, words
from outbox.store.databases import of
from outbox.store.reading import reading


def create_tables(engine: sa.Engine) -> list[str]:
    """Create or complete them, and commit; what was missing. Raises DatabaseError, or SchemaError for newer tables.

    A SQLite file that is not there is made.
    """
    _make_file(engine)
    with guarded(engine):
        try:
            return _created(engine)
        except sa.exc.DBAPIError as error:
            raise DatabaseError(
                f"the tables could not be created in the database at {where(engine)}: {words(error)}"
            ) from error


def has_history(engine: sa.Engine) -> bool:
    """Whether Alembic keeps this database's history."""
    with guarded(engine), reading(engine) as connection:
        return sa.inspect(connection).has_table("alembic_version")


def _created(engine: sa.Engine) -> list[str]:
    from outbox.store import schema

    with engine.begin() as connection, of(engine).alone(connection):
        return schema.create(connection)


def _make_file(engine: sa.Engine) -> None:
    """SQLite's own would do, but it says nothing of a folder that is not there."""
    file = of(engine).file(engine.url)
    if file is None or Path(file).exists():
        return
    try:
        Path(file).touch(mode=0o600)
    except OSError as error:
        raise DatabaseError(f"the database at {where(engine)} can't be made: {error.strerror}. Is the path right?")
